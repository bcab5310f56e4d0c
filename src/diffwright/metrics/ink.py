"""How drawn letters look, measured: color of the ink, thickness and lean of the strokes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from diffwright.core.errors import InputError
from diffwright.metrics.colors import lab

ROUNDS = 12
RIM = 2  # pixels inside the region's edge where ground prevails
PUREST = 0.75  # quantile of coverage from which ink tells its color: thin strokes are mixed with the ground
LEAST = 8  # pixels that a region must have
SHEARS = np.arange(-30, 31)
"""Angles that are tried, degrees; positive leans to the right."""
SHEAR_ENLARGED = 4


@dataclass(frozen=True, eq=False)
class Ink:
    """What of a region is letters.

    Attributes:
        mask: Where, bool (H, W).
        lab: Their color in CIE L*a*b*, the median of the purest quarter.
        coverage: How much of each pixel is ink, 0 to 1, (H, W).
    """

    mask: np.ndarray
    lab: np.ndarray
    coverage: np.ndarray


def find_ink(image: np.ndarray, region: np.ndarray) -> Ink:
    """Part a region into ink and ground by two means in CIE L*a*b*; ink is what is rarer along the region's rim.

    Args:
        image: uint8 picture.
        region: Where the word stands; nothing beyond is looked at.

    Shapes:
        image (H, W, 3), region bool (H, W)

    Raises:
        InputError: The region has fewer than 8 pixels.

    Example:
        >>> picture = np.full((9, 9, 3), 255, np.uint8)
        >>> picture[4, 3:6] = 0
        >>> int(find_ink(picture, np.ones((9, 9), bool)).mask.sum())
        3
    """
    if region.sum() < LEAST:
        raise InputError(f"a region of {int(region.sum())} pixels was given; ink is found in {LEAST} or more")
    colors = lab(image)
    inside = colors[region]
    rim = region & ~_eroded(region, RIM)
    ground = np.median(colors[rim], axis=0)
    centers = np.stack([ground, inside[np.linalg.norm(inside - ground, axis=1).argmax()]])
    for _ in range(ROUNDS):
        nearest = np.linalg.norm(inside[:, None] - centers, axis=2).argmin(axis=1)
        for k in (0, 1):
            if (nearest == k).any():
                centers[k] = inside[nearest == k].mean(axis=0)
    is_second = np.linalg.norm(colors - centers[1], axis=2) < np.linalg.norm(colors - centers[0], axis=2)
    ink = 1 if is_second[rim].mean() <= 0.5 else 0
    mask = region & (is_second if ink == 1 else ~is_second)
    axis = centers[ink] - centers[1 - ink]
    share = ((colors - centers[1 - ink]) @ axis / max(float(axis @ axis), 1e-9)).clip(0, 1) * region
    if not mask.any():
        return Ink(mask, centers[ink], share)
    pure = colors[mask][share[mask] >= np.quantile(share[mask], PUREST)]
    return Ink(mask, np.median(pure, axis=0), share)


def stroke_width(ink: Ink) -> float:
    """Mean thickness of strokes in pixels: twice the area over the length of the outline.

    Args:
        ink: What :func:`find_ink` gave.

    Returns:
        Pixels; 0 without ink.

    Example:
        >>> bar = np.zeros((40, 40))
        >>> bar[5:35, 18:22] = 1
        >>> round(stroke_width(Ink(bar > 0.5, np.zeros(3), bar)), 1)
        3.6
    """
    c = ink.coverage
    # The total variation of coverage is the outline's length, also where pixels are covered in part.
    across, down = np.diff(np.pad(c, 1), axis=1)[:-1], np.diff(np.pad(c, 1), axis=0)[:, :-1]
    outline = float(np.hypot(across, down).sum())
    return 2 * float(c.sum()) / outline if outline > 0 else 0.0


def shear_angle(ink: Ink) -> float:
    """Lean of the letters: the shear whose undoing makes the columns differ most.

    Args:
        ink: What :func:`find_ink` gave.

    Returns:
        Degrees from upright, positive to the right; 0 without ink.

    Reference:
        Vinciarelli, Luettin, A new normalization technique for cursive handwritten words, 2001, section 3, with the
        variance of the column sums as the measure.
    """
    if not ink.mask.any():
        return 0.0
    fine = Image.fromarray((ink.coverage * 255).astype(np.uint8))
    fine = fine.resize((fine.width * SHEAR_ENLARGED, fine.height * SHEAR_ENLARGED), Image.Resampling.BILINEAR)
    pad = fine.height // 2 + 1
    wide = Image.new("L", (fine.width + 2 * pad, fine.height))
    wide.paste(fine, (pad, 0))
    variances = []
    for angle in SHEARS:
        slope = np.tan(np.radians(angle))
        # Output (x, y) is read at (x - slope (y - middle), y): letters that lean by the angle become upright.
        steps = (1, -slope, slope * wide.height / 2, 0, 1, 0)
        upright = wide.transform(wide.size, Image.Transform.AFFINE, steps, Image.Resampling.BILINEAR)
        variances.append(np.asarray(upright, float).sum(axis=0).var())
    return float(SHEARS[int(np.argmax(variances))])


def _eroded(region: np.ndarray, steps: int) -> np.ndarray:
    for _ in range(steps):
        padded = np.pad(region, 1)
        region = region & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return region
