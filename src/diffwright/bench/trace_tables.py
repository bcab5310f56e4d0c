"""What the traces behind the tested claims found: effects pooled over prompts, as a table and as pictures."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from diffwright.core.atomic import write_text
from diffwright.tracing.effects import role, top_set
from diffwright.tracing.plots import NAMES, blank, layer_bars
from diffwright.tracing.result import TraceResult
from diffwright.tracing.states import BRANCH

ROLES = ("first subject", "subject", "last subject", "after", "end")
ARMS = {"subject": "noise on the subject", "other": "noise on another word", "random": "random weights"}


@dataclass(frozen=True)
class Row:
    """The mean effect of one state on one metric.

    Attributes:
        arm: one of ``ARMS``.
        attribute: what the subjects of its prompts state.
        metric: such as ``judge``.
        part: ``text`` or ``unet``.
        site: name of the layer.
        kind: its kind.
        layer: its number inside its encoder or the UNet.
        role: of the token in the prompt; empty in the UNet.
        prompts: over how many the mean is taken.
        effect: mean of restored - corrupted; tokens of one role in one prompt count once.
    """

    arm: str
    attribute: str
    metric: str
    part: str
    site: str
    kind: str
    layer: int
    role: str
    prompts: int
    effect: float


Traced = Iterable[tuple[str, TraceResult]]
"""Attribute and trace of each prompt."""


def pooled(arm: str, traced: Traced, part: str, metric: str) -> list[Row]:
    """Pool the effects of traces over the prompts of an attribute.

    Args:
        arm: one of ``ARMS``.
        traced: attribute and trace of each prompt.
        part: ``text`` or ``unet``.
        metric: one that they measured.
    """
    found: dict[tuple[str, str, str, int, str], list[float]] = defaultdict(list)
    for attribute, result in traced:
        trace = result.traces[part]
        mine = defaultdict(list)
        for state, effect in zip(trace.states, trace.scores[metric].mean, strict=True):
            prefix = state.site.split(".")[0]
            place = (
                ""
                if state.token is None
                else role(state, result.spans[prefix], len(result.tokens[prefix]) - 1)
            )
            mine[attribute, state.site, state.kind, state.layer, place].append(float(effect))
        for key, effects in mine.items():
            found[key].append(float(np.mean(effects)))
    return [
        Row(arm, attribute, metric, part, site, kind, layer, place, len(effects), float(np.mean(effects)))
        for (attribute, site, kind, layer, place), effects in found.items()
    ]


def write_tables(folder: Path, rows: Sequence[Row]) -> None:
    """Write ``effects.csv`` and the pictures ``text.png``, ``controls.png`` and ``unet.png``.

    Args:
        folder: made if missing.
        rows: of all arms; a picture without rows is left out.

    Raises:
        JobFailed: the disk refused.
        MissingExtra: matplotlib is not installed.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(row), "effect": f"{row.effect:.6g}"} for row in rows)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "effects.csv", text.getvalue())
    judged = [row for row in rows if row.part == "text" and row.metric == "judge"]
    if judged:
        _draw_text(folder / "text.png", _groups(judged, "attribute"), "effect on the judge's probability")
    embedded = [row for row in rows if row.part == "text" and row.metric == "embedding"]
    if embedded:
        arms = {ARMS[arm]: group for arm, group in _groups(embedded, "arm").items()}
        _draw_text(folder / "controls.png", arms, "effect on the distance of the encoding, largest = 1", True)
    layers = [row for row in rows if row.part == "unet" and row.metric == "judge"]
    if layers:
        _draw_unet(folder / "unet.png", _groups(layers, "attribute"))


def _groups(rows: Iterable[Row], by: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(getattr(row, by), []).append(row)
    return found


def _grid(rows: Sequence[Row], kind: str) -> np.ndarray:
    """Mean effects (roles, layers) of one component; NaN where no token plays the role."""
    grid = np.full((len(ROLES), 1 + max(row.layer for row in rows)), np.nan)
    for place, name in enumerate(ROLES):
        for layer in range(grid.shape[1]):
            mine = [r for r in rows if (r.kind, r.layer, r.role) == (kind, layer, name)]
            if mine:
                grid[place, layer] = np.average([r.effect for r in mine], weights=[r.prompts for r in mine])
    return grid


def _draw_text(path: Path, groups: dict[str, list[Row]], label: str, scaled: bool = False) -> None:
    """Heat maps of token roles by layers: a column a group, attention above the MLP."""
    kinds = ("attn", "mlp")
    grids = {name: [_grid(rows, kind) for kind in kinds] for name, rows in groups.items()}
    if scaled:
        grids = {name: [g / np.nanmax(np.abs(pair)) for g in pair] for name, pair in grids.items()}
    largest = max(float(np.nanmax(np.abs(pair))) for pair in grids.values())
    figure = blank(max(6.0, 1.0 + 1.9 * len(grids)), 4.3)
    plots = figure.subplots(len(kinds), len(grids), sharex=True, sharey=True, squeeze=False)
    shown: Any = None
    for column, (name, pair) in enumerate(grids.items()):
        for line, grid in enumerate(pair):
            plot = plots[line][column]
            shown = plot.imshow(grid, cmap="coolwarm", vmin=-largest, vmax=largest, aspect="auto")
            plot.set_yticks(range(len(ROLES)), ROLES, fontsize=8)
            plot.set_xticks(range(grid.shape[1]))
            plot.set_title(f"{name},\n{NAMES[kinds[line]]}", loc="left", fontsize=8)
        plots[-1][column].set_xlabel("layer", fontsize=8)
    figure.colorbar(shown, ax=list(plots.ravel()), shrink=0.9).set_label(label, fontsize=8)
    figure.savefig(path, dpi=110)


def _draw_unet(path: Path, groups: dict[str, list[Row]]) -> None:
    """Bars of the UNet's layers, a line an attribute; the strongest tenth carries a dot."""
    figure = blank(9.0, 0.6 + 1.25 * len(groups))
    plots = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for plot, (name, rows) in zip(plots, groups.items(), strict=True):
        rows = [row for row in rows if row.kind != BRANCH]
        effects = np.array([row.effect for row in rows])
        layer_bars(plot, rows, effects)
        top = sorted(top_set(effects))
        plot.plot(top, effects[top], "k.", markersize=4)
        plot.set_ylabel(f"{name}\n({rows[0].prompts} prompts)", fontsize=8)
    handles, names = plots[0].get_legend_handles_labels()
    figure.legend(handles, names, frameon=False, ncols=len(names), fontsize=8, loc="outside upper left")
    figure.savefig(path, dpi=110)
