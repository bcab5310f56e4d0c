"""One training step of a diffusion stage, the same for both."""

import torch
from torch import Tensor

from diffwright.matching.diffusion import q_sample, table
from diffwright.matching.fields import field_of_flow
from diffwright.matching.model import MatchModel
from diffwright.matching.stages import predict, to_field, to_variable
from diffwright.training.pairs.losses import FARTHEST, field_loss
from diffwright.training.pairs.stream import Lesson

SELF_CONDITIONED = 0.5  # share of the steps in which a network reads its own first prediction


def denoising_loss(
    model: MatchModel,
    stage: int,
    condition: Tensor,
    start: Tensor,
    lesson: Lesson,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, float | Tensor]]:
    """Noise the true field, let the stage predict it, and compare at the resolution of the pictures.

    Args:
        model: Has the stage.
        stage: 1 or 2.
        condition: Channels that the denoiser reads beside the noisy field, around ``start``.
        start: The field that enters, in cells.
        lesson: Pairs with exact flow.
        generator: On the device of the lesson.

    Shapes:
        condition (B, C, h, w), start (B, 2, h, w) -> a scalar

    Returns:
        The loss and its figures.

    Reference:
        Nam et al., DiffMatch, 2024, section 4.4; self-conditioning of Chen et al., Analog Bits, 2023.
    """
    config, device = model.config, start.device
    truth = field_of_flow(lesson.flow, start.shape[-2:])  # type: ignore[arg-type]
    x0 = to_variable(config, stage, truth, start).clamp(-FARTHEST, FARTHEST)
    run = table(config.steps)
    t = torch.randint(len(run), (len(x0),), generator=generator, device=device)
    alpha_bar = start.new_tensor([level.alpha_bar for level in run])[t]
    time = start.new_tensor([level.time for level in run])[t]
    x = q_sample(x0, alpha_bar, torch.randn(x0.shape, generator=generator, device=device))
    encoded = model.denoiser(stage).encode(condition)
    previous = None
    if config.self_conditioning and torch.rand((), generator=generator, device=device) < SELF_CONDITIONED:
        with torch.no_grad():
            previous = predict(model, stage, x, time, encoded, start)[0].detach()
    x0_hat, log_b = predict(model, stage, x, time, encoded, start, previous)
    field = to_field(config, stage, x0_hat.float(), start)
    width = start.shape[-1]
    scale = width if config.variable == "fraction" else config.residual_scale[stage - 1]
    loss, figures = field_loss(field, log_b.float(), lesson.flow, lesson.visible, scale)
    with torch.no_grad():
        entered = field_loss(start, log_b.float(), lesson.flow, lesson.visible, scale)[1]["aepe_px"]
    return loss, {**figures, "start_aepe_px": entered}
