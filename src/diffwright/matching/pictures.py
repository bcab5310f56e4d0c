"""Pictures of a match: flow as color, confidence, overlay, checkerboard and match lines.

All take and give uint8 (H, W, 3) pictures; flow is (H, W, 2) in pixels.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffwright.core.errors import InputError

VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
UNKNOWN = (96, 96, 96)
INK, PAPER = (38, 38, 42), (250, 250, 248)


def flow_picture(
    flow: np.ndarray, known: np.ndarray | None = None, *, reach: float | None = None, legend: bool = True
) -> np.ndarray:
    """Color flow by direction (hue) and length (saturation); standing still is white.

    Args:
        flow: Vectors.
        known: Where to show them; gray elsewhere.
        reach: Length of full saturation, pixels; the 98th percentile without it.
        legend: Whether to draw the wheel and its reach into a corner of pictures of at least 160 pixels.

    Shapes:
        flow (H, W, 2), known bool (H, W) -> uint8 (H, W, 3)
    """
    known = np.ones(flow.shape[:2], bool) if known is None else known
    length = np.linalg.norm(flow, axis=2)
    if reach is None:
        reach = float(np.percentile(length[known], 98)) if known.any() else 1.0
    reach = max(reach, 1e-3)
    shown = _wheel_colors(flow / reach)
    shown[~known] = UNKNOWN
    if legend and min(flow.shape[:2]) >= 160:
        return _with_legend(shown, reach)
    return shown


def wheel(side: int = 96) -> np.ndarray:
    """Draw the wheel that tells which color means which direction.

    Shapes:
        -> uint8 (side, side, 3), paper outside the disc
    """
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(axis, axis)
    disc = _wheel_colors(np.stack([x, y], axis=2))
    disc[np.hypot(x, y) > 1] = PAPER
    return disc


def confidence_picture(confidence: np.ndarray, occlusion: np.ndarray | None = None) -> np.ndarray:
    """Color confidence from dark violet (0) over green to yellow (1); occluded places are darkened.

    Shapes:
        confidence (H, W) in [0, 1], occlusion bool (H, W) -> uint8 (H, W, 3)
    """
    place = np.clip(confidence, 0, 1) * (len(VIRIDIS) - 1)
    low = np.minimum(place.astype(int), len(VIRIDIS) - 2)
    anchors, part = np.array(VIRIDIS, float), (place - low)[..., None]
    shown = anchors[low] * (1 - part) + anchors[low + 1] * part
    if occlusion is not None:
        shown[occlusion] *= 0.35
    return shown.round().astype(np.uint8)


def checkerboard(image_a: np.ndarray, warped: np.ndarray, tiles: int = 8) -> np.ndarray:
    """Show A and the warped B in alternate tiles: edges run through where the match is right.

    Args:
        image_a: Picture A.
        warped: B seen from A.
        tiles: Along the shorter side.

    Shapes:
        uint8 (H, W, 3) each
    """
    _same(image_a, warped)
    height, width = image_a.shape[:2]
    side = max(1, round(min(height, width) / tiles))
    odd = ((np.arange(height) // side)[:, None] + np.arange(width) // side) % 2 == 1
    return np.where(odd[..., None], warped, image_a)


def overlay(image_a: np.ndarray, warped: np.ndarray, occlusion: np.ndarray | None = None) -> np.ndarray:
    """Lay A (red) over the warped B (cyan): gray where they agree, color fringes where they do not.

    Args:
        image_a: Picture A.
        warped: B seen from A.
        occlusion: Where nothing is matched; A is shown faintly there.

    Shapes:
        uint8 (H, W, 3) each, occlusion bool (H, W)
    """
    _same(image_a, warped)
    a, b = _gray(image_a), _gray(warped)
    shown = np.stack([a, b, b], axis=2)
    if occlusion is not None:
        shown[occlusion] = (255 - (255 - a[occlusion].astype(int)) // 4)[:, None]
    return shown


def match_lines(
    image_a: np.ndarray,
    image_b: np.ndarray,
    points_a: np.ndarray,
    points_b: np.ndarray,
    confidence: np.ndarray | None = None,
    *,
    height: int = 360,
) -> np.ndarray:
    """Draw both pictures side by side and a line for each match, colored by its place in A.

    Args:
        image_a: Picture A.
        image_b: Picture B.
        points_a: Places in A, pixels.
        points_b: Their matches in B.
        confidence: Of each match; the less, the fainter the line.
        height: Of both pictures in the result, pixels.

    Shapes:
        images uint8 (H, W, 3), points (N, 2), confidence (N,) -> uint8 (h, w, 3)
    """
    if points_a.shape != points_b.shape or points_a.ndim != 2:
        raise InputError(f"matches {points_a.shape} and {points_b.shape} were given; expected pairs (N, 2)")
    gap, twice = 16, 2
    scales = [height / image.shape[0] for image in (image_a, image_b)]
    shown = [_scaled(image, scale) for image, scale in zip((image_a, image_b), scales, strict=True)]
    start = shown[0].width + gap
    page = Image.new("RGB", (start + shown[1].width, height), PAPER)
    page.paste(shown[0], (0, 0))
    page.paste(shown[1], (start, 0))
    page = page.resize((page.width * twice, page.height * twice), Image.Resampling.BICUBIC)
    layer = Image.new("RGBA", page.size)
    draw = ImageDraw.Draw(layer)
    for n, color in enumerate(_place_colors(points_a, image_a.shape)):
        alpha = 255 if confidence is None else round(60 + 195 * float(np.clip(confidence[n], 0, 1)))
        ends = [
            tuple(((point + 0.5) * scale + (x, 0)) * twice)
            for point, scale, x in zip((points_a[n], points_b[n]), scales, (0, start), strict=True)
        ]
        draw.line([*ends[0], *ends[1]], fill=(*color, alpha * 3 // 4), width=twice)
        for x, y in ends:
            draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=(*color, alpha), outline=(255, 255, 255, alpha))
    page = Image.alpha_composite(page.convert("RGBA"), layer).convert("RGB")
    if not len(points_a):
        _note(page, "no match is confident enough")
    return np.asarray(page.resize((page.width // twice, height), Image.Resampling.LANCZOS))


def _wheel_colors(unit: np.ndarray) -> np.ndarray:
    """Colors of vectors (H, W, 2) whose full length is 1; longer ones are darkened a little."""
    length = np.linalg.norm(unit, axis=2)
    hue = np.arctan2(unit[..., 1], unit[..., 0]) / (2 * math.pi) % 1.0
    value = np.where(length > 1, 0.75, 1.0)
    return _hsv(hue, np.minimum(length, 1), value)


def _hsv(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Colors uint8 (..., 3) of hue, saturation and value in [0, 1]."""
    channels = []
    for start in (5, 3, 1):
        part = (start + 6 * hue) % 6
        channels.append(value * (1 - saturation * np.clip(np.minimum(part, 4 - part), 0, 1)))
    return (np.stack(channels, axis=-1) * 255).round().astype(np.uint8)


def _place_colors(points: np.ndarray, shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """A color for each place (N, 2): hue by direction from the picture's middle."""
    middle = np.array([shape[1] - 1, shape[0] - 1]) / 2
    offset = points - middle
    hue = np.arctan2(offset[:, 1], offset[:, 0]) / (2 * math.pi) % 1.0
    colors = _hsv(hue, np.full(len(hue), 0.85), np.full(len(hue), 0.95))
    return [(int(r), int(g), int(b)) for r, g, b in colors]


def _with_legend(shown: np.ndarray, reach: float) -> np.ndarray:
    side = max(48, min(shown.shape[:2]) // 6)
    page, font = Image.fromarray(shown), ImageFont.load_default(12)
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse([0, 0, side - 1, side - 1], fill=255)
    text, draw = f"{reach:.3g} px", ImageDraw.Draw(page)
    x, y = 6, page.height - side - 24
    draw.ellipse([x - 3, y - 3, x + side + 2, y + side + 2], fill=PAPER)
    page.paste(Image.fromarray(wheel(side)), (x, y), mask)
    wide = font.getlength(text)
    left, top = 6 + max(0, (side - wide) / 2), page.height - 20
    draw.rectangle([left - 3, top - 1, left + wide + 3, top + 15], fill=PAPER)
    draw.text((left, top), text, INK, font=font)
    return np.asarray(page)


def _note(page: Image.Image, text: str) -> None:
    """Write a line into the middle of a picture."""
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(28)
    x, y, wide = page.width / 2, page.height / 2, font.getlength(text)
    draw.rectangle([x - wide / 2 - 12, y - 24, x + wide / 2 + 12, y + 24], fill=PAPER)
    draw.text((x, y), text, INK, font=font, anchor="mm")


def _scaled(image: np.ndarray, scale: float) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(image))
    how = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), how)


def _gray(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).convert("L"))


def _same(image_a: np.ndarray, warped: np.ndarray) -> None:
    if image_a.shape != warped.shape or image_a.dtype != np.uint8 or image_a.ndim != 3:
        raise InputError(
            f"pictures {image_a.shape} and {warped.shape} were given; expected uint8 (H, W, 3) of one size"
        )
