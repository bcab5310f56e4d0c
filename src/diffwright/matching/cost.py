"""Cost volumes: how alike each cell of A and each cell of B are, all pairs or a window around a field.

Reference:
    Nam et al., Diffusion Model for Dense Matching, ICLR 2024, section 4.2: global and local matching cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.geometry import pixel_grid
from diffwright.matching.fields import Size, landing, size_of

NEVER = -1e4
"""Logit of a match with a cell outside the picture."""


def global_cost(levels_a: Sequence[Tensor], levels_b: Sequence[Tensor]) -> Tensor:
    """Cosine similarity of all pairs of cells, averaged over the levels.

    The first level sets the grid; the others are resized to it bilinearly.

    Args:
        levels_a: Feature maps of A.
        levels_b: As many of B, of the same widths.

    Shapes:
        levels (B, D, h, w) and (B, D, h', w') -> (B, h, w, h', w')
    """
    a, b = _stacked(levels_a), _stacked(levels_b)
    cost = a.flatten(2).transpose(1, 2) @ b.flatten(2) / len(levels_a)
    return cost.unflatten(2, size_of(b)).unflatten(1, size_of(a))


def argmax_field(cost: Tensor, inside: Tensor | None = None) -> Tensor:
    """Lead each cell to the most similar one: the hard initial field.

    Args:
        cost: Similarities, or any scores.
        inside: Which cells of B may be chosen; all without it.

    Shapes:
        cost (B, h, w, h', w'), inside bool (B, h', w') -> (B, 2, h, w)
    """
    height, width = cost.shape[-2:]
    if inside is not None:
        cost = cost.masked_fill(~inside[:, None, None], NEVER)
    best = cost.flatten(3).argmax(dim=3)
    place = torch.stack([best % width, best // width], dim=1).to(
        torch.promote_types(cost.dtype, torch.float32)
    )
    zero = torch.zeros_like(place)
    return place - landing(zero, (height, width))


def dual_softmax(cost: Tensor, temperature: Tensor | float, inside: Tensor | None = None) -> Tensor:
    """Probability that two cells choose each other: softmax over B times softmax over A.

    Args:
        cost: Similarities.
        temperature: By which they are divided, above 0.
        inside: Which cells of B may be chosen; all without it.

    Shapes:
        cost (B, h, w, h', w'), inside bool (B, h', w') -> (B, h, w, h', w')

    Reference:
        Rocco et al., Neighbourhood Consensus Networks, NeurIPS 2018, section 3.2.
    """
    logits = cost.flatten(3).flatten(1, 2) / temperature
    if inside is not None:
        logits = logits.masked_fill(~inside.flatten(1)[:, None], NEVER)
    chance = logits.softmax(dim=2) * logits.softmax(dim=1)
    if inside is not None:
        chance = chance * inside.flatten(1)[:, None]
    return chance.reshape(cost.shape)


def cleaned_field(chance: Tensor, window: int = 5) -> Tensor:
    """Lead each cell to its likeliest match and take the median over a window.

    Args:
        chance: What ``dual_softmax`` gives.
        window: Odd side of the window, in cells.

    Shapes:
        (B, h, w, h', w') -> (B, 2, h, w)
    """
    return median(argmax_field(chance), window)


def median(field: Tensor, window: int = 5) -> Tensor:
    """Median of each channel over a square window; the border is repeated.

    Shapes:
        (B, C, h, w) -> (B, C, h, w)
    """
    around = F.pad(field, (window // 2,) * 4, mode="replicate")
    return around.unfold(2, window, 1).unfold(3, window, 1).flatten(4).median(dim=4).values


def matchability(chance: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of the likeliest match of each cell, and its lead over the second.

    Args:
        chance: What ``dual_softmax`` gives.

    Shapes:
        (B, h, w, h', w') -> (B, 1, h, w), (B, 1, h, w)
    """
    first, second = chance.flatten(3).topk(2, dim=3).values.unbind(dim=3)
    return first[:, None], (first - second)[:, None]


def local_cost(cost: Tensor, field: Tensor, radius: int = 4) -> Tensor:
    """Cut a window out of the global cost around where a field leads, bilinearly, 0 outside B.

    Channels run over the window row by row; with radius 4 the center is channel 40.

    Args:
        cost: All pairs.
        field: Center of each cell's window, in cells.
        radius: Of the window, in cells.

    Shapes:
        cost (B, h, w, h', w'), field (B, 2, h, w) -> (B, (2r+1)^2, h, w)
    """
    size = size_of(cost)
    corner, part = _corners(field, size, radius)
    steps = torch.arange(2 * radius + 2, device=field.device)
    x = corner[:, 0, :, :, None] + steps
    y = corner[:, 1, :, :, None] + steps
    known = _within(y, size[0])[..., None] & _within(x, size[1])[..., None, :]
    index = y.clamp(0, size[0] - 1)[..., None] * size[1] + x.clamp(0, size[1] - 1)[..., None, :]
    values = cost.flatten(3).gather(3, index.flatten(3)) * known.flatten(3)
    return _blended(values.reshape(index.shape).movedim((3, 4), (1, 2)), part)


def local_cost_of_features(a: Tensor, b: Tensor, field: Tensor, radius: int = 4) -> Tensor:
    """Compute the window of ``local_cost`` straight from features, where all pairs would be too many.

    Bilinear sampling commutes with the dot product, so whole cells are compared first and blended afterwards.

    Args:
        a: Features of A, of unit length.
        b: Features of B, of unit length or 0 outside the picture.
        field: Center of each cell's window, in cells.
        radius: Of the window, in cells.

    Shapes:
        a (B, D, h, w), b (B, D, h', w'), field (B, 2, h, w) -> (B, (2r+1)^2, h, w)
    """
    batch, _, height, width = a.shape
    size = size_of(b)
    corner, part = _corners(field, size, radius)
    own = a.movedim(1, -1).flatten(0, 2)
    others = b.movedim(1, -1).flatten(0, 2)
    first = torch.arange(batch, device=a.device)[:, None, None] * (size[0] * size[1])
    count = 2 * radius + 2
    values = []
    for step in range(count * count):
        x, y = corner[:, 0] + step % count, corner[:, 1] + step // count
        known = _within(x, size[1]) & _within(y, size[0])
        index = first + y.clamp(0, size[0] - 1) * size[1] + x.clamp(0, size[1] - 1)
        product = (own * others.index_select(0, index.flatten())).sum(dim=1)
        values.append(product.reshape(batch, height, width) * known)
    return _blended(torch.stack(values, dim=1).unflatten(1, (count, count)), part)


def _stacked(levels: Sequence[Tensor]) -> Tensor:
    size = size_of(levels[0])
    resized = [
        level
        if size_of(level) == size
        else F.interpolate(level, size=size, mode="bilinear", align_corners=False)
        for level in levels
    ]
    return torch.cat([F.normalize(level, dim=1) for level in resized], dim=1)


def _corners(field: Tensor, size_b: Size, radius: int) -> tuple[Tensor, Tensor]:
    """First whole cell of each window, int64 (B, 2, h, w), and the fraction beyond it, (B, 2, h, w)."""
    place = landing(field, size_b)
    far = 4 * max(size_b) + 4 * radius
    place = place.nan_to_num(far, far, -far).clamp(-far, far)
    whole = place.floor()
    return whole.long() - radius, place - whole


def _within(index: Tensor, count: int) -> Tensor:
    return (index >= 0) & (index < count)


def _blended(values: Tensor, part: Tensor) -> Tensor:
    """Bilinear mix of windows of whole cells (B, n+1, n+1, h, w), shifted by a fraction, to (B, n*n, h, w)."""
    x, y = part[:, 0, None, None], part[:, 1, None, None]
    rows = values[:, :-1] * (1 - y) + values[:, 1:] * y
    return (rows[:, :, :-1] * (1 - x) + rows[:, :, 1:] * x).flatten(1, 2)


def window_offsets(radius: int, like: Tensor) -> Tensor:
    """Give the offset in cells that each channel of a local cost stands for.

    Shapes:
        -> ((2r+1)^2, 2), x and y
    """
    side = 2 * radius + 1
    return pixel_grid(side, side, like=like)[0].flatten(1).T - radius
