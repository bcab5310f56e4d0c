"""Small argument checks that raise a typed error with the offending value."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from diffwright.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    import torch


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Check ``low <= value <= high``; NaN and non-numbers are out of range.

    Raises:
        ConfigError: the value is outside.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}, expected a number from {low} to {high}")


def whole(name: str, value: int, low: int, high: int) -> None:
    """Check that a value is an integer with ``low <= value <= high``.

    Raises:
        ConfigError: the value is no integer, or outside.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}, expected an integer from {low} to {high}")


def one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    """Check that a value is one of a few names; the message offers the closest one.

    Raises:
        ConfigError: the value is none of them.
    """
    allowed = list(allowed)
    if value in allowed:
        return
    close = difflib.get_close_matches(str(value), allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"{name} is {value!r}, expected one of {', '.join(map(repr, allowed))}{hint}")


def text(name: str, value: str, longest: int = 1000) -> None:
    """Check that a prompt is a string without null bytes and not too long.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, str):
        raise InputError(f"{name} is a {type(value).__name__}, expected text")
    if len(value) > longest:
        raise InputError(f"{name} has {len(value)} characters, at most {longest} are accepted; shorten it")
    if "\0" in value:
        raise InputError(f"{name} holds a null byte; remove it")


def finite(name: str, value: float | torch.Tensor) -> None:
    """Check that a number, or every element of a tensor, is neither NaN nor infinite.

    Raises:
        InputError: it is not.
    """
    good = math.isfinite(value) if isinstance(value, int | float) else bool(value.isfinite().all())
    if not good:
        raise InputError(f"{name} holds NaN or infinity, expected finite numbers")


def shape(name: str, tensor: torch.Tensor, expected: tuple[int | str, ...]) -> dict[str, int]:
    """Check a tensor's shape; numbers must agree, letters stand for any size.

    Args:
        name: how the caller names the tensor.
        tensor: any tensor.
        expected: for example ``("B", 3, "H", "W")``; a letter used twice must have one size.

    Returns:
        The size of each letter.

    Raises:
        InputError: the shape differs.
    """
    sizes: dict[str, int] = {}
    good = len(tensor.shape) == len(expected)
    for got, want in zip(tensor.shape, expected, strict=False):
        good = good and got == (sizes.setdefault(want, got) if isinstance(want, str) else want)
    if not good:
        wanted = ", ".join(map(str, expected))
        raise InputError(f"{name} has shape {tuple(tensor.shape)}, expected ({wanted})")
    return sizes
