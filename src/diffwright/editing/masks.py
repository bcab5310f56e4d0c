"""The object that is meant: a painted mask, a box around it, or a point on it; and growing and blurring of masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffwright.core.errors import InputError, MissingExtra
from diffwright.core.geometry import Box, Point, box_of, check_box, check_points
from diffwright.core.masks import load_mask

ROUNDS = 5  # of GrabCut
NEAR = 0.25  # of the picture's sides: how far from a point its object may reach
SEED = 0.02  # of the shorter side: radius around a point that surely belongs to the object


def choose(picture: np.ndarray, region: Any) -> np.ndarray:
    """Find the pixels of an object.

    Args:
        picture: uint8 (H, W, 3).
        region: a mask (path, PIL image, array, tensor), a box of four numbers x0 y0 x1 y1 around the object, or a
            point of two numbers x y on it. Box and point are refined by GrabCut.

    Returns:
        bool (H, W)

    Raises:
        InputError: the region is empty, off the picture, or of another size.
        MissingExtra: GrabCut is needed and OpenCV is not installed.
    """
    if isinstance(region, tuple | list):
        if len(region) == 4:
            return in_box(picture, check_box(region, picture.shape[:2]))
        if len(region) == 2:
            return at_point(picture, check_points([tuple(region)], picture.shape[:2])[0])
        raise InputError(
            f"{region!r} was given as a region; expected a mask, a box x0 y0 x1 y1 or a point x y"
        )
    return load_mask(region, picture.shape[:2])


def in_box(picture: np.ndarray, box: Box) -> np.ndarray:
    """Separate the object inside a box from what surrounds the box.

    A box that touches all borders, or in which nothing stands out, is taken whole.
    """
    x0, y0, x1, y1 = box
    whole = np.zeros(picture.shape[:2], dtype=bool)
    whole[y0:y1, x0:x1] = True
    if whole.all() or x1 - x0 < 3 or y1 - y0 < 3:
        return whole
    labels = np.where(whole, _cv2().GC_PR_FGD, _cv2().GC_BGD).astype(np.uint8)
    found = _grab_cut(picture, labels)
    return found if found.any() else whole


def at_point(picture: np.ndarray, point: Point) -> np.ndarray:
    """Separate the object under a point from its surroundings."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    away = np.hypot(x - point[0], y - point[1])
    near = (np.abs(x - point[0]) <= NEAR * width) & (np.abs(y - point[1]) <= NEAR * height)
    seed = away <= max(1.0, SEED * min(height, width))
    cv2 = _cv2()
    like = np.linalg.norm(picture.astype(float) - picture[seed].mean(0), axis=-1) < 40
    labels = np.where(near, np.where(like, cv2.GC_PR_FGD, cv2.GC_PR_BGD), cv2.GC_BGD).astype(np.uint8)
    labels[seed] = cv2.GC_FGD
    found = _grab_cut(picture, labels)
    return _connected(found | seed, point)


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Grow a bool (H, W) mask by some pixels in all eight directions."""
    return _windowed(mask.astype(np.int64), pixels, "constant") > 0 if pixels else mask.copy()


def blurred(alpha: np.ndarray, radius: int) -> np.ndarray:
    """Mean of (H, W) values over 2 radius + 1 pixels in both directions, the border repeated; float32."""
    return (_windowed(alpha.astype(np.float64), radius, "edge") / (2 * radius + 1) ** 2).astype(np.float32)


def _windowed(values: np.ndarray, radius: int, border: Any) -> np.ndarray:
    side = 2 * radius + 1
    for axis in (0, 1):
        pads = [(0, 0), (0, 0)]
        pads[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(values, pads, mode=border), axis=axis)
        length = values.shape[axis]
        high, low = np.take(sums, range(side, side + length), axis), np.take(sums, range(length), axis)
        values = high - low
    return values


def _grab_cut(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    cv2 = _cv2()
    labels = labels.copy()
    work = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(
            np.ascontiguousarray(picture[..., ::-1]), labels, None, *work, ROUNDS, cv2.GC_INIT_WITH_MASK
        )
    except cv2.error:  # nothing to separate: one side has no pixels
        return labels == cv2.GC_FGD
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def _connected(mask: np.ndarray, point: Point) -> np.ndarray:
    """The part of a mask that hangs together with a point."""
    _, parts = _cv2().connectedComponents(mask.astype(np.uint8))
    x, y = (int(v + 0.5) for v in point)
    return parts == parts[min(y, mask.shape[0] - 1), min(x, mask.shape[1] - 1)]


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra(
            "finding an object by a box or a point needs OpenCV: pip install 'diffwright[edit]', or give a mask"
        ) from error
    return cv2


def check_area(mask: np.ndarray, cell_px: float, least: int) -> str | None:
    """Warn when an object covers few latents.

    Args:
        mask: the object.
        cell_px: side of a latent cell in its pixels.
        least: area below which editing is unlikely to work, latents.

    Returns:
        The sentence, or None.
    """
    cells = float(mask.sum()) / cell_px**2
    if cells >= least:
        return None
    x0, y0, x1, y1 = box_of(mask)
    return (
        f"the object of {x1 - x0} x {y1 - y0} pixels covers {cells:.1f} latent cells; below {least} the model hardly"
        " sees it, so crop the picture around it or enlarge it first"
    )
