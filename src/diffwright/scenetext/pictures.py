"""Pictures of an edit: what was selected, what changed, what the candidates look like.

All take and give uint8 (H, W, 3) pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffwright.core.errors import InputError
from diffwright.core.images import to_pil
from diffwright.scenetext.region import Region

INK, PAPER, MARK = (38, 38, 42), (250, 250, 248), (255, 60, 60)
FULL = 64  # levels of change that are shown white
ENLARGED = 3  # times, of the strips on the sheet
LINE = 20


def selection(picture: np.ndarray, regions: Sequence[Region]) -> np.ndarray:
    """Show where words were written: the rest darker, corners joined, a dot at each word's top left."""
    mask = np.zeros(picture.shape[:2], bool)
    for region in regions:
        mask |= region.mask
    image = to_pil(np.where(mask[..., None], picture, picture // 2))
    pen, radius = ImageDraw.Draw(image), max(1, min(picture.shape[:2]) // 80)
    for region in regions:
        corners = [(float(x), float(y)) for x, y in region.corners]
        pen.line([*corners, corners[0]], fill=(255, 255, 255), width=max(1, radius // 2))
        pen.circle(corners[0], radius, fill=MARK)
    return np.asarray(image)


def difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Show what changed: black where every channel kept its level, white from a change of 64 levels on.

    Raises:
        InputError: the pictures differ in size.
    """
    if before.shape != after.shape or before.ndim != 3:
        raise InputError(f"pictures {before.shape} and {after.shape} were given; expected two of one size")
    changed = np.abs(before.astype(np.int16) - after).max(axis=2)
    # Any change at all is visible: 1 level gives 32 of 255.
    shown = np.where(changed > 0, (32 + changed * (223 / FULL)).clip(0, 255), 0).astype(np.uint8)
    return np.repeat(shown[..., None], 3, axis=2)


def sheet(strips: Sequence[np.ndarray], captions: Sequence[str]) -> np.ndarray:
    """Lay strips under each other, enlarged, a caption under each.

    Args:
        strips: as the model reads and writes them.
        captions: as many.

    Shapes:
        uint8 (h, w, 3) each -> (H, W, 3)
    """
    font, gap = ImageFont.load_default(13), 8
    shown = [to_pil(strip.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)) for strip in strips]
    wide = max([image.width for image in shown] + [round(font.getlength(caption)) for caption in captions])
    high = sum(image.height + LINE + gap for image in shown) + gap
    page = Image.new("RGB", (wide + 2 * gap, high), PAPER)
    pen, y = ImageDraw.Draw(page), gap
    for image, caption in zip(shown, captions, strict=True):
        page.paste(image, (gap, y))
        pen.text((gap, y + image.height + 2), caption, INK, font=font)
        y += image.height + LINE + gap
    return np.asarray(page)


def outlined(picture: np.ndarray, polygons: Sequence[np.ndarray], labels: Sequence[str]) -> np.ndarray:
    """Draw polygons into a picture, each with its label at its first corner.

    Shapes:
        picture (H, W, 3), polygons (N, 2) each -> (H, W, 3)
    """
    image = to_pil(picture)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for polygon, label in zip(polygons, labels, strict=True):
        corners = [(float(x), float(y)) for x, y in polygon]
        pen.line([*corners, corners[0]], fill=MARK, width=2)
        x, y = corners[0]
        y = max(0.0, y - 16)
        pen.rectangle([x, y, x + font.getlength(label) + 4, y + 15], fill=PAPER)
        pen.text((x + 2, y), label, INK, font=font)
    return np.asarray(image)
