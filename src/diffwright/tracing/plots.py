"""Pictures of a trace: heat maps of tokens by layers, and the UNet's layers as bars by block and kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffwright.core.checks import one_of
from diffwright.core.errors import MissingExtra
from diffwright.tracing.effects import Threshold, pick_threshold
from diffwright.tracing.states import TEXT_KINDS

COLORS = {
    "resnet": "#3b6ea8",
    "branch": "#7ba3cf",
    "attn1": "#c0502e",
    "attn2": "#e2a33b",
    "ff": "#5d8a58",
    "down": "#7d6ba0",
    "up": "#a58bc4",
}
NAMES = {"attn": "self-attention", "mlp": "MLP", "block": "whole layer"}
COLD, WARM, NOTHING = (43, 84, 140), (178, 58, 38), (232, 232, 228)


def draw(result: Any, path: Path, metric: str | None = None) -> Path:
    """Draw a trace.

    Args:
        result: the ``TraceResult``; untyped, because a result draws itself by this module.
        path: where the picture goes; its ending chooses PNG, SVG or PDF. Its folder is made.
        metric: for the parts that measured it; the most telling one of each without it.

    Returns:
        The path.

    Raises:
        MissingExtra: matplotlib is not installed.
        ConfigError: no part measured the metric, or the ending is not one of them.
    """
    path = Path(path)
    one_of("the picture's ending", path.suffix.lower(), (".png", ".svg", ".pdf"))
    drawn = {part for part, trace in result.traces.items() if metric is None or metric in trace.scores}
    if not drawn:
        one_of("metric", str(metric), {name for trace in result.traces.values() for name in trace.scores})
    path.parent.mkdir(parents=True, exist_ok=True)
    maps = _maps(result, metric) if "text" in drawn else []
    heights = [0.34 * max(len(grid) for _, _, grid in row) + 1.0 for row in maps]
    heights += [2.9] if "unet" in drawn else []
    figure = blank(9.0, sum(heights) + 0.4)
    figure.suptitle(f"{result.prompt}   (subject: {result.subject})", x=0.01, ha="left", fontsize=10)
    parts = np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights))
    for row, part in zip(maps, parts, strict=False):
        _draw_maps(result, part, row, metric or result.traces["text"].metric)
    if "unet" in drawn:
        _draw_bars(result, parts[-1], metric)
    figure.savefig(path, dpi=130)
    return path


def blank(width: float, height: float) -> Any:
    """Open an empty figure of so many inches, without a window.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plots need matplotlib; install it with: pip install 'diffwright[viz]'") from error
    return Figure(figsize=(width, height), layout="constrained")


Map = tuple[str, str, np.ndarray]


def _maps(result: Any, metric: str | None) -> list[list[Map]]:
    """Gather the traced components of each text encoder: prefix, component, grid."""
    if "text" not in result.traces:
        return []
    traced = {(state.site.split(".")[0], state.kind) for state in result.traces["text"].states}
    rows = []
    for prefix in result.tokens:
        row = [(prefix, k, result.grid(prefix, k, metric)) for k in TEXT_KINDS if (prefix, k) in traced]
        rows += [row] if row else []
    return rows


def _draw_maps(result: Any, part: Any, row: list[Map], metric: str) -> None:
    known = np.isfinite(result.traces["text"].scores[metric].recovery).all()
    largest = max(float(np.nanmax(abs(grid))) for _, _, grid in row) or 1.0
    plots = np.atleast_1d(part.subplots(1, len(row), sharey=True))
    shown = None
    for plot, (prefix, kind, grid) in zip(plots, row, strict=True):
        first = result.spans[prefix][0]
        words = result.tokens[prefix]
        labels = [words[t] if t < len(words) else f"[pad {t}]" for t in range(first, len(grid))]
        shown = plot.imshow(grid[first:], cmap="coolwarm", vmin=-largest, vmax=largest, aspect="auto")
        plot.set_yticks(range(len(labels)), labels, fontsize=8)
        plot.set_xticks(range(grid.shape[1]))
        plot.set_xlabel(f"layer of {prefix}")
        plot.set_title(NAMES[kind], loc="left", fontsize=9)
        last = result.spans[prefix][1] - first
        plot.axhline(last + 0.5, color="black", linewidth=0.6)
    part.colorbar(shown, ax=list(plots), label=f"{'recovery' if known else 'effect'}, {metric}", shrink=0.9)


def layer_bars(plot: Any, layers: Sequence[Any], effects: np.ndarray) -> None:
    """Draw the UNet's layers as bars by block and kind.

    Args:
        plot: matplotlib's axes.
        layers: anything with ``site`` and ``kind``, in the order in which the layers stand.
        effects: (N,).
    """
    plot.spines[["top", "right"]].set_visible(False)
    for kind in dict.fromkeys(layer.kind for layer in layers):
        places = [n for n, layer in enumerate(layers) if layer.kind == kind]
        plot.bar(places, effects[places], color=COLORS[kind], label=kind, width=0.8)
    blocks = [".".join(layer.site.split(".")[1:3]) for layer in layers]
    edges = [n for n in range(1, len(blocks)) if blocks[n] != blocks[n - 1]]
    for edge in edges:
        plot.axvline(edge - 0.5, color="#999999", linewidth=0.6)
    middles = [(a + b - 1) / 2 for a, b in zip([0, *edges], [*edges, len(blocks)], strict=True)]
    plot.set_xticks(middles, list(dict.fromkeys(blocks)), fontsize=8)
    plot.axhline(0, color="black", linewidth=0.6)


def _draw_bars(result: Any, part: Any, metric: str | None) -> None:
    trace = result.traces["unet"]
    plot = part.subplots()
    layer_bars(plot, trace.states, trace.scores[metric or trace.metric].mean)
    plot.set_ylabel(f"effect on {metric or trace.metric}")
    plot.legend(frameon=False, ncols=7, fontsize=8, loc="upper left", bbox_to_anchor=(0, 1.15))


def draw_threshold(scores: np.ndarray, path: Path, *, axis: str = "mean restored score") -> Threshold:
    """Pick the threshold that separates causal states, and show it in the histogram of all scores.

    Args:
        scores: mean restored scores of the states of validation prompts.
        path: where the picture goes.
        axis: what the scores are.

    Returns:
        The threshold (see ``pick_threshold``).

    Raises:
        InputError: there are no two different scores.
        MissingExtra: matplotlib is not installed.
    """
    threshold = pick_threshold(scores)
    figure = blank(6.0, 3.6)
    plot = figure.add_subplot()
    plot.spines[["top", "right"]].set_visible(False)
    plot.hist(np.asarray(scores).ravel(), bins=40, color=COLORS["resnet"])
    plot.axvline(threshold.value, color=COLORS["attn1"], linewidth=1.8)
    plot.set_xlabel(axis)
    plot.set_ylabel("states")
    plot.set_title(
        f"threshold {threshold.value:.3f}, explains {threshold.explained:.0%} of the variance", loc="left"
    )
    figure.savefig(path, dpi=150)
    return threshold


def heat_u8(grid: np.ndarray, cell: int = 24) -> np.ndarray:
    """Color a grid of signed numbers without any plotting library: red helps, blue harms, gray is untraced.

    Args:
        grid: (T, L), NaN where there is nothing.
        cell: side of a square in pixels.

    Shapes:
        -> uint8 (T * cell, L * cell, 3)
    """
    known = np.isfinite(grid)
    largest = abs(grid[known]).max() if known.any() else 1.0
    strength = np.clip(np.nan_to_num(grid) / (largest or 1.0), -1, 1)[..., None]
    white = np.full(3, 255.0)
    color = np.where(strength >= 0, white + strength * (WARM - white), white - strength * (COLD - white))
    color = np.where(known[..., None], color, np.array(NOTHING, dtype=float))
    return color.round().astype(np.uint8).repeat(cell, axis=0).repeat(cell, axis=1)
