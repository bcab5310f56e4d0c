"""Learning curves of finished and running trainings, from their logs.

python -m diffwright.training.curves curves.png aepe_px,start_aepe_px runs/match-stage1 runs/match-regression
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffwright.core.errors import InputError
from diffwright.viz.plots import curves

POINTS = 40
"""Points of a curve; each is the mean over its part of the run."""


def learning_curve(run: Path, figure: str) -> tuple[list[float], list[float]]:
    """Read how a figure of the training steps went.

    Args:
        run: Folder of a training.
        figure: Such as ``loss``.

    Returns:
        Thousands of samples seen, and the figure, smoothed to at most ``POINTS`` points.

    Raises:
        InputError: The folder has no log, or the log no such figure.
    """
    path = run / "log.jsonl"
    if not path.is_file():
        raise InputError(f"{run} holds no log.jsonl; give the folder of a training")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.endswith("}")]
    steps = [line for line in lines if line["event"] == "step"]
    known = sorted({name for line in steps for name in line})
    found = [(line["samples"] / 1000, line[figure]) for line in steps if figure in line]
    if not found:
        raise InputError(f"{path} holds no figure {figure!r}; it has {', '.join(known) or 'none yet'}")
    parts = np.array_split(np.array(found), min(POINTS, len(found)))
    across, up = np.stack([part.mean(0) for part in parts]).T.tolist()
    return across, up


def plot(path: Path, runs: Sequence[Path], figures: Sequence[str]) -> Path:
    """Draw figures of trainings over the samples they saw.

    Args:
        path: Picture to write; its ending chooses PNG, SVG or PDF.
        runs: Folders of trainings.
        figures: Names in their logs; one that a run lacks is left out of it.

    Returns:
        The path.

    Raises:
        InputError: A folder has no log, or no run has a figure.
        MissingExtra: matplotlib is not installed.
    """
    series = {}
    for figure in figures:
        found = {run.name: learning_curve(run, figure) for run in runs if _has(run, figure)}
        if not found:
            raise InputError(f"no run has the figure {figure!r}; look into its log.jsonl")
        series |= {f"{name}, {figure}": curve for name, curve in found.items()}
    return curves(path, series, across="samples seen, thousands", up=" and ".join(figures))


def _has(run: Path, figure: str) -> bool:
    return f'"{figure}":' in (run / "log.jsonl").read_text("utf-8") if (run / "log.jsonl").is_file() else True


if __name__ == "__main__":
    target, named, *folders = sys.argv[1:]
    print(plot(Path(target), [Path(folder) for folder in folders], named.split(",")))
