"""Colors by name: the survey of xkcd, modifiers, "#RRGGBB"; nearness in CIELAB."""

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from diffwright.core.checks import one_of
from diffwright.core.errors import ConfigError
from diffwright.world import splits

RGB = tuple[int, int, int]
LIST = Path(__file__).parent / "data" / "colors.txt"
BASIC = ("black", "blue", "brown", "cyan", "green", "grey", "olive", "orange", "pink", "purple", "red")
MODIFIERS: Mapping[str, tuple[float, float]] = MappingProxyType({
    "very light": (30.0, 0.75), "very dark": (-32.0, 0.8), "light": (18.0, 0.85), "dark": (-20.0, 0.9),
    "pale": (20.0, 0.5), "deep": (-14.0, 1.15), "bright": (8.0, 1.35), "dull": (-4.0, 0.55), "soft": (10.0, 0.7),
})  # fmt: skip
"""Modifier to what it adds to the lightness L (of 0 to 100) and the factor on the chroma."""
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_WHITE = np.array([0.95047, 1.0, 1.08883])  # of the D65 illuminant
_TO_XYZ = np.array([
    [0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]
])  # fmt: skip
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27


def _read() -> Mapping[str, RGB]:
    lines = LIST.read_text(encoding="ascii").splitlines()
    return MappingProxyType({name: _rgb_of(code) for name, code in (line.split("\t") for line in lines)})


def _rgb_of(code: str) -> RGB:
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


NAMED: Mapping[str, RGB] = _read()
"""Name to (red, green, blue), 0 to 255; spelling of the survey ("grey")."""


@lru_cache(maxsize=4)
def names(split: str) -> tuple[str, ...]:
    """List the color names of "train" or "test"; the eleven basic ones are of "train".

    Raises:
        ConfigError: The split is unknown.
    """
    one_of("split", split, ("train", "test"))
    held_out = splits.held_out_colors(set(NAMED) - {*BASIC, "white", "yellow"})
    return tuple(name for name in NAMED if (name in held_out) == (split == "test"))


def parse(color: str) -> RGB:
    """Turn what a user calls a color into its value.

    Args:
        color: A name ("teal"), a modifier and a name ("very dark teal"), or "#RRGGBB".

    Returns:
        (red, green, blue), 0 to 255.

    Raises:
        ConfigError: It is none of these; the message offers close names.

    Example:
        >>> parse("#008080"), parse("Gray") == parse("grey")
        ((0, 128, 128), True)
    """
    if _HEX.fullmatch(color.strip()):
        return _rgb_of(color.strip())
    name = " ".join(color.lower().replace("gray", "grey").replace("-", " ").split())
    if name in NAMED:
        return NAMED[name]
    for modifier, (lighter, factor) in MODIFIERS.items():
        base = name.removeprefix(modifier + " ")
        if base != name and base in NAMED:
            lab = to_lab(NAMED[base])
            return from_lab(np.array([np.clip(lab[0] + lighter, 3, 97), lab[1] * factor, lab[2] * factor]))
    close = ", ".join(difflib.get_close_matches(name, NAMED, n=3, cutoff=0.5)) or ", ".join(BASIC)
    raise ConfigError(f"color {color!r} was given; expected #RRGGBB or a name such as {close}")


def nearest(rgb: Iterable[float], names: Iterable[str] = BASIC) -> str:
    """Name the color of a list that is nearest in CIELAB.

    Args:
        rgb: (red, green, blue), 0 to 255.
        names: Names of ``NAMED``.

    Example:
        >>> nearest((200, 30, 20))
        'red'
    """
    names = tuple(names)
    distances = np.linalg.norm(_table(names) - to_lab(tuple(rgb)), axis=1)
    return names[int(distances.argmin())]


@lru_cache(maxsize=8)
def _table(names: tuple[str, ...]) -> np.ndarray:
    return to_lab([NAMED[name] for name in names])


def to_lab(rgb: object) -> np.ndarray:
    """Convert sRGB of 0 to 255 to CIELAB under D65.

    Shapes:
        (..., 3) -> (..., 3)
    """
    linear = to_linear(np.asarray(rgb, float) / 255)
    ratio = linear @ _TO_XYZ.T / _WHITE
    f = np.where(ratio > _EPSILON, np.cbrt(ratio), (_KAPPA * ratio + 16) / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def from_lab(lab: np.ndarray) -> RGB:
    """Convert one CIELAB color to sRGB, clipped to 0 to 255."""
    y = (lab[0] + 16) / 116
    f = np.array([y + lab[1] / 500, y, y - lab[2] / 200])
    ratio = np.where(f**3 > _EPSILON, f**3, (116 * f - 16) / _KAPPA)
    linear = np.linalg.solve(_TO_XYZ, ratio * _WHITE).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (srgb * 255).round().astype(int).tolist()
    return red, green, blue


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """Undo the gamma of sRGB, 0 to 1 both ways."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
