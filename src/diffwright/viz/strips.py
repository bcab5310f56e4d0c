"""Labelled strips and contact sheets of small pictures, drawn with Pillow alone.

Pictures are enlarged by an exact integer factor, so what is shown is what the model made.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffwright.core.errors import InputError
from diffwright.core.images import enlarge


@dataclass(frozen=True)
class Look:
    """Colors (RGB) and sizes (pixels) of a sheet.

    Attributes:
        paper: Background.
        ink: Labels.
        gap: Between pictures and around the sheet.
        font_px: Height of a label's letters.
        at_least: Smallest side a picture is shown at.
    """

    paper: tuple[int, int, int] = (250, 250, 248)
    ink: tuple[int, int, int] = (38, 38, 42)
    gap: int = 12
    font_px: int = 14
    at_least: int = 256


def strip(images: Sequence[np.ndarray], labels: Sequence[str] = (), look: Look | None = None) -> Image.Image:
    """Lay pictures side by side, a label under each.

    Args:
        images: uint8 (H, W, 3), all of one size.
        labels: One a picture, or none.
        look: Colors and sizes.

    Returns:
        One RGB picture.

    Raises:
        InputError: No pictures, unequal sizes, or another number of labels.
    """
    return sheet(images, labels, columns=len(images), look=look)


def sheet(
    images: Sequence[np.ndarray],
    labels: Sequence[str] = (),
    *,
    columns: int = 4,
    title: str = "",
    look: Look | None = None,
) -> Image.Image:
    """Lay pictures on a grid, row by row, a wrapped label under each.

    Args:
        images: uint8 (H, W, 3), all of one size.
        labels: One a picture, or none.
        columns: Pictures a row, at least 1.
        title: A line above the grid.
        look: Colors and sizes.

    Returns:
        One RGB picture.

    Raises:
        InputError: No pictures, unequal sizes, or another number of labels.
    """
    _check(images, labels, columns)
    look = look or Look()
    cells = [enlarge(image, look.at_least) for image in images]
    high, wide = cells[0].shape[:2]
    font = ImageFont.load_default(look.font_px)
    texts = [_wrapped(text, wide, font) for text in labels]
    line = round(look.font_px * 1.35)
    label_high = line * max((len(t) for t in texts), default=0) + (look.gap // 2 if texts else 0)
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    top = look.gap + (line + look.gap if title else 0)
    size = (
        look.gap + columns * (wide + look.gap),
        top + rows * (high + label_high + look.gap),
    )
    page = Image.new("RGB", size, look.paper)
    draw = ImageDraw.Draw(page)
    if title:
        draw.text((look.gap, look.gap), title, look.ink, font=font)
    for i, cell in enumerate(cells):
        x = look.gap + (i % columns) * (wide + look.gap)
        y = top + (i // columns) * (high + label_high + look.gap)
        page.paste(Image.fromarray(cell), (x, y))
        for row, text in enumerate(texts[i] if texts else ()):
            draw.text((x, y + high + look.gap // 2 + row * line), text, look.ink, font=font)
    return page


def _wrapped(text: str, wide: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> list[str]:
    average = font.getlength("abcdefghij nopqrst") / 18
    return textwrap.wrap(text, max(8, int(wide / average))) or [""]


def _check(images: Sequence[np.ndarray], labels: Sequence[str], columns: int) -> None:
    if not len(images) or columns < 1:
        raise InputError(f"a sheet needs pictures and columns, got {len(images)} and {columns}")
    shapes = {image.shape for image in images}
    if len(shapes) > 1 or any(image.dtype != np.uint8 or image.ndim != 3 for image in images):
        raise InputError(f"a sheet needs uint8 (H, W, 3) pictures of one size, got shapes {sorted(shapes)}")
    if labels and len(labels) != len(images):
        raise InputError(f"a sheet needs one label a picture, got {len(labels)} for {len(images)} pictures")
