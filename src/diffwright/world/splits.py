"""The one place that says what is trained on and what is held out."""

import zlib
from collections.abc import Iterable

from diffwright.core.checks import one_of
from diffwright.core.errors import ConfigError
from diffwright.world.scene import Scene

SEEDS = {
    "train": range(0, 2**30),
    "development": range(2**30, 2**30 + 2**29),
    "test": range(2**30 + 2**29, 2**31),
}
HELD_OUT_PAIRS = frozenset({
    ("duck", "green"), ("house", "purple"), ("mushroom", "blue"), ("car", "orange"), ("rocket", "pink"),
    ("apple", "white"),
})  # fmt: skip
"""Kind and color that never meet in training, neither in a picture nor in a caption."""
TEST_FAMILIES = frozenset({"view, style of", "place there is", "style, place", "pose last", "manner first"})
"""Sentence patterns of ``captions.FAMILIES`` that no model is trained on."""


def split_of(seed: int) -> str:
    """Name the split of a seed.

    Raises:
        ConfigError: The seed lies in none.
    """
    for name, seeds in SEEDS.items():
        if seed in seeds:
            return name
    raise ConfigError(f"seed {seed} was given; scenes have seeds from 0 to {2**31 - 1}.")


def seeds(split: str, count: int, start: int = 0) -> list[int]:
    """Give ``count`` seeds of a split, from its ``start``-th on.

    Raises:
        ConfigError: The split is unknown or has too few seeds.
    """
    one_of("split", split, SEEDS)
    chosen = SEEDS[split][start : start + count]
    if len(chosen) < count or start < 0:
        raise ConfigError(
            f"{count} seeds from {start} on were asked for; split {split} has {len(SEEDS[split])}."
        )
    return list(chosen)


def is_held_out(scene: Scene) -> bool:
    """Whether a scene shows a pair of kind and color that training never sees."""
    return any((thing.kind, thing.color) in HELD_OUT_PAIRS for thing in scene.things)


def allowed_pairs(kinds: Iterable[str], colors: Iterable[str]) -> list[tuple[str, str]]:
    """All pairs of a kind and a color that training may see."""
    colors = tuple(colors)
    return [(k, c) for k in kinds for c in colors if (k, c) not in HELD_OUT_PAIRS]


# Drawn words (``lettering/``).
TEST_FONTS = frozenset({
    "Cabin", "Cherry Bomb", "Courier Prime Code", "Karla", "Lobster Two", "Manrope", "Old Standard TT", "Play",
    "Roboto Slab", "Vollkorn",
})  # fmt: skip
"""Families that no model is trained on."""
TEST_TEMPLATES = frozenset(
    {
        'I want the word "{word}" here[, in {font}][ and {color}]',
        'replace what is there with "{word}"[ in {color}][, lettered in {font}]',
        'there should be "{word}"[ in {font}][, all in {color}]',
        'have it spell "{word}"[ in {color}][ in {font}]',
        'would you kindly letter "{word}"[ in {font}][ in {color}]?',
        'this ought to read "{word}"[ in {color}][ in {font}]',
        'give me "{word}"[ in {font}][ in {color}]',
        '[{color} letters, ]"{word}"[, {font}]',
        'swap the text for "{word}"[ in {color}][ in {font}]',
        'the caption becomes "{word}"[, in {font}][, tinted {color}]',
        "make the word disappear",
    }
)
"""Sentences of ``lettering.phrasing`` that no model is trained on: ten that write and one that erases."""
TEST_COLORS = 60  # color names that no model is trained on
TEST_WORDS = 0.1  # share of the word list that no model is trained on


def word_split(word: str) -> str:
    """Tell whether a lower-case word of the list belongs to "train" or "test"."""
    return "test" if _place(word) < TEST_WORDS else "train"


def font_split(family: str, styled: bool) -> str:
    """Tell whether a face belongs to "train" or "test".

    Args:
        family: Its family.
        styled: Bold or italic. Of half of the families these faces are held out.
    """
    held_out = family in TEST_FONTS or (styled and _place(family) < 0.5)
    return "test" if held_out else "train"


def held_out_colors(names: Iterable[str]) -> frozenset[str]:
    """Choose the color names that no model is trained on, among those that may be held out."""
    return frozenset(sorted(names, key=lambda name: (_place(name), name))[:TEST_COLORS])


def _place(name: str) -> float:
    """Give a name its fixed, arbitrary place from 0 to 1."""
    return zlib.crc32(name.encode()) / 2**32
