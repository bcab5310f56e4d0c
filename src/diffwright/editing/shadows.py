"""The shadow that an object casts: found around it by simple means, so that it leaves and arrives with the object.

A shadow is darker than its surroundings, keeps their hue, joins the object's lower part, and is rare: where the ground
is as dark elsewhere, the darkness is its pattern. What is in doubt is no shadow, and the edit is as it were without it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from diffwright.core.geometry import box_of
from diffwright.editing.frame import resized
from diffwright.editing.masks import grown
from diffwright.editing.operations import Placement, grid

DARK = 0.82  # of the surroundings' light; what has less may be shadow
HUE = 0.10  # farthest distance from the surroundings' direction in color
JOIN = 3  # pixels within which a shadow touches its object
UPPER = 0.4  # of the object's height has no shadow beside it
PATTERN = 0.08  # of the ground farther away may be as dark
SIDE = 48  # an object larger than this is looked at from farther away, pixels
LEAST = 8  # pixels that a shadow has at least


def with_shadow(p: Placement, picture: np.ndarray) -> Placement:
    """Let an object that is moved, resized or removed take its shadow along.

    Args:
        p: the operation.
        picture: uint8 (H, W, 3).

    Returns:
        The operation, whose zone includes the shadow's old and new place; as it was where none is found.
    """
    if p.task not in ("move", "resize", "remove") or p.still:
        return p
    left = shade(picture, p.source)
    if left is None:
        return p
    arrives = np.ones_like(left)
    if p.task != "remove":
        points = p.inverse(grid(*left.shape))
        at = np.floor(points + 0.5).astype(int)
        inside = np.all((at >= 0) & (at < [left.shape[1], left.shape[0]]), axis=-1)
        at = np.where(inside[..., None], at, 0)
        arrives = np.where(inside, left[at[..., 1], at[..., 0]], 1.0)
    return replace(p, shade_left=left, shade_arrives=arrives.astype(np.float32))


def shade(picture: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """Find the shadow of an object.

    Args:
        picture: uint8 (H, W, 3).
        mask: the object, bool (H, W).

    Returns:
        Light that is left at each pixel, float32 (H, W) in (0, 1], 1 outside the shadow; None where none is found.
    """
    x0, y0, x1, y1 = box_of(mask)
    reach = 2 * max(x1 - x0, y1 - y0)
    box = np.s_[max(0, y0 - reach) : y1 + reach, max(0, x0 - reach) : x1 + reach]
    part, there = picture[box], mask[box]
    shrink = max(1, math.ceil(max(x1 - x0, y1 - y0) / SIDE))
    size = max(1, part.shape[0] // shrink), max(1, part.shape[1] // shrink)
    small = resized(there.astype(np.uint8)[..., None].repeat(3, axis=2) * 255, size)[..., 0] > 0
    light, doubt = _light(resized(part, size), small)
    found = _joined(light < DARK, doubt, small)
    if found.sum() < LEAST:
        return None
    levels = np.where(found, light, 1.0).clip(0.05, 1.0) * 255
    out = np.ones(mask.shape, np.float32)
    whole = resized(levels.astype(np.uint8)[..., None].repeat(3, axis=2), part.shape[:2])[..., 0]
    out[box] = np.where(whole < 250, whole / 255, 1.0)
    out[mask] = 1.0
    return out if (out < 1).any() else None


def _light(picture: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Light of each pixel relative to the brighter half of its row, and where its hue is another one."""
    keep = ~grown(mask, 1)
    smooth = _smooth(picture.astype(np.float64) + 1, keep)
    reference = np.zeros_like(smooth)
    for y, row in enumerate(keep):
        if row.sum() >= LEAST:
            colors = smooth[y][row]
            bright = colors.sum(1) >= np.median(colors.sum(1))
            reference[y] = np.median(colors[bright], axis=0)
    known = keep & (reference.sum(-1) > 0)
    light = np.where(known, smooth.sum(-1) / np.maximum(reference.sum(-1), 1e-6), 1.0)
    a, b = (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6) for x in (smooth, reference))
    return light, ~known | (np.linalg.norm(a - b, axis=-1) >= HUE)


def _joined(dark: np.ndarray, doubt: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The dark places that reach the object; none where the ground is as dark farther away."""
    _, y0, _, y1 = box_of(mask)
    dark = dark & ~doubt
    dark[: round(y0 + UPPER * (y1 - y0))] = False
    near = grown(mask, round(math.sqrt(mask.sum())))
    ground = ~near & ~doubt
    ground[:y0] = False
    if (dark & ground).sum() > PATTERN * max(1, ground.sum()):
        return np.zeros_like(dark)
    dark &= near
    found = grown(mask, JOIN) & dark
    while True:
        more = grown(found, 1) & dark
        if (more == found).all():
            return found
        found = more


def _smooth(colors: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Mean of 3 x 3 pixels, of those to keep; 0 where there is none."""
    padded = np.pad(
        np.concatenate([colors * keep[..., None], keep[..., None]], axis=-1), ((1, 1), (1, 1), (0, 0))
    )
    height, width = keep.shape
    total = np.sum([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
    return total[..., :3] / np.maximum(total[..., 3:], 1e-6)
