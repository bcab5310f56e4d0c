"""What words stand on: painted panels, walls, wood, cloth, and photographs of the user's."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from diffwright.core.errors import InputError
from diffwright.core.images import load_image
from diffwright.world.lettering.colors import RGB

PANELS = ("flat", "gradient", "panel", "label")
TEXTURES = ("brick", "wood", "cloth", "stripes", "plaster", "tiles", "metal")
KINDS = (*PANELS, *TEXTURES, "photo")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
PHOTO_SIDE = 1024  # longer side that photographs are reduced to when they are read, pixels


@dataclass(frozen=True)
class Ground:
    """What a scene's words stand on.

    Args:
        kind: One of ``KINDS``.
        rgb: Its main color.
        other: Its second color: of a border, of joints, of the gradient's end.
        seed: Draws everything else.
        photo: The file, where the kind is "photo".
    """

    kind: str
    rgb: RGB
    other: RGB
    seed: int
    photo: Path | None = None


@lru_cache(maxsize=4)
def paint(ground: Ground, size: tuple[int, int]) -> np.ndarray:
    """Paint a ground of (height, width) pixels.

    Shapes:
        -> (H, W, 3) float32, 0 to 1, read-only

    Raises:
        InputError: Its photograph cannot be read.
    """
    rng = np.random.Generator(np.random.PCG64(ground.seed))
    if ground.photo is not None:
        picture = _crop(rng, _photo(ground.photo), size)
    else:
        main, other = (np.array(c, np.float32) / 255 for c in (ground.rgb, ground.other))
        picture = _PAINTERS[ground.kind](rng, size, main, other)
        picture = picture * _light(rng, size)
    picture = np.clip(picture, 0, 1).astype(np.float32)
    picture.setflags(write=False)
    return picture


def photographs(folder: Path) -> tuple[Path, ...]:
    """List the PNG, JPEG and WebP files below a folder.

    Raises:
        InputError: There is none.
    """
    return _photographs(Path(folder))


@lru_cache(maxsize=4)
def _photographs(folder: Path) -> tuple[Path, ...]:
    found = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES))
    if not found:
        raise InputError(f"{folder} holds no PNG, JPEG or WebP picture; name a folder of photographs")
    return found


@lru_cache(maxsize=64)
def _photo(path: Path) -> np.ndarray:
    picture = Image.fromarray(load_image(path))
    picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(picture)


def _crop(rng: np.random.Generator, photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut out a part of one third to three times the size, where the photograph is large enough."""
    height, width = size
    largest = min(photo.shape[0] / height, photo.shape[1] / width)
    scale = min(math.exp(rng.uniform(math.log(0.5), math.log(3.0))), largest)
    h, w = height * scale, width * scale
    y, x = rng.uniform(0, photo.shape[0] - h), rng.uniform(0, photo.shape[1] - w)
    part = Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC, box=(x, y, x + w, y + h))
    return np.asarray(part, np.float32) / 255


def noise(rng: np.random.Generator, size: tuple[int, int], grain: tuple[float, float]) -> np.ndarray:
    """Draw smooth noise of about -1 to 1.

    Args:
        rng: Draws it.
        size: (height, width), pixels.
        grain: Size (down, across) of its features, pixels.

    Shapes:
        -> (H, W) float32
    """
    height, width = size
    coarse = (max(2, round(width / grain[1])), max(2, round(height / grain[0])))
    values = rng.standard_normal(coarse[::-1]).astype(np.float32) * 0.5
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC))


def _shaded(color: np.ndarray, shade: np.ndarray) -> np.ndarray:
    return color * (1 + shade[..., None])


def _mixed(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    return first + (second - first) * share[..., None].astype(np.float32)


def _light(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Light that falls off in some direction, by up to a quarter."""
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.25) * (rng.random() < 0.7)
    y, x = np.linspace(-0.5, 0.5, size[0]), np.linspace(-0.5, 0.5, size[1])
    ramp = y[:, None] * math.sin(angle) + x * math.cos(angle)
    return (1 - strength * (0.5 + ramp))[..., None].astype(np.float32)


def _flat(rng: np.random.Generator, size: tuple[int, int], main: np.ndarray, other: np.ndarray) -> np.ndarray:
    return _shaded(main, noise(rng, size, (24, 24)) * rng.uniform(0, 0.06))


def _gradient(
    rng: np.random.Generator, size: tuple[int, int], main: np.ndarray, other: np.ndarray
) -> np.ndarray:
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.linspace(-0.5, 0.5, size[0]), np.linspace(-0.5, 0.5, size[1])
    ramp = 0.5 + 0.7 * (y[:, None] * math.sin(angle) + x * math.cos(angle))
    return _mixed(main, main + (other - main) * 0.45, ramp.clip(0, 1))


def _panel(
    rng: np.random.Generator, size: tuple[int, int], main: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """A sign with a border line near the rim."""
    height, width = size
    mask = Image.new("L", (2 * width, 2 * height))
    inset, line = rng.uniform(0.02, 0.09) * 2 * height, rng.uniform(1, 3) * 2
    round_by = rng.uniform(0, 0.2) * height * (rng.random() < 0.6)
    box = (inset, inset, 2 * width - inset, 2 * height - inset)
    ImageDraw.Draw(mask).rounded_rectangle(box, round_by, outline=255, width=max(1, round(line)))
    share = np.asarray(mask.reduce(2), np.float32) / 255
    return _mixed(_flat(rng, size, main, other), other, share)


def _label(
    rng: np.random.Generator, size: tuple[int, int], main: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """A plate on a rough wall of another color, with its shadow."""
    height, width = size
    share, shadow = Image.new("L", (2 * width, 2 * height)), Image.new("L", (2 * width, 2 * height))
    x, y = rng.uniform(0.0, 0.08) * 2 * width, rng.uniform(0.04, 0.14) * 2 * height
    box, round_by = (x, y, 2 * width - x, 2 * height - y), rng.uniform(0, 0.25) * height
    ImageDraw.Draw(share).rounded_rectangle(box, round_by, fill=255)
    ImageDraw.Draw(shadow).rounded_rectangle(tuple(v + 6 for v in box), round_by, fill=130)
    wall = _shaded(other, noise(rng, size, (3, 3)) * 0.12)
    wall = _mixed(wall, wall * 0.3, np.asarray(shadow.reduce(6).resize((width, height)), np.float32) / 255)
    return _mixed(wall, _flat(rng, size, main, other), np.asarray(share.reduce(2), np.float32) / 255)


def _brick(
    rng: np.random.Generator, size: tuple[int, int], main: np.ndarray, other: np.ndarray
) -> np.ndarray:
    height, width = size
    tall = rng.uniform(9, 26)
    long, joint = tall * rng.uniform(1.8, 3.2), rng.uniform(1, 2.2)
    row = (np.arange(height) + rng.uniform(0, tall)) / tall
    column = (np.arange(width) + rng.uniform(0, long)) / long + 0.5 * (row.astype(int) % 2)[:, None]
    rows = np.broadcast_to(row[:, None], size)
    tone = rng.standard_normal((64, 64))[rows.astype(int) % 64, column.astype(int) % 64] * 0.07
    gap = np.maximum(_edge(rows, joint / tall), _edge(column, joint / long))
    wall = _shaded(main, tone + noise(rng, size, (2, 2)) * 0.05)
    return _mixed(wall, wall * 0.35 + other * 0.3, gap * 0.8)


def _edge(phase: np.ndarray, share: float) -> np.ndarray:
    """1 within ``share`` of a whole number, falling off softly."""
    distance = np.abs(phase - np.round(phase))
    return np.clip(1.5 - distance / (share / 2), 0, 1)


def _wood(rng: np.random.Generator, size: tuple[int, int], main: np.ndarray, other: np.ndarray) -> np.ndarray:
    height = size[0]
    grain = noise(rng, size, (2.0, 40)) * 0.12 + noise(rng, size, (6, 80)) * 0.1
    board = height / rng.integers(1, 5)
    phase = np.broadcast_to((np.arange(height) / board + rng.random())[:, None], size)
    tone = rng.standard_normal(8)[phase.astype(int) % 8] * 0.06
    return _shaded(main, grain + tone) * (1 - 0.55 * _edge(phase, 1.6 / board))[..., None]


def _cloth(
    rng: np.random.Generator, size: tuple[int, int], main: np.ndarray, other: np.ndarray
) -> np.ndarray:
    period = rng.uniform(2.2, 4)
    y, x = np.arange(size[0])[:, None], np.arange(size[1])
    weave = np.sin(2 * np.pi * y / period) * np.cos(2 * np.pi * x / period) * rng.uniform(0.03, 0.08)
    return _shaded(
        main, weave.astype(np.float32) + noise(rng, size, (90, 70)) * 0.12 + noise(rng, size, (2, 2)) * 0.03
    )


def _stripes(
    rng: np.random.Generator, size: tuple[int, int], main: np.ndarray, other: np.ndarray
) -> np.ndarray:
    angle, period = rng.uniform(0, math.pi), rng.uniform(8, 40)
    y, x = np.arange(size[0])[:, None], np.arange(size[1])
    phase = (y * math.sin(angle) + x * math.cos(angle)) / period
    share = np.clip(np.sin(2 * np.pi * phase) * period / 4 + 0.5, 0, 1)
    return _mixed(main, main + (other - main) * rng.uniform(0.15, 0.45), share)


def _plaster(
    rng: np.random.Generator, size: tuple[int, int], main: np.ndarray, other: np.ndarray
) -> np.ndarray:
    rough = rng.uniform(0.05, 0.16)
    return _shaded(
        main, (noise(rng, size, (2, 2)) + noise(rng, size, (7, 7)) + noise(rng, size, (40, 40))) * rough
    )


def _tiles(
    rng: np.random.Generator, size: tuple[int, int], main: np.ndarray, other: np.ndarray
) -> np.ndarray:
    side = rng.uniform(14, 48)
    row = np.broadcast_to(((np.arange(size[0]) + rng.uniform(0, side)) / side)[:, None], size)
    column = np.broadcast_to((np.arange(size[1]) + rng.uniform(0, side)) / side, size)
    tone = rng.standard_normal((32, 32))[row.astype(int) % 32, column.astype(int) % 32] * 0.03
    gap = np.maximum(_edge(row, 1.6 / side), _edge(column, 1.6 / side))
    return _mixed(_shaded(main, tone), main * 0.5 + other * 0.2, gap * 0.7)


def _metal(
    rng: np.random.Generator, size: tuple[int, int], main: np.ndarray, other: np.ndarray
) -> np.ndarray:
    sheen = np.sin(np.linspace(0, rng.uniform(2, 7), size[1]) + rng.uniform(0, 6)) * 0.12
    return _shaded(main, noise(rng, size, (1.2, 60)) * 0.1 + sheen.astype(np.float32))


_Painter = Callable[[np.random.Generator, tuple[int, int], np.ndarray, np.ndarray], np.ndarray]
_PAINTERS: dict[str, _Painter] = {
    "flat": _flat, "gradient": _gradient, "panel": _panel, "label": _label, "brick": _brick, "wood": _wood,
    "cloth": _cloth, "stripes": _stripes, "plaster": _plaster, "tiles": _tiles, "metal": _metal,
}  # fmt: skip
