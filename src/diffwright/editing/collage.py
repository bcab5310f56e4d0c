"""The instant preview: objects cut out, holes filled simply, everything laid where it shall be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from diffwright.core.geometry import box_of
from diffwright.editing.fill import filled
from diffwright.editing.masks import grown
from diffwright.editing.operations import Placement

ALIKE = 4  # pixels of a reference whose colors are averaged
LOOKED_AT = 4096  # at most so many pixels of a reference are searched
REC_601 = (0.299, 0.587, 0.114)
RING = 2  # pixels around an object that its edge has colored, and that a hole therefore includes


def collage(
    picture: np.ndarray,
    placements: Sequence[Placement],
    fill: Callable[[np.ndarray, np.ndarray], np.ndarray] = filled,
    ring: int = RING,
) -> np.ndarray:
    """Make an edit with scissors: no model, no light, no shadows but those that operations know of.

    Args:
        picture: uint8 (H, W, 3).
        placements: the operations; later ones lie on top.
        fill: fills holes, ``fill(picture, hole)``.
        ring: pixels around an object that its hole includes.

    Returns:
        The picture, uint8 (H, W, 3).
    """
    hole = np.zeros(picture.shape[:2], dtype=bool)
    for p in placements:
        if p.task in ("move", "resize", "remove") and not p.still:
            hole |= p.source | p.left
    out = fill(picture, grown(hole, ring)) if hole.any() else picture.copy()
    for p in placements:
        if p.shade_arrives is not None:
            out = (out * p.shade_arrives[..., None]).round().clip(0, 255).astype(np.uint8)
        if p.task == "replace":
            _recolor(out, picture, p)
        elif p.task != "remove":
            mine = out.copy() if p.task == "drag" else picture  # a drag bends what is there by now
            _lay(out, mine if p.guide is None else p.guide, p)
    return out


def looked_up(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values of a picture or map (H, W, C) at points (..., 2), bilinear, the border repeated; float32."""
    height, width = image.shape[:2]
    x, y = points[..., 0].clip(0, width - 1), points[..., 1].clip(0, height - 1)
    x0, y0 = x.astype(int), y.astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    u, v = (x - x0)[..., None].astype(np.float32), (y - y0)[..., None].astype(np.float32)
    top = image[y0, x0] * (1 - u) + image[y0, x1] * u
    low = image[y1, x0] * (1 - u) + image[y1, x1] * u
    return top * (1 - v) + low * v


def _lay(out: np.ndarray, guide: np.ndarray, p: Placement) -> None:
    if not p.destination.any():
        return
    x0, y0, x1, y1 = box_of(p.destination)
    y, x = np.mgrid[y0:y1, x0:x1].astype(float)
    points = p.inverse(np.stack([x, y], axis=-1))
    here = p.destination[y0:y1, x0:x1]
    content = looked_up(guide, points).round().clip(0, 255).astype(np.uint8)
    out[y0:y1, x0:x1][here] = content[here]


def _recolor(out: np.ndarray, picture: np.ndarray, p: Placement) -> None:
    """Give every pixel of the region the colors of those in the reference that lie alike and are as light."""
    assert p.guide is not None
    theirs = p.guide[p.guide_mask]
    known = _place_and_light(p.guide, p.guide_mask)
    taken = np.linspace(0, len(theirs) - 1, min(len(theirs), LOOKED_AT)).round().astype(int)
    known, colors = known[taken], torch.from_numpy(theirs[taken].astype(np.float32))
    parts = []
    for asked in _place_and_light(picture, p.source).split(LOOKED_AT):
        near = torch.cdist(asked, known).topk(min(ALIKE, len(known)), largest=False).indices
        parts.append(colors[near].mean(1))
    out[p.source] = torch.cat(parts).round().clamp(0, 255).to(torch.uint8).numpy()


def _place_and_light(image: np.ndarray, mask: np.ndarray) -> torch.Tensor:
    """Where each pixel of a mask lies in its box, and its rank among them by lightness: (N, 3), each in [0, 1]."""
    x0, y0, x1, y1 = box_of(mask)
    y, x = np.nonzero(mask)
    light = image[mask].astype(np.float32) @ np.array(REC_601, np.float32)
    rank = np.argsort(np.argsort(light, kind="stable"), kind="stable")
    each = ((x - x0 + 0.5) / (x1 - x0), (y - y0 + 0.5) / (y1 - y0), (rank + 0.5) / len(rank))
    return torch.from_numpy(np.stack(each, axis=-1).astype(np.float32))
