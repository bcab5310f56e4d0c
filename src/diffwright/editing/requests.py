"""What an edit is asked for, checked: operations laid out on a picture, seeds, points, latents of callbacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

import numpy as np
from torch import Tensor

from diffwright.core.errors import ConfigError, InputError
from diffwright.core.geometry import Point
from diffwright.core.seeding import generator
from diffwright.editing.collage import collage
from diffwright.editing.operations import Operation, Placement
from diffwright.editing.presets import Preset
from diffwright.editing.shadows import with_shadow


def previewed(picture: np.ndarray, operations: Sequence[Operation], p: Preset) -> np.ndarray:
    """Show without any model where everything will be.

    Args:
        picture: uint8 (H, W, 3).
        operations: as in ``ImageEditor.edit``.
        p: settings that say whether shadows go along.

    Returns:
        uint8 (H, W, 3)
    """
    return collage(picture, placements_of(operations, picture, p))


def seeds_of(seed: int | Sequence[int]) -> list[int]:
    """Give one or several seeds as plain integers.

    Raises:
        ConfigError: one is no integer from 0 to 2^63 - 1.
        InputError: there is none.
    """
    try:
        seeds = [index(seed)] if not isinstance(seed, Iterable) else [index(each) for each in seed]  # pyright: ignore
    except TypeError as error:
        raise ConfigError(f"seed is {seed!r}; give an integer from 0 to 2^63 - 1, or several") from error
    for each in seeds:
        generator(each)
    if not seeds:
        raise InputError("an empty list of seeds was given; give at least one")
    return seeds


def latents_of(answer: dict[str, Any], z: Tensor) -> Tensor:
    """Give the latents that a callback returned, or those it saw.

    Raises:
        InputError: they are no tensor of that shape.
    """
    new = answer.get("latents", z)
    if not isinstance(new, Tensor) or new.shape != z.shape:
        raise InputError(
            f"the callback returned latents {getattr(new, 'shape', new)!r}; expected a tensor {tuple(z.shape)}"
        )
    return new.to(z)


def unreached(p: Placement) -> list[str]:
    """Say which points of a drag cannot arrive."""
    said = []
    for start, end in p.handles:
        x, y = (min(max(round(v), 0), side - 1) for v, side in zip(end, p.source.shape[::-1], strict=True))
        if start == end:
            said.append(f"the point {start} is dragged to where it is")
        elif not p.source[y, x]:
            said.append(
                f"the target {end} lies outside of what may change, so nothing arrives there; widen the mask"
            )
    return said


def placements_of(operations: Sequence[Operation], picture: np.ndarray, p: Preset) -> tuple[Placement, ...]:
    """Lay operations out on a picture, with shadows where the settings say so.

    Raises:
        InputError: there is none, or one cannot be done on this picture.
    """
    if not isinstance(operations, Sequence) or not all(isinstance(each, Operation) for each in operations):
        raise InputError(
            f"{operations!r} was given as operations; give a list such as [Move(mask, by=(40, 0))]"
        )
    if not operations:
        raise InputError("no operation was given; give at least one, such as Move(mask, by=(40, 0))")
    placed = [operation.place((picture.shape[0], picture.shape[1])) for operation in operations]
    return tuple(with_shadow(place, picture) if p.shadow else place for place in placed)


def points_of(points: Sequence[Point]) -> tuple[Point, ...]:
    """Give points as pairs of plain numbers.

    Raises:
        InputError: they are something else.
    """
    try:
        return tuple((float(x), float(y)) for x, y in points)
    except (TypeError, ValueError) as error:
        raise InputError(f"{points!r} was given as points; expected pairs of numbers x, y") from error
