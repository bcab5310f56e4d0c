"""The methods that the matching bench compares, each a function from a pair to its flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from diffwright.bench.baselines.classical_flow import classical_flows
from diffwright.bench.baselines.regression_flow import load_arm, regressed_field
from diffwright.bench.matching_pairs import Pair
from diffwright.bench.matching_tables import FlowOf, as_flow
from diffwright.core.errors import WeightsMissing
from diffwright.core.images import to_tensor
from diffwright.core.seeding import generator
from diffwright.matching.assembly import square
from diffwright.matching.fields import flow_of_field
from diffwright.matching.hypotheses import choose, turn, upright_field
from diffwright.matching.matcher import Matcher
from diffwright.matching.model import MatchModel
from diffwright.matching.stages import MatchOptions, Volume, initial_field, run_stage1, volume
from diffwright.weights.names import POCKET

OURS = MatchOptions(reverse="off")
"""The improved matcher; the field from B to A changes confidence and occlusion, but not the flow."""
STAGE1 = replace(OURS, stages=1)
ABLATIONS = {
    "faithful": replace(MatchOptions.faithful(), reverse="off"),
    "argmax_start": replace(OURS, initial="argmax"),
    "cleaned_start": replace(OURS, initial="cleaned"),
    "no_hypotheses": replace(OURS, hypotheses=False),
    "no_self_conditioning": replace(OURS, self_conditioning=False),
    "recentred": replace(OURS, recentre=True),
    "mean_of_samples": replace(OURS, average="mean"),
    "no_check": replace(OURS, check=False),
    "one_sample": replace(OURS, samples=1),
}
"""What can be switched without training, each against ``OURS``."""

CLASSICAL = ("dis", "farneback", "deepflow")
DENSE = ("zero", *CLASSICAL, "argmax", "cleaned")
"""Dense methods without a learned prior; ``sift_magsac`` is none, because it assumes one plane. ``fitted``, the field
that enters our diffusion, is ours."""

ARMS = {
    "regression": ("pocket-match-regression", "match-regression"),
    "no_cost": ("pocket-match-no-cost", "match-stage1 with cost_injection: false"),
    "control": ("pocket-match-control", "match-stage1 for as long as the other arms"),
}
"""Trained controls: the pocket name under which one is looked for, and the recipe that makes it."""


def matcher_of(model: Path | None) -> Matcher:
    """Load the matcher that is measured.

    Args:
        model: A folder that a training wrote; the shipped one without it.

    Raises:
        WeightsMissing: There is none.
        WeightsError: It is damaged.
    """
    if model is not None:
        return Matcher.from_pretrained(model)
    if not (POCKET / "pocket-match").is_dir():
        raise WeightsMissing(
            "pocket-match is not shipped with this version; train it with: diffwright train match-features, then "
            "match-stage1, then match-stage2, and give --model runs/match-stage2/model"
        )
    return Matcher.from_pretrained("pocket-match")


def arms_of(folder: Path | None) -> dict[str, MatchModel]:
    """Load the trained controls that are there.

    Args:
        folder: Holds a folder for each arm, named as in ``ARMS``; those that are shipped are taken without it.

    Raises:
        WeightsMissing: A folder was given and holds no arm.
    """
    if folder is None:
        places = {name: POCKET / pocket for name, (pocket, _) in ARMS.items()}
        return {name: load_arm(place.name, ARMS[name][1]) for name, place in places.items() if place.is_dir()}
    found = {
        name: load_arm(folder / name, recipe)
        for name, (_, recipe) in ARMS.items()
        if (folder / name).is_dir()
    }
    if not found:
        raise WeightsMissing(
            f"{folder} holds none of the folders {', '.join(ARMS)}; train one with: "
            "diffwright train match-regression"
        )
    return found


def methods_of(matcher: Matcher, arms: dict[str, MatchModel]) -> dict[str, FlowOf]:
    """Give all methods by name, simple ones first.

    Args:
        matcher: The one that is measured.
        arms: What :func:`arms_of` gave.

    Raises:
        MissingExtra: OpenCV is not installed.
    """

    def classical(solve: Callable) -> FlowOf:
        return lambda pair: as_flow(solve(pair.image_a, pair.image_b))

    found: dict[str, FlowOf] = {"zero": lambda pair: torch.zeros_like(pair.flow)}
    found |= {name: classical(solve) for name, solve in classical_flows().items()}
    found |= {
        "argmax": by_options(matcher, replace(OURS, stages=0, initial="argmax")),
        "cleaned": by_options(matcher, replace(OURS, stages=0, initial="cleaned")),
        "fitted": by_options(matcher, replace(OURS, stages=0)),
        "stage1": by_options(matcher, STAGE1),
        "ours": by_options(matcher, OURS),
    }
    if "regression" in arms:
        found["regression"] = by_regression(arms["regression"])
    for name in ("no_cost", "control"):
        if name in arms:
            found[name] = by_options(Matcher(arms[name]), STAGE1)
    return found


def by_options(matcher: Matcher, options: MatchOptions) -> FlowOf:
    """Match with given switches."""
    return lambda pair: as_flow(matcher.match(pair.image_a, pair.image_b, options).flow)


def by_regression(model: MatchModel) -> FlowOf:
    """Match by the regression network, with the same hypotheses and the same start as ours."""

    def flow_of(pair: Pair) -> Tensor:
        compared = compare(model, pair)
        return compared.flow(regressed_field(model, compared.cells, initial_field(compared.cells)))

    return flow_of


@dataclass(frozen=True)
class Compared:
    """A pair after its features: all pairs of coarse cells, and the way back to pixels.

    Args:
        cells: The cost volume between A and B as it was turned.
        linear: How it was turned.
        size_a: (height, width) of A.
        size_b: (height, width) of B.
    """

    cells: Volume
    linear: Tensor
    size_a: tuple[int, int]
    size_b: tuple[int, int]

    def flow(self, field: Tensor) -> Tensor:
        """Turn a field (1, 2, h, w) in cells into flow (2, H, W) in pixels."""
        return flow_of_field(upright_field(field, self.linear), self.size_a, self.size_b)[0]

    def sampled(self, model: MatchModel, samples: int, steps: int, seed: int = 0) -> Tensor:
        """Flow (2, H, W) of stage 1 with K samples and T steps."""
        options = replace(STAGE1, samples=samples, steps=steps)
        return self.flow(run_stage1(model, self.cells, [generator(seed)], options).field)


@torch.no_grad()
def compare(model: MatchModel, pair: Pair) -> Compared:
    """Choose the hypothesis of a pair, turn B, and compare all coarse cells, as the matcher does."""
    size = model.config.size
    a, b = to_tensor(pair.image_a), to_tensor(pair.image_b)
    (high_a, wide_a), (high_b, wide_b) = pair.image_a.shape[:2], pair.image_b.shape[:2]
    aspects = wide_a / high_a, wide_b / high_b
    guess, _ = choose(model.features, square(a, size), b, *aspects)
    turned = turn(b, guess, size, *aspects)
    features_a = model.features(square(a, size), fine=False)
    features_b = model.features(turned.image, turned.inside, fine=False)
    return Compared(volume(model, features_a, features_b), turned.linear, (high_a, wide_a), (high_b, wide_b))
