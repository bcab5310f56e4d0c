"""Rotation and scale hypotheses: picture B is turned towards A before the two are matched.

Features see a picture as it stands, so strong in-plane rotation or a large change of scale leaves nothing to match.
Each hypothesis turns B on a canvas that is large enough for its corners; the one with the most mutual matches is
kept. The stages then see a nearly upright pair, on A's own grid, and the field they find is turned back exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.geometry import pixel_grid
from diffwright.matching.cost import dual_softmax, global_cost
from diffwright.matching.fields import Size, sample, size_of
from diffwright.matching.nets import FeatureNet

CANVAS_STEP = 64
"""Canvas sides are multiples of this many pixels, for the networks' sake."""

LEAD = 1.15
"""A hypothesis must have this many times the mutual matches of the upright one to be believed."""

ENOUGH = 0.2
"""Share of A's cells whose matches are mutual at which no other scale is tried any more."""


@dataclass(frozen=True)
class Hypothesis:
    """A guess at the main map from A to B, about the centers.

    Attributes:
        rotation: Degrees from +x towards +y, so clockwise as seen.
        scale: How many times larger things are in B.
    """

    rotation: float = 0.0
    scale: float = 1.0


UPRIGHT = Hypothesis()
CANDIDATES = tuple(Hypothesis(45.0 * k, scale) for scale in (1.0, 0.5, 2.0) for k in range(8))


@dataclass(frozen=True)
class Turned:
    """Picture B on its canvas, and the way back.

    Attributes:
        image: (1, 3, H', W') in [-1, 1], 0 outside the picture.
        inside: bool (1, 1, H', W'), where the canvas shows the picture; None for all of it.
        linear: (2, 2), takes offsets from the canvas' center to offsets from B's center, in pixels of size x size
            pictures.
    """

    image: Tensor
    inside: Tensor | None
    linear: Tensor


def nearest(rotation: float, scale: float = 1.0, among: Sequence[Hypothesis] = CANDIDATES) -> Hypothesis:
    """Give the hypothesis closest to a known map, as a training does that knows the truth.

    Args:
        rotation: Of the map from A to B, degrees.
        scale: Of the map from A to B.
        among: What to choose from.
    """

    def gap(guess: Hypothesis) -> float:
        turn = math.radians((guess.rotation - rotation + 180) % 360 - 180)
        return turn**2 + math.log(guess.scale / scale) ** 2

    return min(among, key=gap)


def linear_map(guess: Hypothesis, aspect_a: float = 1.0, aspect_b: float = 1.0) -> Tensor:
    """Give the matrix from A to B that a hypothesis stands for, between both pictures resized to a square.

    The rotation is one in the pictures' own proportions.

    Args:
        guess: The hypothesis.
        aspect_a: Width over height of picture A.
        aspect_b: The same of B.

    Shapes:
        -> float64 (2, 2)
    """
    angle = math.radians(guess.rotation)
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    return guess.scale * _stretch(aspect_b).inverse() @ rotation @ _stretch(aspect_a)


def turn(
    image_b: Tensor,
    guess: Hypothesis,
    size: int,
    aspect_a: float = 1.0,
    aspect_b: float = 1.0,
    canvas: Size | None = None,
) -> Turned:
    """Turn picture B so that the hypothesis would leave it upright beside A.

    Args:
        image_b: Picture B at any resolution, the higher the better for scales below 1.
        guess: The hypothesis.
        size: Side of the square that A is resized to, pixels.
        aspect_a: Width over height of picture A.
        aspect_b: The same of B.
        canvas: (height, width) of the canvas, multiples of 32, to stack several; as large as needed without it.

    Shapes:
        image_b (1, 3, H, W) -> ``Turned``
    """
    linear = linear_map(guess, aspect_a, aspect_b)
    upright = torch.allclose(linear, torch.eye(2, dtype=linear.dtype))
    if upright and canvas in (None, (size, size)):
        return Turned(_resized(image_b, (size, size)), None, linear)
    height, width = canvas or _canvas(linear, size)
    image_b = _resized(image_b, _sampled(image_b, linear, size))
    offset = pixel_grid(height, width, like=image_b)
    offset = offset - offset.new_tensor([(width - 1) / 2, (height - 1) / 2])[:, None, None]
    unit = torch.einsum("ij,bjhw->bihw", linear.to(offset), offset) / (size / 2)
    inside = (unit.abs() <= 1).all(dim=1, keepdim=True)
    shown = F.grid_sample(image_b, unit.movedim(1, -1), padding_mode="border", align_corners=False)
    return Turned(shown * inside, inside, linear)


def turned_field(field: Tensor, linear: Tensor) -> Tensor:
    """Express a field from A to B as one from A to the turned B.

    Args:
        field: In cells, on A's grid.
        linear: Of the :class:`Turned`.

    Shapes:
        (B, 2, h, w) -> (B, 2, h, w)
    """
    return _carried(field, linear.inverse())


def upright_field(field: Tensor, linear: Tensor) -> Tensor:
    """Express a field from A to the turned B as one from A to B.

    Args:
        field: In cells, on A's grid; zero leads from center to center.
        linear: Of the :class:`Turned`.

    Shapes:
        (B, 2, h, w) -> (B, 2, h, w)
    """
    return _carried(field, linear)


def upright_reverse(field: Tensor, linear: Tensor, size: int) -> Tensor:
    """Express a field from the turned B to A as one from B to A, on B's own grid.

    Args:
        field: In cells, on the canvas' grid.
        linear: Of the :class:`Turned`.
        size: Side of B's grid in cells.

    Shapes:
        (B, 2, h', w') -> (B, 2, size, size)
    """
    height, width = field.shape[-2:]
    offset = _offsets((size, size), field)
    turned = torch.einsum("ij,bjhw->bihw", linear.inverse().to(field), offset)
    middle = field.new_tensor([(width - 1) / 2, (height - 1) / 2])[:, None, None]
    last = field.new_tensor([width - 1, height - 1])[:, None, None]
    place = (turned + middle).clamp(min=0).minimum(last).expand(len(field), -1, -1, -1)
    return turned + sample(field, place) - offset


def choose(
    net: FeatureNet,
    image_a: Tensor,
    image_b: Tensor,
    aspect_a: float = 1.0,
    aspect_b: float = 1.0,
    candidates: Sequence[Hypothesis] = CANDIDATES,
) -> tuple[Hypothesis, dict[Hypothesis, float]]:
    """Choose the hypothesis with the most mutual matches between A and the turned B.

    Pictures are compared at half of A's side; where things are larger in B, A is compared at its whole side, so that
    B does not shrink to a few cells.

    Args:
        net: Computes the features.
        image_a: Picture A as the square that is matched.
        image_b: Picture B at any resolution.
        aspect_a: Width over height of the original picture A.
        aspect_b: The same of B.
        candidates: What to choose from; the upright one must be among them.

    Shapes:
        image_a (1, 3, S, S), image_b (1, 3, H, W)

    Returns:
        The hypothesis, and the score of each that was tried: expected mutual matches. Other scales are tried where
        too few match at the pictures' own.
    """
    whole, half = image_a.shape[-1], image_a.shape[-1] // 2
    groups: dict[tuple[int, Size], list[Hypothesis]] = {}
    for guess in candidates:
        size = whole if guess.scale > 1 else half
        canvas = _canvas(linear_map(guess, aspect_a, aspect_b), size)
        groups.setdefault((size, canvas), []).append(guess)
    features = {half: net(_resized(image_a, (half, half)), fine=False)}
    enough = ENOUGH * features[half].coarse[0][0, 0].numel()
    scores: dict[Hypothesis, float] = {}
    for (size, canvas), group in sorted(groups.items(), key=lambda item: abs(math.log(item[1][0].scale))):
        if group[0].scale != 1 and max(scores.values()) > enough:
            break
        if size not in features:
            features[size] = net(_resized(image_a, (size, size)), fine=False)
        views = [turn(image_b, guess, size, aspect_a, aspect_b, canvas) for guess in group]
        inside = [_everywhere(view) for view in views]
        b = net(torch.cat([view.image for view in views]), torch.cat(inside), fine=False)
        repeated = [level.expand(len(group), -1, -1, -1) for level in features[size].coarse]
        chance = dual_softmax(global_cost(repeated, b.coarse), net.temperature, b.inside)
        scores |= dict(zip(group, _mutual(chance).tolist(), strict=True))
    best = max(scores, key=scores.__getitem__)
    return (best if scores[best] > LEAD * scores[UPRIGHT] else UPRIGHT), scores


def _mutual(chance: Tensor) -> Tensor:
    """Expected mutual matches, counted over the cells of A or of B, whichever gives fewer: (B,)."""
    pairs = chance.flatten(3).flatten(1, 2)  # (B, N, M)
    return torch.minimum(pairs.amax(dim=2).sum(1), pairs.amax(dim=1).sum(1))


def _stretch(aspect: float) -> Tensor:
    """From a square to the proportions of the picture, area kept."""
    return torch.diag(torch.tensor([math.sqrt(aspect), 1 / math.sqrt(aspect)], dtype=torch.float64))


def _canvas(linear: Tensor, size: int) -> Size:
    """Smallest (height, width), in whole steps, that holds all of the turned B."""
    width, height = (linear.inverse().abs().sum(dim=1) * size).tolist()
    return _stepped(height), _stepped(width)


def _stepped(side: float) -> int:
    return max(64, CANVAS_STEP * math.ceil(side / CANVAS_STEP - 1e-6))


def _sampled(image_b: Tensor, linear: Tensor, size: int) -> Size:
    """Size at which neighbouring pixels of the canvas fall on neighbouring pixels of B at most, along each side."""
    wide, high = linear.norm(dim=1).clamp(min=1e-6).tolist()  # pixels of the square that a canvas pixel spans
    return min(image_b.shape[-2], round(size / high)), min(image_b.shape[-1], round(size / wide))


def _everywhere(view: Turned) -> Tensor:
    if view.inside is not None:
        return view.inside
    return torch.ones_like(view.image[:, :1], dtype=torch.bool)


def _resized(image: Tensor, size: Size) -> Tensor:
    if size_of(image) == size:
        return image
    shown = F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)
    return shown.clamp(-1, 1)


def _offsets(size: Size, like: Tensor) -> Tensor:
    """Offset of each cell from the grid's center, (1, 2, h, w)."""
    middle = like.new_tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])[:, None, None]
    return pixel_grid(*size, like=like) - middle


def _carried(field: Tensor, linear: Tensor) -> Tensor:
    offset = _offsets(size_of(field), field)
    return torch.einsum("ij,bjhw->bihw", linear.to(field), offset + field) - offset
