"""Pictures from files and arrays, with guards against hostile and unclear input.

PNG, JPEG and WebP are told by their content, not by their name. The size in the header is checked before any
pixel is decoded: sides of 16 to 8192 pixels, at most 40 megapixels. The camera's orientation is applied.
Transparent pixels are shown on white and 16 bits are rounded to 8; CMYK and animations are refused.
"""

from __future__ import annotations

import io
import math
import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from diffwright.core.atomic import write_bytes
from diffwright.core.errors import InputError, JobFailed

if TYPE_CHECKING:
    import torch

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 40_000_000
MIN_SIDE, MAX_SIDE = 16, 8192
MAX_BYTES = 256 * 2**20


def load_image(source: Any) -> np.ndarray:
    """Read a picture from whatever the user has.

    Args:
        source: a path, a PIL image, a uint8 array (H, W, 3), or a float tensor in [-1, 1].

    Shapes:
        tensor (3, H, W) or (1, 3, H, W) -> (H, W, 3)

    Returns:
        A new uint8 RGB array.

    Raises:
        InputError: the picture is missing, damaged, of another format, too large or too small.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if hasattr(source, "detach"):
        return _from_tensor(source)
    picture = open_picture(source)
    with _decoding(picture_name(source)):
        return np.array(_to_rgb(picture, picture_name(source)))


def open_picture(source: str | PathLike[str] | Image.Image) -> Image.Image:
    """Open, guard, decode and orient a picture, in the mode of its file.

    Args:
        source: a path or a PIL image.

    Returns:
        A decoded PIL image, turned as the camera's EXIF tag says.

    Raises:
        InputError: see ``load_image``.
    """
    name = picture_name(source)
    if isinstance(source, str | PathLike):
        picture = _open_file(Path(source))
    elif isinstance(source, Image.Image):
        picture = source
    else:
        raise InputError(f"{name} is no picture; give a path, a PIL image, a uint8 array or a tensor")
    check_size(picture.width, picture.height, name)
    with _decoding(name):
        frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
        if frames > 1:
            raise InputError(
                f"{name} is an animation of {frames} frames; save one frame as PNG and give that"
            )
        picture.load()
        return ImageOps.exif_transpose(picture)


def check_size(width: int, height: int, name: str) -> None:
    """Check the sides and the area of a picture before it is decoded.

    Raises:
        InputError: a side is not in 16 to 8192 pixels, or there are over 40 megapixels.
    """
    sides_fit = MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE
    if not sides_fit or width * height > MAX_PIXELS:
        raise InputError(
            f"{name} is {width} x {height} pixels; sides of {MIN_SIDE} to {MAX_SIDE} and at most"
            f" {MAX_PIXELS // 10**6} megapixels are accepted, so resize it first"
        )


def picture_name(source: Any) -> str:
    """Say in a message which picture is meant: its path, or what kind of object it is."""
    return str(source) if isinstance(source, str | PathLike) else f"the given {type(source).__name__}"


def to_tensor(image_u8: np.ndarray) -> torch.Tensor:
    """Turn a uint8 picture into a tensor in [-1, 1].

    Shapes:
        (H, W, 3) -> (1, 3, H, W)

    Returns:
        float32; 0 becomes -1 and 255 becomes 1.
    """
    import torch

    pixels = torch.from_numpy(np.array(image_u8, dtype=np.float32))
    return (pixels / 127.5 - 1).permute(2, 0, 1)[None].contiguous()


def to_u8(image: torch.Tensor) -> np.ndarray:
    """Turn a picture in [-1, 1] into uint8; values outside are clipped.

    Shapes:
        (3, H, W) -> (H, W, 3); (B, 3, H, W) -> (B, H, W, 3)

    Returns:
        uint8 array, rounded to the nearest of 256 levels.

    Raises:
        InputError: the tensor is not a picture.
        JobFailed: the picture holds NaN, as half precision can produce.
    """
    if image.ndim not in (3, 4) or image.shape[-3] != 3:
        raise InputError(
            f"a tensor of shape {tuple(image.shape)} is no picture; expected (3, H, W) or (B, 3, H, W)"
        )
    pixels = image.detach().float().movedim(-3, -1).cpu()
    if not bool(pixels.isfinite().all()):
        raise JobFailed("the model produced NaN pixels; load it with dtype float32 and run again")
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()


def to_pil(image_u8: np.ndarray) -> Image.Image:
    """Turn a uint8 (H, W, 3) picture into a PIL image."""
    return Image.fromarray(np.ascontiguousarray(image_u8, dtype=np.uint8))


def save_png(image_u8: np.ndarray, path: str | PathLike[str]) -> Path:
    """Write a uint8 (H, W, 3) picture as PNG, completely or not at all.

    Raises:
        JobFailed: the disk refused.
    """
    buffer = io.BytesIO()
    to_pil(image_u8).save(buffer, format="PNG")
    return write_bytes(Path(path), buffer.getvalue())


def enlarge(image_u8: np.ndarray, at_least: int = 256) -> np.ndarray:
    """Repeat each pixel so often that both sides have ``at_least`` pixels; larger pictures stay as they are.

    Shapes:
        (H, W, 3) -> (kH, kW, 3) with the smallest whole k that does
    """
    factor = max(1, math.ceil(at_least / min(image_u8.shape[:2])))
    return image_u8.repeat(factor, axis=0).repeat(factor, axis=1)


class _decoding:
    """Turn whatever the decoder raises on damaged bytes into an InputError."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.quiet = warnings.catch_warnings()

    def __enter__(self) -> None:
        self.quiet.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.quiet.__exit__(kind, error, trace)
        if isinstance(error, Image.DecompressionBombError):
            raise InputError(
                f"{self.name} has far over {MAX_PIXELS // 10**6} megapixels; resize it first"
            ) from error
        if isinstance(error, Exception) and not isinstance(error, InputError):
            raise InputError(f"{self.name} is damaged or cut off ({error}); save it again as PNG") from error


def _open_file(path: Path) -> Image.Image:
    try:
        known = path.is_file()
        size = path.stat().st_size if known else 0
    except (OSError, ValueError) as error:
        raise InputError(
            f"{str(path)!r} cannot be read as a file ({error}); give the path of a picture"
        ) from error
    if not known:
        raise InputError(f"{path} is not a file; give the path of a PNG, JPEG or WebP picture")
    if size > MAX_BYTES:
        raise InputError(
            f"{path} has {size} bytes, at most {MAX_BYTES} are accepted; resize the picture first"
        )
    with _decoding(str(path)):
        try:
            return Image.open(path, formats=FORMATS)
        except Image.UnidentifiedImageError as error:
            raise InputError(f"{path} is not a PNG, JPEG or WebP picture; convert it to PNG") from error


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I"):
        deep = np.asarray(picture).astype(np.int64).clip(0, 65535)
        picture = Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    if picture.mode in ("1", "L", "P", "RGB"):
        return picture.convert("RGB")
    raise InputError(f"{name} has color mode {picture.mode}, expected RGB or gray; convert it to RGB first")


def _from_array(array: np.ndarray) -> np.ndarray:
    gray = array.ndim == 2
    if array.dtype != np.uint8 or not (gray or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(
            f"an array {array.dtype}{array.shape} was given as a picture; expected uint8 (H, W, 3), gray (H, W) or "
            "with alpha (H, W, 4)"
        )
    check_size(array.shape[1], array.shape[0], "the given array")
    if not gray and array.shape[2] == 3:
        return array.copy()
    return np.array(_to_rgb(Image.fromarray(array), "the given array"))


def _from_tensor(tensor: torch.Tensor) -> np.ndarray:
    image = tensor[0] if tensor.ndim == 4 and tensor.shape[0] == 1 else tensor
    if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
        raise InputError(
            f"a tensor {tensor.dtype} of shape {tuple(tensor.shape)} was given as a picture;"
            " expected floats in [-1, 1] of shape (3, H, W) or (1, 3, H, W)"
        )
    check_size(image.shape[2], image.shape[1], "the given tensor")
    if not bool((image.abs() <= 1 + 1e-3).all()):
        raise InputError(
            "a tensor with values outside [-1, 1] or NaN was given as a picture; scale or clamp it"
        )
    return to_u8(image)
