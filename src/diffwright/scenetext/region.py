"""Where to write: a box, a polygon or a mask, the way from there to the strip that the model reads, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from diffwright.core.errors import InputError
from diffwright.core.geometry import box_of, check_box
from diffwright.core.images import to_pil
from diffwright.core.masks import load_mask
from diffwright.world.lettering.framing import HEIGHT, WIDTH, apply, rectify, to_strip

LEAST_PX = 6  # shortest side of a region
HORIZON = 0.1  # nearest to farthest corner of a strip: what perspective is accepted
FEATHER = 1.0  # strip pixels over which the new fades into the old, inside the region
UPRIGHT = 1.1  # an upright box is preferred to a turned one of up to this many times less area
STEEP = 1.5  # text runs along the steeper side of a turned box only when that is so many times longer
SAME, OTHER = 10, 24  # levels by which the new is still the old, and surely is not
LARGEST = 8  # times that a strip is enlarged smoothly

Size = tuple[int, int]
STRIP = np.array([(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)]) - 0.5
"""Outer corners of a strip."""


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a picture in which a word stands, or shall stand.

    Attributes:
        corners: (4, 2), x and y in pixels, clockwise from where the word's top left is; they may leave the picture
            where a mask was given.
        mask: bool (H, W), the pixels that may change.
        outline: (N, 2), the polygon whose inside the mask is; None where a mask was given.
    """

    corners: np.ndarray
    mask: np.ndarray
    outline: np.ndarray | None = None

    @property
    def size(self) -> tuple[float, float]:
        """Height and width as the word sees it, pixels: means of opposite sides."""
        top, right, bottom, left = _sides(self.corners)
        return (right + left) / 2, (top + bottom) / 2

    @property
    def to_strip(self) -> np.ndarray:
        """The homography (3, 3) from places in the picture to places on the strip."""
        return to_strip(self.corners)

    @property
    def scale(self) -> float:
        """Pixels of the picture for each strip pixel, down and across, where they are fewest."""
        ends = apply(np.linalg.inv(self.to_strip), STRIP)
        top, right, bottom, left = _sides(ends)
        return min((right + left) / 2 / HEIGHT, (top + bottom) / 2 / WIDTH)


def choose(given: Any, size: Size) -> Region:
    """Read what a user may mean by a region.

    Args:
        given: a box (x0, y0, x1, y1); a polygon, as three or more points (x, y), of which four are the corners
            clockwise from the word's top left, either as numbers, array or tensor; or a mask (path, PIL image, bool or
            uint8 array, tensor).
        size: (height, width) of the picture.

    Returns:
        The region. Around a mask, or a polygon of other than four points, the smallest turned box is laid, and the
        word runs along the side that is nearer to level unless the other is far longer.

    Raises:
        InputError: it is empty, off the picture, too small, no convex quadrilateral, or runs counterclockwise.

    Example:
        >>> choose((10, 10, 50, 22), (64, 64)).size
        (12.0, 40.0)
    """
    points = _points(given)
    if points is None:
        mask = load_mask(given, size)
        return _checked(Region(_box_around(_outline(mask)), mask))
    if points.ndim == 1:
        if not np.array_equal(points, np.round(points)):
            raise InputError(f"{given!r} was given as a box; expected four whole numbers x0 y0 x1 y1")
        x0, y0, x1, y1 = check_box([int(value) for value in points], size)
        mask = np.zeros(size, bool)
        mask[y0:y1, x0:x1] = True
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) - 0.5
        return _checked(Region(corners, mask, corners))
    _check_on_picture(points, size)
    corners = _check_corners(points) if len(points) == 4 else _box_around(points)
    return _checked(Region(corners, _inside(points, size), points))


def strip_of(picture: np.ndarray, region: Region) -> np.ndarray:
    """Rectify a region with its surroundings; beyond the picture its border is repeated.

    Args:
        picture: uint8 levels of a picture or a mask.
        region: of that picture.

    Shapes:
        (H, W, 3) -> (32, 128, 3), or (H, W) -> (32, 128)
    """
    factor = max(1, int(region.scale))
    reach = apply(np.linalg.inv(region.to_strip), STRIP)
    low, high = np.floor(reach.min(axis=0)).astype(int), np.ceil(reach.max(axis=0)).astype(int) + 1
    x0, y0, x1, y1 = _padded((*low.tolist(), *high.tolist()), 4 * factor, picture.shape)
    part = Image.fromarray(np.ascontiguousarray(picture[y0:y1, x0:x1])).reduce(factor)
    return rectify(np.asarray(part), region.to_strip @ _shifted(x0, y0) @ _scaled(factor))


def strip_mask(region: Region) -> np.ndarray:
    """Where the strip may change, bool (32, 128); never empty."""
    if region.outline is not None:
        found = _inside(apply(region.to_strip, region.outline), (HEIGHT, WIDTH))
        if found.any():
            return found
    share = strip_of(region.mask.astype(np.uint8) * 255, region)
    return share >= min(128, int(share.max()))


def put_back(
    picture: np.ndarray, strip: np.ndarray, region: Region, known: np.ndarray | None = None
) -> np.ndarray:
    """Lay a strip into a picture; what lies outside the region keeps its bytes.

    Args:
        picture: uint8 (H, W, 3).
        strip: uint8 (32, 128, 3).
        region: of that picture.
        known: the strip as it was. Where the new one differs by no more than what an autoencoder loses, the picture
            keeps its own content, which is finer.

    Returns:
        A new picture, uint8 (H, W, 3).
    """
    x0, y0, x1, y1 = box_of(region.mask)
    # Enlarged smoothly ahead of the warp, or looked up several times a pixel where the region is smaller.
    larger = min(LARGEST, max(1, math.ceil(region.scale)))
    finer = max(1, math.ceil(1 / region.scale))
    enlarged = np.asarray(to_pil(strip).resize((WIDTH * larger, HEIGHT * larger), Image.Resampling.BICUBIC))
    matrix = _scaled(larger) @ region.to_strip @ _shifted(x0, y0) @ _scaled(1 / finer)
    size = (y1 - y0) * finer, (x1 - x0) * finer
    out, alpha = picture.copy(), _alpha(region)[y0:y1, x0:x1]
    if known is not None:
        smaller = _scaled(1 / larger) @ matrix
        alpha = alpha * np.asarray(_warped(_changed(strip, known), smaller, size).reduce(finer))
    for channel in range(3):
        old = picture[y0:y1, x0:x1, channel]
        made = np.asarray(_warped(enlarged[..., channel], matrix, size).reduce(finer))
        mixed = (old + alpha * (made - old)).round().clip(0, 255).astype(np.uint8)
        out[y0:y1, x0:x1, channel] = np.where(alpha > 0, mixed, old)
    return out


def _points(given: Any) -> np.ndarray | None:
    """A box as (4,), a polygon as (N, 2), or None for a mask."""
    values = given.detach().cpu().numpy() if hasattr(given, "detach") else given
    if isinstance(values, np.ndarray):
        if values.dtype == np.bool_ or not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 2)):
            return None
    elif not isinstance(values, list | tuple):
        return None
    try:
        points = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{_short(given)} was given as a region; {EXPECTED}") from error
    if not (points.shape == (4,) or (points.ndim == 2 and points.shape[1] == 2 and len(points) >= 3)):
        raise InputError(f"{_short(given)} was given as a region; {EXPECTED}")
    if not np.isfinite(points).all():
        raise InputError(f"{_short(given)} was given as a region; its numbers must be finite")
    return points


EXPECTED = "expected a box x0 y0 x1 y1, three or more points (x, y), or a mask"


def _short(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _check_on_picture(points: np.ndarray, size: Size) -> None:
    height, width = size
    off = (points < -0.5) | (points > (width, height))
    if off.any():
        x, y = points[off.any(axis=1)][0]
        raise InputError(
            f"corner ({x:g}, {y:g}) of the region is off the picture of {width} x {height} pixels; move it inside"
        )


def _check_corners(corners: np.ndarray) -> np.ndarray:
    """Four corners that turn right at each (y runs down)."""
    edges = np.roll(corners, -1, axis=0) - corners
    turns = _cross(edges)
    if (turns < 0).all():
        raise InputError(
            "the four corners run counterclockwise, which would mirror the word; give them clockwise from its top left"
        )
    if not (turns > 0).all():
        raise InputError(
            "the four corners form no convex quadrilateral; give them clockwise from the word's top left"
        )
    return corners


def _cross(edges: np.ndarray) -> np.ndarray:
    after = np.roll(edges, -1, axis=0)
    return edges[:, 0] * after[:, 1] - edges[:, 1] * after[:, 0]


def _checked(region: Region) -> Region:
    """Refuse what is too small, or so slanted that the strip's margin would reach the horizon."""
    sides = _sides(region.corners)
    height, width = region.size
    if not region.mask.any() or min(sides) < LEAST_PX / 3 or min(height, width) < LEAST_PX:
        raise InputError(
            f"the region is {width:.3g} x {height:.3g} pixels, too small to write in; give one of at least"
            f" {LEAST_PX} x {LEAST_PX}, or enlarge the picture first"
        )
    reach = np.append(STRIP, np.ones((4, 1)), axis=1) @ np.linalg.inv(region.to_strip).T
    depth = reach[:, 2:] / reach[0, 2]
    far = np.abs(reach[:, :2]) > 3 * max(region.mask.shape) * np.abs(reach[:, 2:])
    if depth.min() < HORIZON * depth.max() or far.any():
        raise InputError(
            "the region's perspective is too strong to rectify; give corners nearer to a rectangle"
        )
    return region


def _sides(corners: np.ndarray) -> tuple[float, float, float, float]:
    """Lengths of the top, right, bottom and left side."""
    top, right, bottom, left = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1).tolist()
    return top, right, bottom, left


def _inside(points: np.ndarray, size: Size) -> np.ndarray:
    """Pixels whose middle lies in a polygon, by counting the edges to their right; bool (H, W)."""
    (x0, y0), (x1, y1) = np.floor(points.min(axis=0)).clip(0), np.ceil(points.max(axis=0)) + 1
    x0, y0, x1, y1 = int(x0), int(y0), min(int(x1), size[1]), min(int(y1), size[0])
    x, y = np.arange(x0, x1), np.arange(y0, y1)
    inside = np.zeros((len(y), len(x)), bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
        rows = np.flatnonzero((ay <= y) != (by <= y))
        cut = ax + (y[rows] - ay) * (bx - ax) / (by - ay) if len(rows) else np.zeros(0)
        inside[rows] ^= x < cut[:, None]
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = inside
    return mask


def _outline(mask: np.ndarray) -> np.ndarray:
    """Outer corners of the first and last selected pixel of each row, (N, 2)."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1) - 0.5
    last = mask.shape[1] - 0.5 - mask[rows, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([x, rows + dy], axis=1) for x in (first, last) for dy in (-0.5, 0.5)])


def _box_around(points: np.ndarray) -> np.ndarray:
    """The smallest turned box around points, its corners clockwise from the word's top left, (4, 2)."""
    hull = _hull(points)
    edges = np.roll(hull, -1, axis=0) - hull
    angles = np.append(0.0, np.arctan2(edges[:, 1], edges[:, 0]))
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    along, across = hull[:, 0] * cos + hull[:, 1] * sin, hull[:, 1] * cos - hull[:, 0] * sin
    areas = np.ptp(along, axis=1) * np.ptp(across, axis=1)
    best = 0 if areas[0] <= UPRIGHT * areas.min() else int(areas.argmin())
    lengths = float(np.ptp(along[best])), float(np.ptp(across[best]))
    angle = _reading(float(angles[best]), *lengths)
    unit = np.array([math.cos(angle), math.sin(angle)])
    down = np.array([-unit[1], unit[0]])
    a, b = hull @ unit, hull @ down
    places = [(a.min(), b.min()), (a.max(), b.min()), (a.max(), b.max()), (a.min(), b.max())]
    return np.array([u * unit + v * down for u, v in places])


def _reading(angle: float, length: float, other: float) -> float:
    """Turn a side's angle to the direction in which the word runs, within (-90, 90] degrees."""
    level = (angle + math.pi / 4) % (math.pi / 2) - math.pi / 4
    quarter = round((angle - level) / (math.pi / 2)) % 2
    beside, upwards = (other, length) if quarter else (length, other)
    if upwards <= STEEP * beside:
        return level
    return level + math.pi / 2 if level <= 0 else level - math.pi / 2


def _hull(points: np.ndarray) -> np.ndarray:
    """Convex hull by two monotone chains, (N, 2); all points when they lie on a line."""
    ordered = np.unique(points, axis=0).tolist()
    chains = []
    for run in (ordered, ordered[::-1]):
        chain: list[list[float]] = []
        for p in run:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        chains += chain[:-1]
    return np.array(chains if len(chains) > 2 else ordered)


def _turn(a: list[float], b: list[float], c: list[float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _scaled(factor: float) -> np.ndarray:
    """The map (3, 3) from pixels to pixels ``factor`` times as many a side."""
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])


def _shifted(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])


def _warped(plane: np.ndarray, matrix: np.ndarray, size: Size) -> Image.Image:
    """Levels (h, w) at the places to which a homography leads, bilinear; of whole levels the fractions would go."""
    matrix = _shifted(0.5, 0.5) @ matrix @ _shifted(-0.5, -0.5)
    last = matrix[2, 2] if abs(matrix[2, 2]) > 1e-12 else 1e-12
    steps = (matrix / last).reshape(-1)[:8].tolist()
    levels = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return levels.transform((size[1], size[0]), Image.Transform.PERSPECTIVE, steps, Image.Resampling.BILINEAR)


def _changed(strip: np.ndarray, known: np.ndarray) -> np.ndarray:
    """How surely a strip shows something else than before, 0 to 1, and two pixels around that; float32 (32, 128)."""
    levels = np.abs(strip.astype(np.int16) - known).max(axis=2)
    share = ((levels - SAME) / (OTHER - SAME)).clip(0, 1)
    grown = Image.fromarray((share * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(5))
    return np.asarray(grown.filter(ImageFilter.BoxBlur(1)), np.float32) / 255


def _padded(box: tuple[int, int, int, int], pad: int, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """A box grown by some pixels and cut off at the picture's border."""
    x0, y0, x1, y1 = box
    return max(0, x0 - pad), max(0, y0 - pad), min(shape[1], x1 + pad), min(shape[0], y1 + pad)


def _alpha(region: Region) -> np.ndarray:
    """How much of the strip shows: 0 outside the region and at its edge, 1 deeper inside; float32 (H, W)."""
    radius = max(1, round(FEATHER * region.scale))
    x0, y0, x1, y1 = _padded(box_of(region.mask), radius + 1, region.mask.shape)
    part = region.mask[y0:y1, x0:x1]
    blurred = Image.fromarray(part.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(radius))
    alpha = np.zeros(region.mask.shape, np.float32)
    alpha[y0:y1, x0:x1] = (np.asarray(blurred, np.float32) / 127.5 - 1).clip(0, 1) * part
    return alpha
