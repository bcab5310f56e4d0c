"""What a run tells while it trains: means without waiting for the device, and a JSONL log."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor


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
