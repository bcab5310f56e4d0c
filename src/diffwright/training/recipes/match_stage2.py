"""Recipe ``match-stage2``: the diffusion that upsamples a coarse field to the fine grid.

Features and stage 1 are frozen. Most batches start from what stage 1 gives, the others from a spoiled truth, so that a
bad start does not lead astray. The model it writes is complete, its confidence fitted on pairs that never trained.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffwright.core.seeding import generators
from diffwright.matching.fields import field_of_flow, resize_field
from diffwright.matching.model import MatchConfig, MatchModel
from diffwright.matching.nets import Features
from diffwright.matching.stages import KNEE, MatchOptions, condition_stage2, run_stage1, run_stage2, volume
from diffwright.training.pairs.calibration import calibrated
from diffwright.training.pairs.denoising import denoising_loss
from diffwright.training.pairs.figures import measured, residual_scale
from diffwright.training.pairs.losses import perturbed
from diffwright.training.pairs.stream import Lesson, PairOptions, Sketch, Stream
from diffwright.training.recipes.match_stage1 import one_stage, with_reduction

FROM_STAGE1 = 0.7  # share of the batches
DRAWS = 2  # noises that each pair is shown under; on the fine grid the denoiser costs more than what it reads
COARSE = MatchOptions(samples=1, steps=2, average="mean")  # how stage 1 is run to start from, for speed


@dataclass(frozen=True, kw_only=True)
class MatchStage2Options(PairOptions):
    """Options of the recipe, beside where pairs come from.

    Args:
        stage1: Matching model whose features and stage 1 are used.
        widths: Channels of the denoiser at 1/2, 1/4 ... of its grid.
        blocks: Its residual blocks a resolution.
        init: Complete matching model to go on from; it replaces the options above.
    """

    stage1: Path = Path("runs/match-stage1/model")
    widths: tuple[int, ...] = MatchConfig.stage2_widths
    blocks: int = MatchConfig.stage2_blocks
    init: Path | None = None


class MatchStage2Task:
    """Denoise fine fields."""

    name = "match-stage2"

    def __init__(self, options: MatchStage2Options) -> None:
        self.options, self.stream = options, Stream(options)
        self.fixed = self.stream.fixed()
        self.model = self._build()
        self.model.requires_grad_(False)
        self.model.denoiser(2).requires_grad_(True)

    def _build(self) -> MatchModel:
        options = self.options
        base = MatchModel.from_pretrained(str(options.init or options.stage1))
        if options.init:
            base.denoiser(2)
            return base
        base = one_stage(base)
        config = replace(base.config, stages=2, stage2_widths=options.widths, stage2_blocks=options.blocks)
        knee = KNEE if base.config.variable == "companded" else None
        scale = residual_scale(
            self.fixed[""][:2], lambda lesson: upsampled(base, *featured(base, lesson)), knee=knee
        )
        model = MatchModel(replace(config, residual_scale=(config.residual_scale[0], scale)))
        model.features.load_state_dict(base.features.state_dict())
        model.denoiser(1).load_state_dict(base.denoiser(1).state_dict())
        return model

    def modules(self) -> dict[str, nn.Module]:
        """The second denoiser."""
        return {"stage2": self.model.denoiser(2)}

    def batch(self, indices: Tensor) -> Sketch | Lesson:
        """Pairs with exact flow."""
        return self.stream.batch(indices)

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Error of the predicted field from a random noise level and coarse field."""
        model, lesson = self.model.to(generator.device), self.stream.lesson(batch)
        with torch.no_grad():
            a, b = featured(model, lesson)
            ours = torch.rand((), generator=generator, device=generator.device) < FROM_STAGE1
            with torch.autocast(lesson.flow.device.type, enabled=False):
                start = upsampled(model, a, b, generator) if ours else spoiled_truth(a, lesson, generator)
                condition = condition_stage2(model.config, a, b, start)
        return denoising_loss(model, 2, condition, start, lesson, generator, DRAWS)

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Errors of one sample of both stages, and of the first one's field upsampled."""
        device = next(self.model.denoiser(2).parameters()).device
        model, options = self.model.to(device), MatchOptions(samples=1)

        def fields(lesson: Lesson) -> dict[str, Tensor]:
            a, b = featured(model, lesson)
            coarse = run_stage1(model, volume(model, a, b), generators(range(len(lesson.flow))), options)
            out = run_stage2(model, a, b, coarse.field, generators(range(len(lesson.flow))), options)
            return {"": out.field, "_start": out.start}

        return with_reduction(measured(self.fixed, fields, device))

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Fit the confidence on the pairs that measure, and write the complete matching model."""
        self.model.config = replace(self.model.config, confidence=calibrated(self.model, self.fixed))
        self.model.save_pretrained(directory)


def featured(model: MatchModel, lesson: Lesson) -> tuple[Features, Features]:
    """Features of both pictures of each pair."""
    return model.features(lesson.image_a), model.features(lesson.image_b, lesson.inside)


@torch.no_grad()
def upsampled(
    model: MatchModel, a: Features, b: Features, generator: torch.Generator | None = None
) -> Tensor:
    """Run stage 1 and resize its field to the fine grid, (B, 2, h, w)."""
    count = len(a.coarse[0])
    seeds = range(count)
    if generator is not None:
        seeds = torch.randint(2**31, (count,), generator=generator, device=generator.device).tolist()
    field = run_stage1(model, volume(model, a, b), generators(seeds), COARSE).field
    return resize_field(field, a.fine.shape[-2:])  # type: ignore[union-attr, arg-type]


def spoiled_truth(a: Features, lesson: Lesson, generator: torch.Generator) -> Tensor:
    """Spoil the truth on the coarse grid and resize it to the fine one, (B, 2, h, w)."""
    coarse = field_of_flow(lesson.flow, a.coarse[0].shape[-2:])  # type: ignore[arg-type]
    return resize_field(perturbed(coarse, generator), a.fine.shape[-2:])  # type: ignore[union-attr, arg-type]
