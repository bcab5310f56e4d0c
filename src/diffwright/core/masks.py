"""Masks: bool (H, W), True where the user selected."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from diffwright.core.errors import InputError
from diffwright.core.images import _decoding, open_picture, picture_name

THRESHOLD = 128


def load_mask(source: Any, size: tuple[int, int]) -> np.ndarray:
    """Read a mask for a picture.

    Args:
        source: a path or PIL image (white selects, gray from 128 on counts as white), or a bool or uint8
            array or tensor of shape (H, W).
        size: (height, width) of the picture that the mask belongs to.

    Returns:
        A new bool array of that size.

    Raises:
        InputError: the mask is unreadable, of another size, selects nothing, or is transparent in places.
    """
    name = picture_name(source)
    values = source.detach().cpu().numpy() if hasattr(source, "detach") else source
    if not isinstance(values, np.ndarray):
        picture = open_picture(source)
        with _decoding(name):
            values = _gray(picture, name)
    if values.ndim != 2 or values.dtype not in (np.bool_, np.uint8):
        raise InputError(
            f"an array {values.dtype}{values.shape} was given as a mask; expected bool or uint8 (H, W)"
        )
    if values.shape != tuple(size):
        raise InputError(
            f"the mask has {values.shape[1]} x {values.shape[0]} pixels, the picture {size[1]} x {size[0]};"
            " give a mask of the picture's size"
        )
    mask = values.copy() if values.dtype == np.bool_ else values >= THRESHOLD
    if not mask.any():
        raise InputError(f"the mask {name} selects nothing; paint the region white")
    return mask


def _gray(picture: Image.Image, name: str) -> np.ndarray:
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        if layer.getextrema()[3] != (255, 255):  # pyright: ignore[reportGeneralTypeIssues]
            raise InputError(
                f"the mask {name} is transparent in places; save it as white on black without alpha"
            )
        return np.array(layer.convert("RGB").convert("L"))
    if picture.mode in ("1", "L", "P", "RGB"):
        return np.array(picture.convert("L"))
    raise InputError(f"the mask {name} has color mode {picture.mode}; save it as 8-bit black and white")
