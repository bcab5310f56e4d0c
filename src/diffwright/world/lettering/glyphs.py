"""One word as flat layers of coverage: its letters, and the box of each."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffwright.world.lettering.faces import Face

LAYER_SIZES = (
    24,
    32,
    40,
    48,
    56,
    64,
    80,
    96,
    128,
    160,
    208,
    256,
)  # em sizes that fonts are loaded at, pixels
MEASURED_AT = 64


@dataclass(frozen=True)
class Curve:
    """A baseline that is not straight.

    Args:
        kind: "arc" or "wave".
        amount: For an arc the angle that the word spans, in radians, positive where the middle is high; for a wave
            its height as a share of the em size.
    """

    kind: str
    amount: float


@dataclass(frozen=True, eq=False)
class Layer:
    """A word drawn at the em size of its layer, which is larger than it will be in the picture.

    Args:
        ink: Coverage of the letters, 0 to 255.
        outline: Coverage of the letters with a stroke around them, or None.
        boxes: Corners of each letter's ink, clockwise from its top left, in layer pixels from corner to corner.
        ink_box: x0 y0 x1 y1 around the ink of all letters.
        em: Em size, pixels.
        baseline: Its y; that of a curve's middle.

    Shapes:
        ink (h, w), boxes (N, 4, 2)
    """

    ink: Image.Image
    outline: Image.Image | None
    boxes: np.ndarray
    ink_box: tuple[float, float, float, float]
    em: int
    baseline: float


@lru_cache(maxsize=512)
def font_of(face: Face, em: int) -> ImageFont.FreeTypeFont:
    """Load a face at an em size in pixels."""
    return ImageFont.truetype(str(face.path), em, index=face.index, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def measure(face: Face, text: str, spacing: float = 0.0) -> tuple[float, float]:
    """Give width and height of a word's ink on a straight baseline, in em."""
    boxes = np.array(_straight_boxes(font_of(face, MEASURED_AT), text, spacing * MEASURED_AT)[1])
    inked = boxes[boxes[:, 2] > boxes[:, 0]]
    if not len(inked):
        return 0.0, 0.0
    width, height = inked[:, 2:].max(axis=0) - inked[:, :2].min(axis=0)
    return float(width) / MEASURED_AT, float(height) / MEASURED_AT


def layer_of(face: Face, text: str, em: float, spacing: float, stroke: float, curve: Curve | None) -> Layer:
    """Draw a word.

    Args:
        face: What to draw it with.
        text: The word.
        em: Least em size of the layer, pixels.
        spacing: Room added between letters, in em.
        stroke: Width of the outline, in em; 0 for none.
        curve: The baseline.
    """
    size = next((s for s in LAYER_SIZES if s >= em), LAYER_SIZES[-1])
    font = font_of(face, size)
    wide = round(stroke * size)
    if curve is None:
        return _straight(font, text, spacing * size, wide, size)
    return _curved(font, text, spacing * size, wide, size, curve)


def _straight_boxes(font: ImageFont.FreeTypeFont, text: str, spacing: float) -> tuple[list[float], list]:
    """Give each letter's pen position, with kerning, and its ink box relative to the start of the baseline."""
    pens, boxes = [], []
    for i, letter in enumerate(text):
        pen = font.getlength(text[: i + 1]) - font.getlength(letter) + i * spacing
        x0, y0, x1, y1 = font.getbbox(letter, anchor="ls")
        pens.append(pen)
        boxes.append((pen + x0, y0, pen + x1, y1))
    return pens, boxes


def _straight(font: ImageFont.FreeTypeFont, text: str, spacing: float, stroke: int, em: int) -> Layer:
    pens, flat = _straight_boxes(font, text, spacing)
    boxes = np.array(flat, float).reshape(-1, 4)
    pad = stroke + 2
    x0, y0, x1, y1 = *np.floor(boxes[:, :2].min(axis=0)), *np.ceil(boxes[:, 2:].max(axis=0))
    left, base = pad - x0, pad - y0
    size = (int(x1 - x0) + 2 * pad, int(y1 - y0) + 2 * pad)

    def drawn(width: int) -> Image.Image:
        image = Image.new("L", size)
        draw = ImageDraw.Draw(image)
        if not spacing:
            draw.text((left, base), text, 255, font, anchor="ls", stroke_width=width)
            return image
        for pen, letter in zip(pens, text, strict=True):
            draw.text((pen + left, base), letter, 255, font, anchor="ls", stroke_width=width)
        return image

    boxes += np.array([left, base, left, base])
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    return Layer(drawn(0), drawn(stroke) if stroke else None, corners, _around(corners), em, float(base))


def _curved(
    font: ImageFont.FreeTypeFont, text: str, spacing: float, stroke: int, em: int, curve: Curve
) -> Layer:
    """Turn each letter about the middle of its foot and set it on the curve."""
    pens, flat = _straight_boxes(font, text, spacing)
    length = font.getlength(text) + spacing * len(text)
    feet = [pen + font.getlength(letter) / 2 for pen, letter in zip(pens, text, strict=True)]
    places = [_on_curve(foot, length, em, curve) for foot in feet]
    corners = []
    for (x0, y0, x1, y1), foot, (x, y, angle) in zip(flat, feet, places, strict=True):
        relative = np.array([(x0 - foot, y0), (x1 - foot, y0), (x1 - foot, y1), (x0 - foot, y1)])
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        corners.append(relative @ turn + (x, y))
    boxes = np.array(corners)
    pad = stroke + 3
    low = np.floor(boxes.min(axis=(0, 1))) - pad
    size = tuple((np.ceil(boxes.max(axis=(0, 1))) + pad - low).astype(int))

    def drawn(width: int) -> Image.Image:
        ink = np.zeros(size[::-1], np.uint8)
        for letter, (x, y, angle) in zip(text, places, strict=True):
            _stamp(ink, _turned(font, letter, em, width, (x - low[0], y - low[1], angle)))
        return Image.fromarray(ink)

    boxes = boxes - low
    return Layer(drawn(0), drawn(stroke) if stroke else None, boxes, _around(boxes), em, float(-low[1]))


def _on_curve(foot: float, length: float, em: int, curve: Curve) -> tuple[float, float, float]:
    """Give the place (x, y) of a point of the baseline, and the angle of its tangent (y runs down)."""
    s = foot - length / 2
    if curve.kind == "arc":
        radius = length / curve.amount
        angle = s / radius
        return radius * math.sin(angle), radius * (1 - math.cos(angle)), angle
    phase = 2 * math.pi * s / max(length, 1.0)
    slope = curve.amount * em * 2 * math.pi / max(length, 1.0) * math.cos(phase)
    return s, curve.amount * em * math.sin(phase), math.atan(slope)


def _turned(
    font: ImageFont.FreeTypeFont, letter: str, em: int, stroke: int, place: tuple[float, float, float]
) -> tuple[np.ndarray, int, int]:
    """Draw one letter about the middle of its foot; give its coverage and the corner where it goes."""
    x, y, angle = place
    half = int(em * 1.1) + stroke
    tile = Image.new("L", (2 * half, 2 * half))
    whole_x, whole_y = math.floor(x), math.floor(y)
    pen = (half + x - whole_x - font.getlength(letter) / 2, half + y - whole_y)
    ImageDraw.Draw(tile).text(pen, letter, 255, font, anchor="ls", stroke_width=stroke)
    turned = tile.rotate(-math.degrees(angle), Image.Resampling.BICUBIC, center=(half, half))
    return np.asarray(turned), whole_x - half, whole_y - half


def _stamp(ink: np.ndarray, tile: tuple[np.ndarray, int, int]) -> None:
    pixels, x, y = tile
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + pixels.shape[1], ink.shape[1]), min(y + pixels.shape[0], ink.shape[0])
    if x0 < x1 and y0 < y1:
        part = ink[y0:y1, x0:x1]
        np.maximum(part, pixels[y0 - y : y1 - y, x0 - x : x1 - x], out=part)


def _around(corners: np.ndarray) -> tuple[float, float, float, float]:
    inked = corners[(corners[:, 1, 0] != corners[:, 0, 0]) | (corners[:, 1, 1] != corners[:, 0, 1])]
    points = (inked if len(inked) else corners).reshape(-1, 2)
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1
