"""Prompts of the rendered world that state one value, so that a judge can say whether a picture shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffwright.core.errors import InputError
from diffwright.world.captions import FAMILIES, Caption, families, from_values
from diffwright.world.phrases import STYLES
from diffwright.world.splits import HELD_OUT_PAIRS
from diffwright.world.vocabulary import (
    COLORS,
    CORE_COLORS,
    CORE_KINDS,
    CORE_STYLES,
    CORE_VIEWPOINTS,
    KINDS,
    PLACES,
    VIEWPOINTS,
)

CORE = {"kind": CORE_KINDS, "color": CORE_COLORS, "style": CORE_STYLES}
"""Values that concepts are measured on, by attribute."""


@dataclass(frozen=True)
class Probe:
    """A picture to paint and what it should show.

    Attributes:
        prompt: the caption.
        seed: of the noise.
        attribute: what the judge is asked.
        value: what the caption states.
    """

    prompt: str
    seed: int
    attribute: str
    value: str


def words_of(attribute: str, value: str) -> str:
    """Give the words that captions use for a value, without an article: ``pencil`` is a "pencil drawing"."""
    return STYLES[value][0].removeprefix("a ") if attribute == "style" else value


def value_of(words: str) -> tuple[str, str]:
    """Say which attribute and value of the core vocabulary some words name.

    Raises:
        InputError: they name none.
    """
    for attribute, values in CORE.items():
        for value in values:
            if words.strip().lower() in (value, words_of(attribute, value)):
                return attribute, value
    known = ", ".join(value for values in CORE.values() for value in values)
    raise InputError(f"{words!r} is no value that the judge reads; measured concepts are {known}.")


def probes(attribute: str, value: str, each: int, split: str = "test", first_seed: int = 0) -> list[Probe]:
    """Build prompts that state a value, every sentence pattern of a split equally often.

    The other things they say (kind, color, place, and a style, half of them photo) take turns.

    Args:
        attribute: ``kind``, ``color`` or ``style``.
        value: one of its values.
        each: prompts for each pattern, each with its own seed.
        split: ``test`` for the five patterns that no model or edit has seen, or ``train``.
        first_seed: of the noise; prompt number i of every value has the seed ``first_seed + i``.
    """
    patterns = families("test" if split == "test" else "train")
    found = []
    for number in range(each * len(patterns)):
        text = _stating(attribute, value, number, patterns[number % len(patterns)]).text
        found.append(Probe(text, first_seed + number, attribute, value))
    return found


def _stating(attribute: str, value: str, number: int, pattern: str) -> Caption:
    values: dict[str, Any] = {
        "kind": CORE_KINDS[(5 * number + number // 12) % len(CORE_KINDS)],
        "color": CORE_COLORS[(3 * number + number // 8) % len(CORE_COLORS)],
        "place": PLACES[(number + number // 6) % len(PLACES)],
        "style": CORE_STYLES[(number // 2) % len(CORE_STYLES)] if number % 2 else "photo",
    }
    if "{view}, ]" in FAMILIES[pattern]:  # without its view this pattern says nothing new
        values["viewpoint"] = CORE_VIEWPOINTS[number % len(CORE_VIEWPOINTS)]
    values[attribute] = value
    while (values["kind"], values["color"]) in HELD_OUT_PAIRS:
        moved = "kind" if attribute == "color" else "color"
        values[moved] = CORE[moved][(CORE[moved].index(values[moved]) + 1) % len(CORE[moved])]
    return from_values(family=pattern, **values)


def world_prompts(count: int = 96) -> tuple[str, ...]:
    """Give captions with every kind, color, style, place and viewpoint, in patterns that models train on."""
    patterns, styles = families("train"), tuple(STYLES)
    found = []
    for n in range(count):
        values: dict[str, Any] = {
            "kind": KINDS[n % len(KINDS)],
            "color": tuple(COLORS)[(n + n // len(COLORS)) % len(COLORS)],
            "style": styles[n % len(styles)],
            "place": PLACES[(n + n // 6) % len(PLACES)],
        }
        if n % 3 == 0:
            values["viewpoint"] = VIEWPOINTS[(n // 3) % len(VIEWPOINTS)]
        found.append(from_values(family=patterns[(n + n // 11) % len(patterns)], **values).text)
    return tuple(found)
