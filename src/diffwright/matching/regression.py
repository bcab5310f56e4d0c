"""A field by regression: one pass of a denoiser that was never shown noise, the control of the diffusion."""

from torch import Tensor

from diffwright.matching.model import MatchModel
from diffwright.matching.stages import predict


def regress(model: MatchModel, stage: int, condition: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Predict the field in one pass, with zeros in place of the noisy field and time 1.

    Args:
        model: Has the stage, trained in this way.
        stage: 1 or 2.
        condition: Channels that the network reads, around ``start``.
        start: The field that enters, in cells.

    Shapes:
        condition (B, C, h, w), start (B, 2, h, w) -> (B, 2, h, w), (B, 1, h, w)

    Returns:
        The field in the diffused variable, and the logarithm of its expected error in cells.
    """
    encoded = model.denoiser(stage).encode(condition)
    x, time = start.new_zeros(start.shape), start.new_ones(len(start))
    x0, log_b = predict(model, stage, x, time, encoded, start)
    return x0.float(), log_b.float()
