"""The captions that a text-to-image model is examined with: test patterns, every value equally often."""

from collections.abc import Sequence

import numpy as np

from diffwright.core.errors import ConfigError
from diffwright.world.captions import Caption, families, from_values
from diffwright.world.crowds import can_frame
from diffwright.world.splits import HELD_OUT_PAIRS
from diffwright.world.vocabulary import (
    ATTRIBUTES,
    CORE_COLORS,
    CORE_KINDS,
    CORE_STYLES,
    CORE_VIEWPOINTS,
    poses_of,
)

Row = dict[str, str | None]

TEST_SHARES = {
    "kind": 1.0, "color": 1.0, "count": 1.0, "style": 0.8, "viewpoint": 0.6, "place": 0.6, "pose": 0.4,
    "material": 0.25,
}  # fmt: skip
"""Share of the test captions that state an attribute."""


def test_prompts(n: int = 500, core: bool = True, seed: int = 0) -> list[Caption]:  # noqa: PT028
    """Build the text-to-image test set: captions of the test patterns with every value equally often.

    Kind, color and count are in each caption, style in four of five, place and viewpoint in three of five,
    pose in two of five, material in one of four. Nothing is asked for that training does not show: no
    held-out pair, no pose that a kind cannot show, no group that the sampler cannot frame.

    Args:
        n: How many captions; from 500 on each attribute is stated in over 100.
        core: Core vocabulary only.
        seed: Of the mixture; benches use 0.

    Returns:
        The captions; ``stated`` says what each asks for.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 11]))
    table = {name: _column(values(name, core), n, share, rng) for name, share in TEST_SHARES.items()}
    rows = [{name: column[i] for name, column in table.items()} for i in range(n)]
    _untangle(rows, values("viewpoint", core), rng)
    patterns = _column(families("test"), n, 1.0, rng)
    return [
        from_values(family=str(pattern), rng=rng, **{name: v for name, v in row.items() if v is not None})
        for row, pattern in zip(rows, patterns, strict=True)
    ]


def values(name: str, core: bool) -> tuple[str, ...]:
    """Values of an attribute in the core or the full vocabulary."""
    small = {"kind": CORE_KINDS, "color": CORE_COLORS, "style": CORE_STYLES, "viewpoint": CORE_VIEWPOINTS}
    return small.get(name, ATTRIBUTES[name]) if core else ATTRIBUTES[name]


def _column(values: Sequence[str], n: int, share: float, rng: np.random.Generator) -> list[str | None]:
    """Shuffled column of length ``n``: ``share`` of it holds the values, each equally often up to one."""
    stated = round(n * share)
    column: list[str | None] = [values[i % len(values)] if i < stated else None for i in range(n)]
    return [column[i] for i in rng.permutation(n)]


def _untangle(rows: list[Row], views: tuple[str, ...], rng: np.random.Generator) -> None:
    """Swap values between rows until none asks for the impossible."""
    for _ in range(200):
        wrong = [(row, name) for row in rows if (name := _misfit(row, views))]
        if not wrong:
            return
        for row, name in wrong:
            other = rows[int(rng.integers(len(rows)))]
            row[name], other[name] = other[name], row[name]
            if _misfit(other, views):
                row[name], other[name] = other[name], row[name]
    raise ConfigError(f"{len(rows)} prompts cannot hold every value equally often; ask for more.")


def _misfit(row: Row, views: tuple[str, ...]) -> str | None:
    """Name of the attribute that does not fit the others, or None."""
    kind, pose = str(row["kind"]), row["pose"]
    if (kind, row["color"]) in HELD_OUT_PAIRS:
        return "color"
    if pose is not None and pose not in poses_of(kind):
        return "pose"
    if not can_frame(kind, int(str(row["count"])), row["viewpoint"], pose, views):
        return "count"
    return None
