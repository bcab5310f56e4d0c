"""Fifteen picture corruptions at severity 5, written from their published definitions and constants.

They are meant for pictures of about 240 pixels a side. Motion blur, zoom blur, snow, frost, fog and pixelate act at
224 x 224 and are scaled back. All but ``elastic`` leave every point where it is; elastic moves points by about 4
pixels, and the true flow is not corrected for it, as in the published protocol. Frost takes procedural ice in place
of photographs of ice.

Reference:
    Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations,
    ICLR 2019, section 3 and appendix B.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from diffwright.bench.matching_pairs import square
from diffwright.core.checks import one_of
from diffwright.core.images import to_pil

Corruption = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""From a picture in [0, 1], (H, W, 3), to one of the same shape, clipped afterwards."""

SMALL = 224
HELD_OUT = ("frost", "snow", "glass_blur", "zoom_blur", "pixelate", "elastic")
"""Types that the training data never shows."""


def corrupt(image: np.ndarray, name: str, seed: str) -> np.ndarray:
    """Corrupt a picture.

    Args:
        image: uint8 (H, W, 3).
        name: Key of ``CORRUPTIONS``.
        seed: Any words, such as a picture's name; the same words give the same picture.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ConfigError: There is no such corruption.
    """
    one_of("corruption", name, CORRUPTIONS)
    rng = np.random.default_rng(zlib.crc32(f"{name} {seed}".encode()))
    small = name in _AT_SMALL_SIZE
    x = (square(image, SMALL) if small else image) / 255.0
    bad = (CORRUPTIONS[name](x, rng).clip(0, 1) * 255).round().astype(np.uint8)
    if not small:
        return bad
    back = to_pil(bad).resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(back)


def _gaussian_noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x + 0.38 * rng.standard_normal(x.shape)


def _shot_noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(3 * x) / 3


def _impulse_noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hit = rng.random(x.shape)
    return np.where(hit < 0.135, 0.0, np.where(hit < 0.27, 1.0, x))


def _defocus_blur(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    y0, x0 = np.mgrid[-10:11, -10:11]
    kernel = ndimage.gaussian_filter((x0**2 + y0**2 <= 100).astype(float), 0.5, mode="constant")
    return ndimage.convolve(x, (kernel / kernel.sum())[..., None], mode="mirror")


def _glass_blur(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    reach, height, width = 4, *x.shape[:2]
    order = list(range(height * width))
    for _ in range(2):
        rows = range(height - reach - 1, reach - 1, -1)
        steps = rng.integers(-reach, reach, (len(rows), width, 2)).tolist()
        for row, moves in zip(rows, steps, strict=True):
            for column in range(width - reach - 1, reach - 1, -1):
                dy, dx = moves[column]
                here, there = row * width + column, (row + dy) * width + column + dx
                order[here], order[there] = order[there], order[here]
    shuffled = _blurred(x, 1.5).reshape(-1, 3)[order].reshape(x.shape)
    return _blurred(shuffled, 1.5)


def _motion_blur(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _dragged(x, 20, 15, rng.uniform(-45, 45))


def _zoom_blur(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    total, factors = x.copy(), np.arange(1, 1.31, 0.03)
    middle = (np.array(x.shape[:2]) - 1) / 2
    for factor in factors:
        total += _resampled(x, np.eye(2) / factor, middle - middle / factor)
    return total / (len(factors) + 1)


def _snow(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    flakes = 0.55 + 0.3 * rng.standard_normal((*x.shape[:2], 1))
    flakes = _resampled(flakes, np.eye(2) / 2.5, np.array(x.shape[:2]) * 0.3)
    flakes = np.where(flakes < 0.85, 0, flakes.clip(0, 1))
    flakes = _dragged(flakes, 12, 12, rng.uniform(-135, -45))
    gray = x @ np.array([[0.299], [0.587], [0.114]])
    whitened = 0.55 * x + 0.45 * np.maximum(x, 1.5 * gray + 0.5)
    return whitened + flakes + flakes[::-1, ::-1]


def _frost(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 0.6 * x + 0.75 * _ice(x.shape[0], x.shape[1], rng)


def _fog(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = 1 << (max(x.shape[:2]) - 1).bit_length()
    cloud = _plasma(side, 1.4, rng)[: x.shape[0], : x.shape[1], None]
    top = x.max()
    return (x + 3 * cloud) * top / (top + 3)


def _brightness(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    value = x.max(axis=2, keepdims=True)
    brighter = (value + 0.5).clip(0, 1)
    return np.where(value > 0, x * brighter / value.clip(1e-6), brighter)


def _contrast(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * 0.05 + mean


def _elastic(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = np.array(x.shape[:2])
    middle, third = size // 2, int(size.min()) // 3
    corners = middle + third * np.array([(1, 1), (1, -1), (-1, -1)])
    moved = corners + rng.uniform(-4.9, 4.9, (3, 2))
    affine = np.linalg.solve(np.c_[moved, np.ones(3)], corners)  # rows: y, x, 1
    y, col = np.mgrid[: size[0], : size[1]].astype(float)
    shift = [ndimage.gaussian_filter(rng.uniform(-1, 1, x.shape[:2]), 2.4, truncate=3) * 29.3 for _ in "yx"]
    there = np.stack([y + shift[0], col + shift[1], np.ones_like(y)], -1) @ affine
    bands = [
        ndimage.map_coordinates(x[..., c], np.moveaxis(there, -1, 0), order=1, mode="reflect")
        for c in range(3)
    ]
    return np.stack(bands, -1)


def _pixelate(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = x.shape[:2]
    few = to_pil(x * 255).resize((width // 4, height // 4), Image.Resampling.BOX)
    return np.asarray(few.resize((width, height), Image.Resampling.NEAREST)) / 255


def _jpeg(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    buffer = io.BytesIO()
    to_pil(x * 255).save(buffer, format="JPEG", quality=7)
    return np.asarray(Image.open(buffer).convert("RGB")) / 255


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "glass_blur": _glass_blur,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "snow": _snow,
    "frost": _frost,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "elastic": _elastic,
    "pixelate": _pixelate,
    "jpeg": _jpeg,
}
"""All types by name, in the published order."""

_AT_SMALL_SIZE = frozenset({"motion_blur", "zoom_blur", "snow", "frost", "fog", "pixelate"})


def _blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(x, (sigma, sigma, 0))


def _resampled(x: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Picture whose point p is that of ``x`` at ``matrix p + offset``, rows before columns, bilinear."""
    bands = [
        ndimage.affine_transform(band, matrix, offset, order=1, mode="nearest")  # pyright: ignore[reportArgumentType]
        for band in np.moveaxis(x, 2, 0)
    ]
    return np.stack(bands, -1)


def _dragged(x: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    """One-sided motion blur: weights of a half Gaussian along a line; the border is repeated."""
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    angle = np.deg2rad(degrees)
    rows, columns = np.arange(x.shape[0]), np.arange(x.shape[1])
    total = np.zeros_like(x)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        y = (rows + round(step * np.sin(angle))).clip(0, x.shape[0] - 1)
        z = (columns + round(step * np.cos(angle))).clip(0, x.shape[1] - 1)
        total += weight * x[y][:, z]
    return total


def _plasma(side: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """Clouds in [0, 1] by midpoint displacement on a torus, (side, side), side a power of two."""
    cloud, spread, step = np.zeros((side, side)), 1.0, side
    while step > 1:
        half = step // 2
        corner = cloud[::step, ::step]
        across = corner + np.roll(corner, -1, 0)
        middle = cloud[half::step, half::step]
        middle[:] = (across + np.roll(across, -1, 1)) / 4 + spread * rng.uniform(-1, 1, corner.shape)
        beside = middle + np.roll(middle, 1, 0)
        cloud[::step, half::step] = (beside + corner + np.roll(corner, -1, 1)) / 4
        below = middle + np.roll(middle, 1, 1)
        cloud[half::step, ::step] = (below + corner + np.roll(corner, -1, 0)) / 4
        cloud[::step, half::step] += spread * rng.uniform(-1, 1, corner.shape)
        cloud[half::step, ::step] += spread * rng.uniform(-1, 1, corner.shape)
        # The published amplitude falls by the square of its decay from one scale to the next.
        step, spread = half, spread / decay**2
    cloud -= cloud.min()
    return cloud / cloud.max()


def _ice(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Ice on a window in [0, 1], (H, W, 3): needles along ridges of noise over a veil, bluish white."""
    needles = np.zeros((height, width))
    for scale, weight in ((16.0, 0.5), (7.0, 0.3), (3.0, 0.2)):
        for stretch in ((scale, scale / 4), (scale / 4, scale)):
            noise = ndimage.gaussian_filter(rng.standard_normal((height, width)), stretch, mode="wrap")
            needles += weight / 2 * (1 - (np.abs(noise) / noise.std()).clip(0, 1)) ** 2
    veil = ndimage.gaussian_filter(rng.standard_normal((height, width)), 28, mode="wrap")
    veil = (0.5 + 0.25 * veil / veil.std()).clip(0.1, 0.9)
    return (0.35 * veil + 1.3 * needles)[..., None].clip(0, 1) * np.array([0.88, 0.95, 1.0])
