"""The truth about an edit of one scene: what was vacated, what may differ at all, where handles go."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.errors import InputError
from diffwright.world.body import body_of
from diffwright.world.kinds import SHAPES
from diffwright.world.motion import follow
from diffwright.world.render import Render, render
from diffwright.world.scene import Scene, Thing

HANDLES = ("top", "left", "right", "base")


@dataclass(frozen=True)
class Edit:
    """Both renders of an edit and the masks between them.

    Args:
        before: Render of the scene.
        after: Render of the edited scene.
        removed: Numbers of the things of ``before`` that are changed or gone.
        placed: Numbers of the things of ``after`` that are changed or new.

    Shapes (H = W = size):
        vacated (H, W) bool, pixels that a changed thing left; touched (H, W) bool, changed things and their
        shadows in either picture: nothing else differs in photo style
    """

    before: Render
    after: Render
    removed: tuple[int, ...]
    placed: tuple[int, ...]
    vacated: Tensor
    touched: Tensor


def edit(before: Scene, after: Scene, size: int = 64, supersample: int = 2) -> Edit:
    """Render a scene and its edited version, and compare them.

    Args:
        before: A scene.
        after: The same scene with things moved, changed, added or removed.
        size: Side of the pictures, pixels.
        supersample: Rays per pixel and axis.

    Raises:
        InputError: Camera, lamp, place or style differ too.

    Example:
        >>> scene = Scene(things=(Thing(kind="cube", color="red"),))
        >>> bool(edit(scene, scene.with_(0, x=0.3), size=16).vacated.any())
        True
    """
    if replace(after, things=before.things, relation=before.relation, seed=before.seed) != before:
        raise InputError(
            "camera, lamp, place or style differ between the scenes of an edit; change only things."
        )
    removed = tuple(j for j, thing in enumerate(before.things) if thing not in after.things)
    placed = tuple(j for j, thing in enumerate(after.things) if thing not in before.things)
    a, b = (render(scene, size, supersample) for scene in (before, after))
    left, taken = _any(a.masks, removed), _any(b.masks, placed)
    touched = (
        _any(a.whole, removed) | _any(b.whole, placed) | _any(a.shadows, removed) | _any(b.shadows, placed)
    )
    return Edit(a, b, removed, placed, left & ~taken, touched)


def dilated(mask: Tensor, pixels: int) -> Tensor:
    """Grow bool masks (..., H, W) by some pixels in all eight directions."""
    flat = mask.float().reshape(-1, 1, *mask.shape[-2:])
    return (F.max_pool2d(flat, 2 * pixels + 1, 1, pixels) > 0).reshape(mask.shape)


def handles(thing: Thing) -> np.ndarray:
    """Positions of a thing's handles, the middles of its box's sides, by the closed form of its deformation.

    Returns:
        World points (4, 3) in the order of ``HANDLES``.
    """
    shape = SHAPES[thing.kind]
    w, h = shape.half_width, shape.height
    return body_of(thing).to_world(np.array([(0, h, 0), (-w, h / 2, 0), (w, h / 2, 0), (0, 0, 0)]))


def drag_points(before: Scene, after: Scene, thing: int, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Pick points on a thing that a user could drag to make the edit, and where each of them ends.

    They are the top, leftmost and rightmost visible pixels, one pixel inside the outline, that stay visible.

    Args:
        before: A scene.
        after: The same with that thing moved or deformed.
        thing: Its number.
        size: Side of the pictures, pixels.

    Returns:
        Start and end, each (n, 2) x and y in pixels; n is 0 to 3.
    """
    mask = render(before, size).masks[0, thing]
    inside = ~dilated(~mask, 1)
    y, x = np.nonzero((inside if bool(inside.any()) else mask).numpy())
    if not len(x):
        return np.zeros((0, 2)), np.zeros((0, 2))
    start = np.unique([(x[i], y[i]) for i in (y.argmin(), x.argmin(), x.argmax())], axis=0).astype(np.float64)
    end, seen = follow(before, after, start, size)
    return start[seen], end[seen]


def _any(masks: Tensor, things: Iterable[int]) -> Tensor:
    chosen = masks[0, list(things)]
    return chosen.any(0) if len(chosen) else torch.zeros(masks.shape[-2:], dtype=torch.bool)
