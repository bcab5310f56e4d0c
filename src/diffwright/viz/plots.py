"""Plots of measured figures, by matplotlib, which the extra ``viz`` installs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffwright.core.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def axes(width: float = 6.0, height: float = 3.6) -> "tuple[Figure, Axes]":
    """Open one plot in the house style, without a window.

    Args:
        width: Inches.
        height: Inches.

    Returns:
        The figure and its axes.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plots need matplotlib; install it with: pip install 'diffwright[viz]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    plot = figure.add_subplot()
    plot.spines[["top", "right"]].set_visible(False)
    plot.grid(axis="y", alpha=0.25)
    return figure, plot


def bars(
    path: str | Path,
    figures: Mapping[str, float],
    *,
    control: Mapping[str, float] | None = None,
    unit: str = "",
    title: str = "",
) -> Path:
    """Draw one bar a figure, with its control's value as a line across.

    Args:
        path: Where the picture goes; its ending chooses PNG, SVG or PDF.
        figures: Name -> value.
        control: Name -> value of the control, for some or all of them.
        unit: Written at the axis.
        title: Above the plot.

    Returns:
        The path.

    Raises:
        MissingExtra: matplotlib is not installed.
        InputError: No figures.
    """
    if not figures:
        raise InputError("a bar plot needs at least one figure, got none")
    figure, plot = axes()
    names = list(figures)
    plot.bar(range(len(names)), list(figures.values()), width=0.6, color="#3b6ea8")
    plot.set_xticks(range(len(names)), names, rotation=25, ha="right")
    for i, name in enumerate(names):
        if control and name in control:
            plot.hlines(control[name], i - 0.38, i + 0.38, color="#c0502e", linewidth=2)
    plot.set_ylabel(unit)
    plot.set_title(title, loc="left")
    figure.savefig(path, dpi=150)
    return Path(path)


def curves(
    path: str | Path,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    across: str = "",
    up: str = "",
    title: str = "",
) -> Path:
    """Draw one line a series.

    Args:
        path: Where the picture goes; its ending chooses PNG, SVG or PDF.
        series: Name -> (x values, y values) of equal length.
        across: Label of the x axis, with unit.
        up: Label of the y axis, with unit.
        title: Above the plot.

    Returns:
        The path.

    Raises:
        MissingExtra: matplotlib is not installed.
        InputError: No series, or lengths that differ.
    """
    if not series or any(len(x) != len(y) for x, y in series.values()):
        raise InputError(f"curves need series of equal x and y lengths, got {list(series)}")
    figure, plot = axes()
    for name, (x, y) in series.items():
        plot.plot(x, y, label=name, linewidth=1.8)
    plot.set_xlabel(across)
    plot.set_ylabel(up)
    plot.set_title(title, loc="left")
    if len(series) > 1:
        plot.legend(frameon=False)
    figure.savefig(path, dpi=150)
    return Path(path)
