"""The two diffusion stages: what the denoisers read, how a field becomes the diffused variable, and sampling.

The same functions serve the matcher and the training recipes. Fields are in cells of the stage's grid.

Reference:
    Nam et al., Diffusion Model for Dense Matching, ICLR 2024, sections 4.2 to 4.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.checks import one_of, whole
from diffwright.core.errors import ConfigError
from diffwright.core.geometry import pixel_grid
from diffwright.matching.cost import (
    argmax_field,
    dual_softmax,
    global_cost,
    local_cost,
    local_cost_of_features,
    matchability,
    median,
)
from diffwright.matching.diffusion import (
    Level,
    ddim,
    initial_noise,
    levels,
    robust_average,
)
from diffwright.matching.fields import resize_field, size_of
from diffwright.matching.model import MatchConfig, MatchModel
from diffwright.matching.nets import Features
from diffwright.matching.smoothing import fitted_field

INITIAL = ("argmax", "cleaned", "fitted")
KNEE = 0.25
"""Cells up to which a companded residual is nearly linear."""


@dataclass(frozen=True, kw_only=True)
class MatchOptions:
    """Everything that can be switched without training; the default is the improved matcher.

    Args:
        initial: The field that enters stage 1: ``argmax`` (the paper), ``cleaned`` (dual softmax, median) or
            ``fitted`` (dual softmax, a smooth motion fitted around every cell).
        hypotheses: Whether B may be turned and scaled first.
        self_conditioning: Whether the denoisers read their previous prediction.
        recentre: Whether local cost and residual move to the current prediction at each step.
        average: Of the samples: ``mean`` (the paper) or ``robust``.
        check: Whether the fields that entered stage 1 and stage 2 come back wherever the fine features support them
            better than what came out.
        samples: K, initial noises for each stage, 1 to 64.
        steps: Sampling steps of each stage; those of the training without it.
        stages: 0 for the initial field alone, 1 without upsampling diffusion, 2 for both; at most what the model
            has.
        reverse: The field from B to A: ``off``, ``coarse`` (stage 1 alone) or ``full``.
        keep_samples: Whether the result holds all samples.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    initial: str = "fitted"
    hypotheses: bool = True
    self_conditioning: bool = True
    recentre: bool = False
    average: str = "robust"
    check: bool = True
    samples: int = 3
    steps: int | None = None
    stages: int = 2
    reverse: str = "coarse"
    keep_samples: bool = False

    def __post_init__(self) -> None:
        one_of("initial", self.initial, INITIAL)
        one_of("average", self.average, ("mean", "robust"))
        one_of("reverse", self.reverse, ("off", "coarse", "full"))
        whole("samples", self.samples, 1, 64)
        whole("stages", self.stages, 0, 2)
        if self.steps is not None:
            whole("steps", self.steps, 1, 1000)

    @classmethod
    def faithful(cls) -> Self:
        """Give the paper's procedure: argmax start, no hypotheses, plain DDIM, mean of three samples, no check."""
        return cls(initial="argmax", hypotheses=False, self_conditioning=False, average="mean", check=False)

    def with_stages(self, stages: int) -> Self:
        """Give the same options with another number of stages."""
        return replace(self, stages=stages)


@dataclass(frozen=True)
class StageOutput:
    """What a stage found; all in cells of its grid.

    Shapes (B pairs, K samples):
        field (B, 2, h, w); log_b (B, 1, h, w), logarithm of the expected error; samples (B, K, 2, h, w);
        start (B, 2, h, w), the field that entered
    """

    field: Tensor
    log_b: Tensor
    samples: Tensor
    start: Tensor


@dataclass(frozen=True)
class Volume:
    """All pairs of coarse cells.

    Shapes:
        cost (B, h, w, h', w'), cosines; chance (B, h, w, h', w'), probability that two cells choose each other;
        inside bool (B, h', w') or None, the cells of B that show the picture; inside_a (B, h, w) those of A
    """

    cost: Tensor
    chance: Tensor
    inside: Tensor | None = None
    inside_a: Tensor | None = None

    def reversed(self) -> Volume:
        """Give the same from B to A."""
        cost, chance = (values.permute(0, 3, 4, 1, 2).contiguous() for values in (self.cost, self.chance))
        return Volume(cost, chance, self.inside_a, self.inside)


Condition = Callable[[Tensor], Tensor]
"""Gives the channels that the denoiser reads beside the noisy field, around a field (B, 2, h, w)."""

OnField = Callable[[int, int, Level, Tensor], None]
"""``on_field(stage, step, level, fields)`` is told after each step; fields (B, K, 2, h, w) in cells."""


def volume(model: MatchModel, a: Features, b: Features) -> Volume:
    """Compare all coarse cells of two pictures."""
    cost = global_cost(a.coarse, b.coarse)
    chance = dual_softmax(cost, model.features.temperature, b.inside)
    return Volume(cost, chance, b.inside, a.inside)


def initial_field(pair: Volume, initial: str = "fitted") -> Tensor:
    """Give the field that enters stage 1, by ``argmax`` of the cosines, ``cleaned`` or ``fitted``.

    Shapes:
        -> (B, 2, h, w)
    """
    if initial == "argmax":
        return _filled(argmax_field(pair.cost, pair.inside), pair.inside_a)
    likeliest = argmax_field(pair.chance, pair.inside)
    if initial == "fitted":
        return fitted_field(pair.chance, likeliest, pair.inside_a)
    return median(_filled(likeliest, pair.inside_a))


def condition_stage1(config: MatchConfig, pair: Volume, start: Tensor) -> Tensor:
    """Channels that the denoiser of stage 1 reads: initial field, local cost, extras.

    The extras are the largest cosine, the lead of the likeliest match over the second, and coordinates.

    Shapes:
        start (B, 2, h, w) -> (B, config.channels, h, w)
    """
    parts = [start / _grid_of(start)]
    if config.cost_injection:
        parts.append(local_cost(pair.cost, start, config.radius))
    if config.extra_channels:
        peak = pair.cost.flatten(3).amax(dim=3)[:, None]
        parts += [peak, matchability(pair.chance)[1], _coordinates(start)]
    return torch.cat(parts, dim=1)


def condition_stage2(config: MatchConfig, a: Features, b: Features, start: Tensor) -> Tensor:
    """Channels that the denoiser of stage 2 reads: stage 1's field, fine local cost, extras.

    The extras are the largest cosine of the window, its lead over the window's mean, and coordinates.

    Shapes:
        start (B, 2, h, w) -> (B, config.channels, h, w)
    """
    if a.fine is None or b.fine is None:
        raise ConfigError("stage 2 was given no fine features; compute them with fine=True")
    parts = [start / _grid_of(start)]
    cost = None
    if config.cost_injection or config.extra_channels:
        cost = local_cost_of_features(a.fine, b.fine, start, config.radius)
    if config.cost_injection and cost is not None:
        parts.append(cost)
    if config.extra_channels and cost is not None:
        peak = cost.amax(dim=1, keepdim=True)
        parts += [peak, peak - cost.mean(dim=1, keepdim=True), _coordinates(start)]
    return torch.cat(parts, dim=1)


def to_variable(config: MatchConfig, stage: int, field: Tensor, start: Tensor) -> Tensor:
    """Turn a field into the diffused variable.

    Args:
        config: Says which variable it is.
        stage: 1 or 2.
        field: In cells.
        start: The field that entered the stage.

    Shapes:
        (B, 2, h, w) -> (B, 2, h, w)
    """
    if config.variable == "fraction":
        return field / _grid_of(field)
    residual = field - start
    if config.variable == "companded":
        residual = (residual / KNEE).asinh()
    return residual / config.residual_scale[stage - 1]


def to_field(config: MatchConfig, stage: int, x: Tensor, start: Tensor) -> Tensor:
    """Turn the diffused variable into a field, the inverse of ``to_variable``."""
    if config.variable == "fraction":
        return x * _grid_of(x)
    residual = x * config.residual_scale[stage - 1]
    if config.variable == "companded":
        farthest = math.asinh(max(x.shape[-2:]) / KNEE)  # nothing moves farther than across the grid
        residual = residual.clamp(-farthest, farthest).sinh() * KNEE
    return residual + start


def predict(
    model: MatchModel,
    stage: int,
    x: Tensor,
    time: Tensor,
    encoded: Tensor,
    start: Tensor,
    previous: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a denoiser once; its output is a residual on the field that entered the stage.

    Args:
        model: Has the stage.
        stage: 1 or 2.
        x: Noisy field in the diffused variable.
        time: Noise level, 0 to 1.
        encoded: ``model.denoiser(stage).encode`` of the conditions around ``start``.
        start: The field that entered, in cells.
        previous: Earlier prediction in the diffused variable, for self-conditioning.

    Shapes:
        x, start, previous (B, 2, h, w), time (B,) -> (B, 2, h, w), (B, 1, h, w)

    Returns:
        x0 in the diffused variable, and log b, the logarithm of its Laplace error scale in cells.
    """
    out = model.denoiser(stage)(x, time, encoded, previous)
    return out[:, :2] + to_variable(model.config, stage, start, start), out[:, 2:]


@torch.no_grad()
def run_stage(
    model: MatchModel,
    stage: int,
    condition: Condition,
    start: Tensor,
    generators: Sequence[torch.Generator],
    options: MatchOptions,
    on_field: OnField | None = None,
) -> StageOutput:
    """Sample a stage K times and average.

    Args:
        model: Has the stage.
        stage: 1 or 2.
        condition: Gives the channels around a field.
        start: The field that enters, in cells.
        generators: One CPU generator for each pair.
        options: What to switch.
        on_field: Is told after each step.

    Shapes:
        start (B, 2, h, w)
    """
    config, k = model.config, options.samples
    run = _Run(model, stage, condition, start, options)
    noise = initial_noise(generators, k, size_of(start), start)

    def fields(x0: Tensor) -> Tensor:
        return to_field(config, stage, x0, run.start).unflatten(0, (-1, k))

    def on_step(step: int, level: Level, _x: Tensor, x0: Tensor) -> None:
        if on_field is not None:
            on_field(stage, step, level, fields(x0))

    x0 = ddim(run, noise, levels(options.steps or config.steps, config.steps), on_step)
    samples = fields(x0.clamp(-1, 1) if config.variable == "fraction" else x0)
    log_b = run.log_b.unflatten(0, (-1, k))
    field = robust_average(samples, log_b) if options.average == "robust" else samples.mean(dim=1)
    return StageOutput(field, log_b.mean(dim=1), samples, start)


def run_stage1(
    model: MatchModel,
    pair: Volume,
    generators: Sequence[torch.Generator],
    options: MatchOptions,
    start: Tensor | None = None,
    on_field: OnField | None = None,
) -> StageOutput:
    """Match on the coarse grid.

    Args:
        model: Has stage 1.
        pair: What ``volume`` gives.
        generators: One CPU generator for each pair.
        options: What to switch.
        start: A field to start from, in coarse cells; ``initial_field`` without it.
        on_field: See ``run_stage``.
    """
    start = initial_field(pair, options.initial) if start is None else start

    def condition(field: Tensor) -> Tensor:
        return condition_stage1(model.config, pair, field)

    return run_stage(model, 1, condition, start, generators, options, on_field)


def run_stage2(
    model: MatchModel,
    a: Features,
    b: Features,
    coarse: Tensor,
    generators: Sequence[torch.Generator],
    options: MatchOptions,
    on_field: OnField | None = None,
) -> StageOutput:
    """Upsample a coarse field by diffusion on the fine grid.

    Args:
        model: Has stage 2.
        a: Features of A, with the fine level.
        b: Features of B, with the fine level.
        coarse: Stage 1's field, in its cells.
        generators: One CPU generator for each pair.
        options: What to switch.
        on_field: See ``run_stage``.
    """
    if a.fine is None:
        raise ConfigError("stage 2 was given no fine features; compute them with fine=True")
    start = resize_field(coarse, size_of(a.fine))

    def condition(field: Tensor) -> Tensor:
        return condition_stage2(model.config, a, b, field)

    return run_stage(model, 2, condition, start, generators, options, on_field)


class _Run:
    """The denoiser of one sampling run: K samples of each pair as one batch, conditions encoded once."""

    def __init__(
        self, model: MatchModel, stage: int, condition: Condition, start: Tensor, options: MatchOptions
    ) -> None:
        self.model, self.stage, self.condition, self.options = model, stage, condition, options
        self.start = start.repeat_interleave(options.samples, 0)
        self.encoded = model.denoiser(stage).encode(condition(start)).repeat_interleave(options.samples, 0)
        self.log_b = torch.zeros_like(self.start[:, :1])

    def __call__(self, x: Tensor, level: Level, previous: Tensor | None) -> Tensor:
        time = x.new_full((len(x),), level.time)
        known = previous if self.options.self_conditioning else None
        if not self.options.recentre or previous is None:
            x0, self.log_b = predict(self.model, self.stage, x, time, self.encoded, self.start, known)
            return x0
        return self._recentred(x, time, level, previous, known)

    def _recentred(
        self, x: Tensor, time: Tensor, level: Level, previous: Tensor, known: Tensor | None
    ) -> Tensor:
        """Predict around the previous prediction: the variable's origin moves there and back."""
        config, k = self.model.config, self.options.samples
        center = to_field(config, self.stage, previous, self.start)
        each = [self.condition(field) for field in center.unflatten(0, (-1, k)).unbind(1)]
        encoded = self.model.denoiser(self.stage).encode(torch.stack(each, dim=1).flatten(0, 1))
        origin = to_variable(config, self.stage, center, center)
        x = x - math.sqrt(level.alpha_bar) * (to_variable(config, self.stage, center, self.start) - origin)
        known = None if known is None else origin
        x0, self.log_b = predict(self.model, self.stage, x, time, encoded, center, known)
        return to_variable(config, self.stage, to_field(config, self.stage, x0, center), self.start)


def _filled(field: Tensor, inside: Tensor | None) -> Tensor:
    """Continue a field from the cells inside (B, h, w) into the others, which show nothing."""
    if inside is None or bool(inside.all()):
        return field
    weight = inside[:, None].to(field)
    field = field * weight
    for _ in range(max(field.shape[-2:])):
        near = F.avg_pool2d(weight, 3, 1, 1)
        grown = F.avg_pool2d(field, 3, 1, 1) / near.clamp(min=1e-6)
        field = torch.where(weight > 0, field, grown)
        weight = (near > 0).to(field)
        if bool(weight.all()):
            break
    return field


def _grid_of(field: Tensor) -> Tensor:
    """Width and height of the grid, (2, 1, 1)."""
    return field.new_tensor([field.shape[-1], field.shape[-2]])[:, None, None]


def _coordinates(field: Tensor) -> Tensor:
    """Coordinates from -1 to 1 across the grid, (B, 2, h, w)."""
    place = pixel_grid(*size_of(field), like=field)
    return ((place + 0.5) / _grid_of(field) * 2 - 1).expand(len(field), -1, -1, -1)
