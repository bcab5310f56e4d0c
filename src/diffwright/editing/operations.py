"""What can be asked for: move, resize, drag, replace, paste, remove, each as geometry at the picture's size.

Every operation says which pixels it empties or changes (``source``), which it fills (``destination``), and from
which pixel of its guide (the picture itself or a reference) each filled pixel takes its content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffwright.core.checks import in_range
from diffwright.core.errors import InputError
from diffwright.core.geometry import Point, box_of, check_points

SMALLEST, LARGEST = 0.05, 20.0  # accepted scales

Inverse = Callable[[np.ndarray], np.ndarray]
Size = tuple[int, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class Placement:
    """An operation on a picture of H x W pixels.

    Attributes:
        task: name of the operation, which chooses its energies.
        source: pixels of the picture whose content leaves or changes.
        destination: pixels that receive content.
        inverse: from points (..., 2) of the picture to the points of the guide that they show afterwards.
        guide: the reference picture, uint8 (h, w, 3); None when the picture guides itself.
        guide_mask: the object in the guide, bool of the guide's size.
        handles: pairs of start and end, pixels.
        off: share of the object that would lie off the picture.
        shade_left: light left in the shadow that the object casts now, in (0, 1]; None where none is known.
        shade_arrives: the same afterwards.

    Shapes:
        source, destination: bool (H, W); shade_left, shade_arrives: float32 (H, W)
    """

    task: str
    source: np.ndarray
    destination: np.ndarray
    inverse: Inverse
    guide: np.ndarray | None = None
    guide_mask: np.ndarray
    handles: tuple[tuple[Point, Point], ...] = ()
    off: float = 0.0
    shade_left: np.ndarray | None = None
    shade_arrives: np.ndarray | None = None

    @property
    def zone(self) -> np.ndarray:
        """Pixels that the operation is meant to change, bool (H, W)."""
        zone = self.left | self.destination | self.source
        return zone if self.shade_arrives is None else zone | (self.shade_arrives < 1)

    @property
    def still(self) -> bool:
        """Whether an object stays where and as it is, so that nothing has to be filled."""
        if self.task not in ("move", "resize") or not np.array_equal(self.source, self.destination):
            return False
        corners = np.array([[0.0, 0.0], [1.0, 1.0]])
        return np.allclose(self.inverse(corners), corners)

    @property
    def left(self) -> np.ndarray:
        """Pixels that the object and its shadow leave, bool (H, W)."""
        gone = self.source if self.shade_left is None else self.source | (self.shade_left < 1)
        return gone & ~self.destination


@dataclass(frozen=True, eq=False)
class Move:
    """Move an object, and scale it about its middle if wanted.

    Args:
        mask: the object, bool of the picture's size.
        by: shift to the right and down, pixels.
        scale: size afterwards relative to now.
    """

    mask: np.ndarray
    by: tuple[float, float]
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", _shift(self.by))

    def place(self, size: Size) -> Placement:
        """Lay it out on a picture of this (height, width)."""
        return _rigid("move", self.mask, self.by, self.scale, size)


@dataclass(frozen=True, eq=False)
class Resize:
    """Scale an object about the middle of its box.

    Args:
        mask: the object, bool of the picture's size.
        scale: size afterwards relative to now.
    """

    mask: np.ndarray
    scale: float

    def place(self, size: Size) -> Placement:
        """Lay it out on a picture of this (height, width)."""
        return _rigid("resize", self.mask, (0.0, 0.0), self.scale, size)


@dataclass(frozen=True, eq=False)
class Drag:
    """Drag points of the picture to new places.

    Args:
        points: where the content is now, (x, y) in pixels.
        to: where it shall be, as many.
        mask: pixels that may change; chosen around the points without it.
    """

    points: tuple[Point, ...]
    to: tuple[Point, ...]
    mask: np.ndarray | None = None

    def place(self, size: Size) -> Placement:
        """Lay it out on a picture of this (height, width)."""
        starts, ends = check_points(self.points, size), check_points(self.to, size)
        if len(starts) != len(ends) or not starts:
            raise InputError(
                f"{len(starts)} points and {len(ends)} targets were given; give one target for each point"
            )
        if len(set(ends)) < len(ends):
            raise InputError("two points were given the same target; give different ones")
        mask = surroundings(starts, ends, size) if self.mask is None else _checked(self.mask, size)
        handles = tuple(zip(starts, ends, strict=True))
        warp = smooth_warp(np.array(starts), np.array(ends), mask)
        return Placement(
            task="drag", source=mask, destination=mask, inverse=warp, guide_mask=mask, handles=handles
        )


@dataclass(frozen=True, eq=False)
class Replace:
    """Give a region the look of an object in another picture; its shape stays.

    Args:
        mask: the region, bool of the picture's size.
        reference: the other picture, uint8 (h, w, 3).
        reference_mask: the object in it, bool (h, w).
    """

    mask: np.ndarray
    reference: np.ndarray
    reference_mask: np.ndarray

    def place(self, size: Size) -> Placement:
        """Lay it out on a picture of this (height, width)."""
        mask = _checked(self.mask, size)
        theirs = _checked(self.reference_mask, _picture(self.reference), "reference mask")
        a, b = (np.array(box_of(m), float).reshape(2, 2) for m in (mask, theirs))
        stretch = (b[1] - b[0]) / (a[1] - a[0])

        def inverse(points: np.ndarray) -> np.ndarray:
            return (points + 0.5 - a[0]) * stretch + b[0] - 0.5

        return Placement(
            task="replace",
            source=mask,
            destination=mask,
            inverse=inverse,
            guide=self.reference,
            guide_mask=theirs,
        )


@dataclass(frozen=True, eq=False)
class Paste:
    """Put an object of another picture into this one.

    Args:
        reference: the other picture, uint8 (h, w, 3).
        reference_mask: the object in it, bool (h, w).
        at: where the middle of its box goes, (x, y) in pixels of the picture.
        scale: pixels of the picture for each pixel of the reference.
    """

    reference: np.ndarray
    reference_mask: np.ndarray
    at: Point
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", _shift(self.at, "at"))

    def place(self, size: Size) -> Placement:
        """Lay it out on a picture of this (height, width)."""
        theirs = _checked(self.reference_mask, _picture(self.reference), "reference mask")
        middle = _middle(theirs)
        by = np.array(self.at) - middle
        return _carried("paste", theirs, middle, by, self.scale, size, self.reference)


@dataclass(frozen=True, eq=False)
class Remove:
    """Take an object away and show what is behind it.

    Args:
        mask: the object, bool of the picture's size.
    """

    mask: np.ndarray

    def place(self, size: Size) -> Placement:
        """Lay it out on a picture of this (height, width)."""
        mask = _checked(self.mask, size)
        return Placement(
            task="remove",
            source=mask,
            destination=np.zeros_like(mask),
            inverse=lambda points: points,
            guide_mask=mask,
        )


Operation = Move | Resize | Drag | Replace | Paste | Remove
TASKS = ("move", "resize", "drag", "replace", "paste", "remove")


def grid(height: int, width: int) -> np.ndarray:
    """Points of all pixel centers, float (height, width, 2)."""
    y, x = np.mgrid[:height, :width].astype(float)
    return np.stack([x, y], axis=-1)


def surroundings(starts: list[Point], ends: list[Point], size: Size) -> np.ndarray:
    """Choose what a drag may change: all pixels near the ways of its points.

    Args:
        starts: where the points are.
        ends: where they go.
        size: (height, width) of the picture.

    Returns:
        bool (H, W)
    """
    mask = np.zeros(size, dtype=bool)
    pixels = grid(*size)
    for start, end in zip(np.array(starts), np.array(ends), strict=True):
        way = end - start
        length = float(np.hypot(*way))
        radius = max(0.75 * length, 0.1 * min(size), 2.0)
        along = ((pixels - start) @ way / max(length**2, 1e-9)).clip(0, 1)
        mask |= np.linalg.norm(pixels - start - along[..., None] * way, axis=-1) <= radius
    return mask


def smooth_warp(starts: np.ndarray, ends: np.ndarray, mask: np.ndarray) -> Inverse:
    """Bend the picture so that each end shows its start; nothing moves outside the mask.

    A sum of Gaussians around the ends, solved so that it fits at every end; one is as wide as the longest way, or
    as half the side of the mask, so that a single drag never folds.

    Args:
        starts: (N, 2), pixels.
        ends: (N, 2), pixels.
        mask: bool (H, W).

    Returns:
        The inverse map.
    """
    ways = ends - starts
    width = max(float(np.linalg.norm(ways, axis=1).max()), 0.5 * float(np.sqrt(mask.sum())), 1.0)

    def bells(points: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm(points[..., None, :] - ends, axis=-1)
        return np.exp(-0.5 * (distance / width) ** 2)

    weights = np.linalg.solve(bells(ends) + 1e-6 * np.eye(len(ends)), ways)

    def inverse(points: np.ndarray) -> np.ndarray:
        return points - bells(points) @ weights * _look(mask, points)[..., None]

    return inverse


def _rigid(task: str, mask: np.ndarray, by: Point, scale: float, size: Size) -> Placement:
    mask = _checked(mask, size)
    return _carried(task, mask, _middle(mask), np.array(by, float), scale, size, None)


def _carried(
    task: str,
    mask: np.ndarray,
    middle: np.ndarray,
    by: np.ndarray,
    scale: float,
    size: Size,
    guide: np.ndarray | None,
) -> Placement:
    """Shift and scale an object of a guide into the picture."""
    in_range("scale", scale, SMALLEST, LARGEST)

    def inverse(points: np.ndarray) -> np.ndarray:
        return (points - middle - by) / scale + middle

    y, x = np.nonzero(mask)
    there = (np.stack([x, y], axis=1) - middle) * scale + middle + by
    inside = ((there > -0.5) & (there < np.array([size[1], size[0]]) - 0.5)).all(axis=1)
    if not inside.any():
        to = by if guide is None else by + middle
        raise InputError(
            f"the {task} {'by' if guide is None else 'at'} ({to[0]:g}, {to[1]:g}) takes the whole object off the "
            "picture; choose a nearer target"
        )
    destination = _warped(mask, inverse, there[inside], scale, size)
    return Placement(
        task=task,
        source=mask if guide is None else np.zeros(size, dtype=bool),
        destination=destination,
        inverse=inverse,
        guide=guide,
        guide_mask=mask,
        off=float(1 - inside.mean()),
    )


def _warped(mask: np.ndarray, inverse: Inverse, there: np.ndarray, scale: float, size: Size) -> np.ndarray:
    """Look every pixel of the destination's box up in the mask."""
    reach = scale + 1
    low = np.floor(there.min(0) - reach).clip(0).astype(int)
    high = np.ceil(there.max(0) + reach + 1).clip(max=[size[1], size[0]]).astype(int)
    points = grid(high[1] - low[1], high[0] - low[0]) + low
    out = np.zeros(size, dtype=bool)
    out[low[1] : high[1], low[0] : high[0]] = _look(mask, inverse(points))
    if not out.any():  # an object shrunk to less than a pixel
        x, y = there.mean(0).round().astype(int).clip(0, [size[1] - 1, size[0] - 1])
        out[y, x] = True
    return out


def _look(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Nearest values of a mask at points, False outside."""
    height, width = mask.shape
    at = np.floor(points + 0.5)
    inside = np.all((at >= 0) & (at < [width, height]), axis=-1)
    cell = np.where(inside[..., None], at, 0).astype(int)
    return mask[cell[..., 1], cell[..., 0]] & inside


def _middle(mask: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = box_of(mask)
    return np.array([(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2])


def _shift(by: tuple[float, float], name: str = "by") -> tuple[float, float]:
    try:
        dx, dy = (float(value) for value in by)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is {by!r}; expected two numbers, to the right and down") from error
    if not (np.isfinite(dx) and np.isfinite(dy)):
        raise InputError(f"{name} is ({dx:g}, {dy:g}); expected finite numbers")
    return dx, dy


def _picture(image: np.ndarray) -> Size:
    """Size of a reference, which must be a picture."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.dtype}{image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"the reference is {what}; expected a picture, uint8 (h, w, 3), as load_image gives")
    return image.shape[0], image.shape[1]


def _checked(mask: np.ndarray, size: Size, name: str = "mask") -> np.ndarray:
    if not isinstance(mask, np.ndarray):
        raise InputError(
            f"the {name} is a {type(mask).__name__}; expected a bool array of the picture's size {tuple(size)}"
        )
    if mask.dtype != np.bool_ or mask.shape != tuple(size):
        raise InputError(
            f"the {name} is {mask.dtype}{mask.shape}, expected bool of the picture's size {tuple(size)}"
        )
    if not mask.any():
        raise InputError(f"the {name} selects nothing; paint the region white")
    return mask
