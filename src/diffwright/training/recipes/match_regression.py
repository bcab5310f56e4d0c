"""Recipe ``match-regression``: the network of stage 1 without diffusion, to measure what diffusion adds.

The same network, pairs, first guesses, loss and budget as ``match-stage1``; it predicts the field in one pass and never
sees noise. The bench compares both; the matcher never uses it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffwright.core.errors import ConfigError
from diffwright.matching.regression import regress
from diffwright.matching.stages import condition_stage1, initial_field, to_field
from diffwright.training.pairs.denoising import stage_loss
from diffwright.training.pairs.figures import measured
from diffwright.training.pairs.stream import Lesson
from diffwright.training.recipes.match_stage1 import (
    MatchStage1Options,
    MatchStage1Task,
    compared,
    first_guess,
    with_reduction,
)


@dataclass(frozen=True, kw_only=True)
class MatchRegressionOptions(MatchStage1Options):
    """Options of the recipe: those of ``match-stage1``, of which it cannot train jointly."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.joint:
            raise ConfigError(
                "joint is true, but match-regression only trains over frozen features; leave it out"
            )


class MatchRegressionTask(MatchStage1Task):
    """Regress coarse fields."""

    name = "match-regression"

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Error of the field that one pass makes of a random first guess."""
        model, lesson = self.model.to(generator.device), self.stream.lesson(batch)
        with torch.no_grad():
            pair = compared(model, lesson)
            start = first_guess(pair, lesson, generator)
            with torch.autocast(start.device.type, enabled=False):
                condition = condition_stage1(model.config, pair, start)
        x0, log_b = regress(model, 1, condition, start)
        return stage_loss(model, 1, x0, log_b, start, lesson.flow, lesson.visible)

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Errors of the field, and of the fitted field that it started from."""
        device = next(self.model.denoiser(1).parameters()).device
        model = self.model.to(device)

        def fields(lesson: Lesson) -> dict[str, Tensor]:
            pair = compared(model, lesson)
            start = initial_field(pair)
            x0, _ = regress(model, 1, condition_stage1(model.config, pair, start), start)
            return {"": to_field(model.config, 1, x0, start), "_start": start}

        return with_reduction(measured(self.fixed, fields, device))
