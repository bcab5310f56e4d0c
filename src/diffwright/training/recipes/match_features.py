"""Recipe ``match-features``: the feature pyramid that compares two pictures, trained from nothing.

Coarse features learn to choose each other among all cells (dual softmax with a no-match cell), fine ones to find the
place inside a small window. Pairs are drawn while it runs; no correspondence was ever labeled by hand.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffwright.matching.model import MatchConfig, MatchModel
from diffwright.matching.stages import initial_field, volume
from diffwright.training.pairs.figures import measured
from diffwright.training.pairs.losses import coarse_nll, fine_nll
from diffwright.training.pairs.stream import Lesson, PairOptions, Sketch, Stream


@dataclass(frozen=True, kw_only=True)
class MatchFeaturesOptions(PairOptions):
    """Options of the recipe, beside where pairs come from.

    Args:
        widths: Channels of the feature net at 1/2, 1/4, 1/8 and 1/16 of the size.
        blocks: Its blocks there.
        init: Matching model whose features to start from.
    """

    widths: tuple[int, ...] = MatchConfig.feature_widths
    blocks: tuple[int, ...] = MatchConfig.feature_blocks
    init: Path | None = None


class FeatureLosses(nn.Module):
    """What the losses learn beside the features: cosine of the no-match cell, temperature of the fine softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.dustbin = nn.Parameter(torch.tensor(0.3))
        self.fine_log_scale = nn.Parameter(torch.tensor(10.0).log())

    def forward(
        self, model: MatchModel, lesson: Lesson, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Loss of the features of a batch, and figures."""
        a, b = model.features(lesson.image_a), model.features(lesson.image_b, lesson.inside)
        flow, visible = lesson.flow, lesson.visible
        with torch.autocast(flow.device.type, enabled=False):
            heat = model.features.temperature
            coarse, hits = coarse_nll(a, b, flow, visible, heat, self.dustbin, generator)
            fine_heat = self.fine_log_scale.clamp(0, 5.3).neg().exp()
            fine, near = fine_nll(a.fine, b.fine, flow, visible, fine_heat, model.config.radius, generator)
        figures = {"coarse": coarse.detach(), "fine": fine.detach(), "coarse_hits": hits, "fine_hits": near}
        return coarse + fine, {**figures, "temperature": heat.detach()}


class MatchFeaturesTask:
    """Compare pictures cell by cell."""

    name = "match-features"

    def __init__(self, options: MatchFeaturesOptions) -> None:
        self.stream = Stream(options)
        self.fixed = self.stream.fixed()
        config = MatchConfig(
            size=options.size, stages=0, feature_widths=options.widths, feature_blocks=options.blocks
        )
        self.model = features_of(options.init, options.size) if options.init else MatchModel(config)
        self.losses = FeatureLosses()

    def modules(self) -> dict[str, nn.Module]:
        """The feature net, and what its losses learn."""
        return {"features": self.model.features, "losses": self.losses}

    def batch(self, indices: Tensor) -> Sketch | Lesson:
        """Pairs with exact flow."""
        return self.stream.batch(indices)

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Negative log-likelihood of the right cell, coarse and fine."""
        return self.losses(self.model, self.stream.lesson(batch), generator)

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Errors of the field that the features alone give, by argmax and cleaned."""

        def fields(lesson: Lesson) -> dict[str, Tensor]:
            a = self.model.features(lesson.image_a, fine=False)
            pair = volume(self.model, a, self.model.features(lesson.image_b, lesson.inside, fine=False))
            return {"_argmax": initial_field(pair, "argmax"), "_cleaned": initial_field(pair)}

        return measured(self.fixed, fields, self.losses.dustbin.device)

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Write a matching model without stages."""
        self.model.save_pretrained(directory)


def features_of(source: Path, size: int) -> MatchModel:
    """Load the features of a matching model and leave out its stages.

    Args:
        source: Directory of the model.
        size: Side of the pictures, which replaces the model's own.
    """
    whole = MatchModel.from_pretrained(str(source))
    model = MatchModel(replace(whole.config, stages=0, size=size))
    model.features.load_state_dict(whole.features.state_dict())
    return model
