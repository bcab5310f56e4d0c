"""One training step of a diffusion stage, the same for both."""

import torch
from torch import Tensor

from diffwright.matching.diffusion import q_sample, table
from diffwright.matching.fields import field_of_flow
from diffwright.matching.model import MatchModel
from diffwright.matching.stages import predict, to_field, to_variable
from diffwright.training.pairs.losses import FARTHEST, field_loss, truth_in_cells, variable_loss
from diffwright.training.pairs.stream import Lesson

SELF_CONDITIONED = 0.5  # share of the steps in which a network reads its own first prediction
DRAWS = 4  # noises that each pair is shown under; its features and costs are computed once


def denoising_loss(
    model: MatchModel,
    stage: int,
    condition: Tensor,
    start: Tensor,
    lesson: Lesson,
    generator: torch.Generator,
    draws: int = DRAWS,
) -> tuple[Tensor, dict[str, float | Tensor]]:
    """Noise the true field, let the stage predict it, and compare at the resolution of the pictures.

    Args:
        model: Has the stage.
        stage: 1 or 2.
        condition: Channels that the denoiser reads beside the noisy field, around ``start``.
        start: The field that enters, in cells.
        lesson: Pairs with exact flow.
        generator: On the device of the lesson.
        draws: Noises that each pair is shown under.

    Shapes:
        condition (B, C, h, w), start (B, 2, h, w) -> a scalar

    Returns:
        The loss and its figures.

    Reference:
        Nam et al., DiffMatch, 2024, section 4.4; self-conditioning of Chen et al., Analog Bits, 2023.
    """
    config, device = model.config, start.device
    encoded = model.denoiser(stage).encode(condition).repeat_interleave(draws, 0)
    start, flow, visible = (
        values.repeat_interleave(draws, 0) for values in (start, lesson.flow, lesson.visible)
    )
    truth = field_of_flow(flow, start.shape[-2:])  # type: ignore[arg-type]
    x0 = to_variable(config, stage, truth, start).clamp(-FARTHEST, FARTHEST)
    run = table(config.steps)
    t = torch.randint(len(run), (len(x0),), generator=generator, device=device)
    alpha_bar = start.new_tensor([level.alpha_bar for level in run])[t]
    time = start.new_tensor([level.time for level in run])[t]
    x = q_sample(x0, alpha_bar, torch.randn(x0.shape, generator=generator, device=device))
    previous = None
    if config.self_conditioning and torch.rand((), generator=generator, device=device) < SELF_CONDITIONED:
        with torch.no_grad():
            previous = predict(model, stage, x, time, encoded, start)[0].detach()
    x0_hat, log_b = predict(model, stage, x, time, encoded, start, previous)
    return stage_loss(model, stage, x0_hat.float(), log_b.float(), start, flow, visible)


def stage_loss(
    model: MatchModel, stage: int, x0: Tensor, log_b: Tensor, start: Tensor, flow: Tensor, visible: Tensor
) -> tuple[Tensor, dict[str, float | Tensor]]:
    """Compare what a stage predicts with the truth: as a field, or where it is companded in that variable.

    Args:
        model: Has the stage.
        stage: 1 or 2.
        x0: Prediction in the diffused variable.
        log_b: Logarithm of its expected error, in cells.
        start: The field that entered, in cells.
        flow: Truth, in pixels.
        visible: Where the truth counts.

    Shapes:
        x0, start (B, 2, h, w), log_b (B, 1, h, w), flow (B, 2, H, W), visible bool (B, H, W) -> a scalar

    Returns:
        The loss and its figures.
    """
    config, width = model.config, start.shape[-1]
    field = to_field(config, stage, x0, start)
    scale = width if config.variable == "fraction" else config.residual_scale[stage - 1]
    if config.variable == "companded":
        loss, figures = variable_loss(
            x0, field, log_b, flow, visible, lambda truth: to_variable(config, stage, truth, start)
        )
    else:
        loss, figures = field_loss(field, log_b, flow, visible, scale)
    cell = flow.shape[-1] // width
    truth, seen = truth_in_cells(flow, visible, cell)
    entered = (start - truth).norm(dim=1)[seen].sum() / seen.sum().clamp(min=1) * cell
    return loss, {**figures, "start_aepe_px": entered.detach()}
