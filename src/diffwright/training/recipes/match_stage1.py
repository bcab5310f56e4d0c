"""Recipe ``match-stage1``: the diffusion that turns a noisy first guess of the field into a plausible one.

The features are frozen. The first guess is theirs, fitted or by plain argmax, or a spoiled truth, so that the stage
also mends what another matcher gives. The model it writes holds the features too.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diffwright.core.seeding import generators
from diffwright.matching.fields import field_of_flow
from diffwright.matching.model import MatchConfig, MatchModel
from diffwright.matching.stages import (
    KNEE,
    MatchOptions,
    Volume,
    condition_stage1,
    initial_field,
    run_stage1,
    volume,
)
from diffwright.training.pairs.denoising import denoising_loss
from diffwright.training.pairs.figures import measured, residual_scale
from diffwright.training.pairs.losses import perturbed
from diffwright.training.pairs.stream import Lesson, PairOptions, Sketch, Stream
from diffwright.training.recipes.match_features import FeatureLosses

STARTS = (
    0.5,
    0.65,
)  # up to which chance a pair starts from the fitted field, and from the argmax; then spoiled


@dataclass(frozen=True, kw_only=True)
class MatchStage1Options(PairOptions):
    """Options of the recipe, beside where pairs come from.

    Args:
        features: Matching model whose features are used.
        widths: Channels of the denoiser at 1, 1/2 ... of its grid.
        blocks: Its residual blocks a resolution.
        patch: Cells a side of the squares that it works on.
        variable: What is diffused: the residual companded, or over its scale, or the field as a fraction of the grid
            (the paper).
        self_conditioning: Let it read its previous prediction.
        extra_channels: Let it read peak and lead of the match, and coordinates, beside the paper's channels.
        cost_injection: Let it read the local cost.
        joint: Train the features as well; to measure what that costs.
        init: Matching model with stage 1 to go on from; its features and sizes replace the options above.
    """

    features: Path = Path("runs/match-features/model")
    widths: tuple[int, ...] = MatchConfig.stage1_widths
    blocks: int = MatchConfig.stage1_blocks
    patch: int = MatchConfig.stage1_patch
    variable: Literal["companded", "residual", "fraction"] = "companded"
    self_conditioning: bool = True
    extra_channels: bool = True
    cost_injection: bool = True
    joint: bool = False
    init: Path | None = None


class MatchStage1Task:
    """Denoise coarse fields."""

    name = "match-stage1"

    def __init__(self, options: MatchStage1Options) -> None:
        self.options, self.stream = options, Stream(options)
        self.fixed = self.stream.fixed()
        self.model = self._build()
        self.model.features.requires_grad_(options.joint)
        self.losses = FeatureLosses()

    def _build(self) -> MatchModel:
        options = self.options
        base = MatchModel.from_pretrained(str(options.init or options.features))
        if options.init:
            return one_stage(base)
        config = replace(
            base.config, stages=1, size=options.size, stage1_widths=options.widths, stage1_blocks=options.blocks,
            stage1_patch=options.patch, variable=options.variable, self_conditioning=options.self_conditioning,
            extra_channels=options.extra_channels, cost_injection=options.cost_injection,
        )  # fmt: skip
        knee = KNEE if options.variable == "companded" else None
        scale = residual_scale(
            self.fixed[""], lambda lesson: initial_field(compared(base, lesson)), knee=knee
        )
        model = MatchModel(replace(config, residual_scale=(scale, config.residual_scale[1])))
        model.features.load_state_dict(base.features.state_dict())
        return model

    def modules(self) -> dict[str, nn.Module]:
        """The denoiser; in joint training the features and what their losses learn, too."""
        parts: dict[str, nn.Module] = {"stage1": self.model.denoiser(1)}
        if self.options.joint:
            parts |= {"features": self.model.features, "losses": self.losses}
        return parts

    def batch(self, indices: Tensor) -> Sketch | Lesson:
        """Pairs with exact flow."""
        return self.stream.batch(indices)

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Error of the predicted field from a random noise level and first guess."""
        model, lesson = self.model.to(generator.device), self.stream.lesson(batch)
        with torch.set_grad_enabled(self.options.joint):
            pair = compared(model, lesson)
            start = first_guess(pair, lesson, generator)
            with torch.autocast(start.device.type, enabled=False):
                condition = condition_stage1(model.config, pair, start)
        loss, figures = denoising_loss(model, 1, condition, start, lesson, generator)
        if not self.options.joint:
            return loss, figures
        more, others = self.losses(model, lesson, generator)
        return loss + more, {**figures, **others}

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Errors of one sample, and of the fitted field that it started from."""
        device = next(self.model.denoiser(1).parameters()).device
        model = self.model.to(device)

        def fields(lesson: Lesson) -> dict[str, Tensor]:
            seeds = generators(range(len(lesson.flow)))
            out = run_stage1(model, compared(model, lesson), seeds, MatchOptions(samples=1))
            return {"": out.field, "_start": out.start}

        return with_reduction(measured(self.fixed, fields, device))

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Write a matching model with features and stage 1."""
        self.model.save_pretrained(directory)


def compared(model: MatchModel, lesson: Lesson) -> Volume:
    """Compare all coarse cells of both pictures, in float32 after the features."""
    a = model.features(lesson.image_a, fine=False)
    b = model.features(lesson.image_b, lesson.inside, fine=False)
    with torch.autocast(lesson.flow.device.type, enabled=False):
        return volume(model, a, b)


@torch.no_grad()
def first_guess(pair: Volume, lesson: Lesson, generator: torch.Generator) -> Tensor:
    """Choose for each pair the field that enters stage 1: fitted, by argmax, or a spoiled truth, (B, 2, h, w)."""
    fitted, hard = initial_field(pair), initial_field(pair, "argmax")
    spoiled = perturbed(field_of_flow(lesson.flow, fitted.shape[-2:]), generator)  # type: ignore[arg-type]
    chance = torch.rand((len(fitted), 1, 1, 1), generator=generator, device=fitted.device)
    return torch.where(chance < STARTS[0], fitted, torch.where(chance < STARTS[1], hard, spoiled))


def one_stage(model: MatchModel) -> MatchModel:
    """Leave out the second stage of a model, if it has one.

    Raises:
        ConfigError: It has no first one.
    """
    first = model.denoiser(1)
    kept = MatchModel(replace(model.config, stages=1))
    kept.features.load_state_dict(model.features.state_dict())
    kept.denoiser(1).load_state_dict(first.state_dict())
    return kept


def with_reduction(figures: dict[str, float]) -> dict[str, float]:
    """Add the share of the starting field's error that a stage takes away, on each set of pairs."""
    sets = [name.removesuffix("aepe_start") for name in figures if name.endswith("aepe_start")]
    return figures | {f"{s}reduction": 1 - figures[f"{s}aepe"] / figures[f"{s}aepe_start"] for s in sets}
