"""Per-pair scores of matching methods, their means with bootstrap intervals, and the CSV file that holds them all."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffwright.bench.harness import Figure, number
from diffwright.bench.matching_pairs import Pair
from diffwright.core.atomic import write_text
from diffwright.core.errors import JobFailed
from diffwright.core.progress import Progress, report
from diffwright.metrics.flow import pair_table
from diffwright.metrics.statistics import bootstrap_interval
from diffwright.viz.plots import curves

FlowOf = Callable[[Pair], Tensor]
"""Flow (2, H, W) from A to B of a pair, in pixels, by some method."""


@dataclass(frozen=True)
class Row:
    """What one method reached on one pair.

    Args:
        protocol: Such as ``view_240``.
        method: Such as ``dis``.
        pair: Its name.
        level: ``I`` to ``V``, or empty.
        aepe: Mean endpoint error over the valid pixels.
        pck1: Percent of them within 1 pixel.
        pck3: Within 3.
        pck5: Within 5.
        pixels: How many they are.
        seconds: Wall time of the method on the pair.
    """

    protocol: str
    method: str
    pair: str
    level: str
    aepe: float
    pck1: float
    pck3: float
    pck5: float
    pixels: int
    seconds: float


def measure(
    protocol: str, method: str, pairs: Sequence[Pair], flow_of: FlowOf, progress: Progress | None = None
) -> list[Row]:
    """Run a method on pairs and score it.

    Args:
        protocol: Name of the rows.
        method: Name of the method.
        pairs: At least one.
        flow_of: The method.
        progress: Is told the pairs done; may cancel.

    Raises:
        JobFailed: The method gave a flow of another size, or one with NaN.
    """
    rows = []
    for done, pair in enumerate(pairs):
        report(progress, f"{protocol}: {method}", done, len(pairs))
        start = time.perf_counter()
        flow = flow_of(pair)
        rows.append(score(protocol, method, pair, flow, time.perf_counter() - start))
    report(progress, f"{protocol}: {method}", len(pairs), len(pairs))
    return rows


def score(protocol: str, method: str, pair: Pair, flow: Tensor, seconds: float = 0.0) -> Row:
    """Score a flow (2, H, W) on a pair; see :func:`measure`."""
    if flow.shape != pair.flow.shape or not bool(flow.isfinite().all()):
        raise JobFailed(
            f"{method} gave {tuple(flow.shape)} with "
            f"{int((~flow.isfinite()).sum())} values that are no numbers on {pair.name}; "
            f"expected finite {tuple(pair.flow.shape)}"
        )
    found = pair_table(flow[None], pair.flow[None], pair.valid[None])[0]
    numbers = {name: float(found[name]) for name in ("aepe", "pck1", "pck3", "pck5")}
    return Row(
        protocol, method, pair.name, pair.level, **numbers, pixels=int(found["pixels"]), seconds=seconds
    )


def chosen(rows: Iterable[Row], protocol: str, method: str, level: str | None = None) -> list[Row]:
    """Pick the rows of a protocol and a method, and of a level if one is given."""
    return [
        row
        for row in rows
        if row.protocol == protocol and row.method == method and level in (None, row.level)
    ]


def mean(rows: Sequence[Row], column: str = "aepe") -> float:
    """Mean of a column; every pair weighs alike."""
    return float(np.mean([getattr(row, column) for row in rows]))


def figure(rows: Sequence[Row], column: str = "aepe", note: str = "") -> Figure:
    """Give the mean of a column over pairs as a figure, its 95 % bootstrap interval in the note.

    Args:
        rows: At least one.
        column: ``aepe``, ``pck1``, ``pck3``, ``pck5`` or ``seconds``.
        note: Put before the interval.
    """
    interval = bootstrap_interval([getattr(row, column) for row in rows])
    words = [note] if note else []
    words.append(f"{len(rows)} pairs, 95 % {number(interval.low)} to {number(interval.high)}")
    unit, better = {"aepe": ("px", "lower"), "seconds": ("s", "lower")}.get(column, ("%", "higher"))
    return Figure(interval.value, unit, better, "; ".join(words))  # pyright: ignore[reportArgumentType]


def write_tables(folder: Path, rows: Sequence[Row]) -> None:
    """Write all rows as ``pairs.csv``, their means as ``tables.md``, and K samples of T steps as ``path.png``.

    Args:
        folder: Made if missing.
        rows: At least one.

    Raises:
        JobFailed: The disk refused.
        MissingExtra: matplotlib is not installed.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        plain = asdict(row)
        writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in plain.items()})
    write_text(folder / "pairs.csv", text.getvalue())
    write_text(folder / "tables.md", tables_page(rows))
    if path := path_curves(rows):
        curves(folder / "path.png", path, across="samples K, averaged", up="mean endpoint error, px")


def path_curves(rows: Sequence[Row]) -> dict[str, tuple[list[float], list[float]]]:
    """Errors over the number of samples K, a curve for each number of steps T; none without rows of the path."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for method in dict.fromkeys(row.method for row in rows if row.protocol == "path"):
        k, t = method.split(" ")
        across, up = found.setdefault(f"{t} steps".replace("T=1 steps", "T=1 step"), ([], []))
        across.append(float(k.removeprefix("K=")))
        up.append(mean(chosen(rows, "path", method)))
    return found


def tables_page(rows: Sequence[Row]) -> str:
    """Write the means of every method under every protocol as Markdown.

    Args:
        rows: At least one.
    """
    parts = ["# Matching, method by method\n", "Written by `diffwright bench matching --tables`.\n"]
    for protocol in dict.fromkeys(row.protocol for row in rows):
        own = [row for row in rows if row.protocol == protocol]
        levels = list(dict.fromkeys(row.level for row in own if row.level))
        count = len({row.pair for row in own})
        parts.append(f"## {protocol}\n\n{count} pairs; mean endpoint error in pixels, PCK in percent.\n")
        heading = ("method", *levels, "mean", "PCK-1", "PCK-3", "PCK-5", "s a pair")
        parts.append(_line(heading) + _line(["---"] * len(heading)))
        for method in dict.fromkeys(row.method for row in own):
            parts[-1] += _line(_cells(method, chosen(own, protocol, method), levels))
    return "\n".join(parts)


def _cells(method: str, rows: Sequence[Row], levels: Sequence[str]) -> list[str]:
    by_level = [[row for row in rows if row.level == level] for level in levels]
    cells = [f"{mean(some):.2f}" if some else "" for some in by_level]
    shares = [f"{mean(rows, column):.1f}" for column in ("pck1", "pck3", "pck5")]
    return [method, *cells, f"{mean(rows):.2f}", *shares, f"{mean(rows, 'seconds'):.2f}"]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"


def as_flow(flow: np.ndarray) -> Tensor:
    """Turn flow (H, W, 2) into (2, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(flow, -1, 0), dtype=np.float32))
