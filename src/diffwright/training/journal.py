"""What a run tells while it trains: means without waiting for the device, a JSONL log, a progress bar."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from diffwright.core.progress import Progress


class Means:
    """Running means of figures that stay on their device until they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, int] = {}

    def add(self, figures: Mapping[str, float | Tensor]) -> None:
        """Take in the figures of a step."""
        for name, value in figures.items():
            number = value if isinstance(value, int | float) else value.detach().float()
            self._sums[name] = self._sums.get(name, 0.0) + number
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Give the means since the last call and begin anew."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self.__init__()
        return means


class Log:
    """A file of JSON lines; a line cut off by a crash is closed before the next.

    Args:
        path: the file; lines are appended.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        if path.is_file() and not path.read_bytes().endswith(b"\n") and path.stat().st_size:
            self._append("\n")

    def write(self, event: str, **figures: Any) -> None:
        """Append a line with the event, the time and the figures."""
        line = {"event": event, "time": time.strftime("%Y-%m-%dT%H:%M:%S"), **figures}
        self._append(json.dumps({k: _short(v) for k, v in line.items()}) + "\n")

    def _append(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


@contextmanager
def bar(title: str) -> Iterator[Progress | None]:
    """Show a progress bar with the time left on a terminal, once for all processes, or nothing elsewhere.

    Args:
        title: name of the run.

    Yields:
        A progress callback, or None without a terminal.
    """
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Display

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Display(*columns, console=Console(stderr=True)) as progress:
        line = progress.add_task(title, total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(line, description=f"{title}: {what}", completed=done, total=total or None)

        yield show
