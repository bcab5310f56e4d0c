"""What all benches share: figures, timing in turn, the environment, a table and a JSON file.

A bench is a module with `run(quick, progress) -> dict[str, Figure]`; `BENCHES` names them all.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from diffwright.core import atomic, checks
from diffwright.core.errors import ConfigError
from diffwright.core.progress import Progress

if TYPE_CHECKING:
    from rich.table import Table

BENCHES = {
    "t2i": "diffwright.bench.t2i",
    "trace": "diffwright.bench.trace",
    "concepts": "diffwright.bench.concepts",
    "editing": "diffwright.bench.editing",
    "matching": "diffwright.bench.matching",
    "scenetext": "diffwright.bench.scenetext",
    "optim": "diffwright.bench.optim",
}
"""Module of each bench by its name on the command line."""

_PACKAGES = ("torch", "diffusers", "transformers", "numpy")
_BUSY_SHARE = 0.25


@dataclass(frozen=True)
class Figure:
    """A measured number.

    Args:
        value: the number.
        unit: such as "ms" or "dB"; empty for shares and counts.
        better: whether a lower or a higher value is better.
        note: how it was measured, in a few words.
    """

    value: float
    unit: str
    better: Literal["lower", "higher"]
    note: str = ""


def run(
    name: str,
    quick: bool = False,
    progress: Progress | None = None,
    parts: Sequence[str] | None = None,
    **data: Path | tuple[str, Path] | int | None,
) -> dict[str, Figure]:
    """Run a bench.

    Args:
        name: a key of `BENCHES`.
        quick: the short form, under two minutes.
        progress: is told the steps done; may cancel.
        parts: which of the module's `PARTS` to measure; None measures all.
        data: what else the bench can be given: folders or files of real data such as `photos`, or `cases`; None is left
            out.

    Returns:
        The figures by name.

    Raises:
        ConfigError: there is no such bench or part, or it does not read such data.
    """
    checks.one_of("bench", name, BENCHES)
    module = import_module(BENCHES[name])
    bench, known = module.run, getattr(module, "PARTS", ())
    given: dict[str, Any] = {key: path for key, path in data.items() if path is not None}
    if parts is not None:
        unknown = sorted(set(parts) - set(known))
        if unknown:
            has = f"has {', '.join(known)}" if known else "is measured whole"
            raise ConfigError(f"bench {name} was asked for the part {', '.join(unknown)}; it {has}.")
        given["parts"] = tuple(parts)
    for key in given:
        if key not in inspect.signature(bench).parameters:
            raise ConfigError(f"bench {name} was given --{key}, which it does not read; leave it out.")
    return bench(quick, progress, **given)


def median_ms(fn: Callable[[], Any], rounds: int) -> float:
    """Median time of a call in milliseconds, after one call that is not counted.

    Args:
        fn: what is timed.
        rounds: counted calls, at least 1.
    """
    return interleaved({"": fn}, rounds)[""]


def interleaved(fns: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median times of several calls that take turns, so that a change of the machine's load meets all alike.

    Args:
        fns: what is timed, by name; each is called once before the counting begins.
        rounds: counted calls of each, at least 1.

    Returns:
        Milliseconds by name.

    Raises:
        ConfigError: `rounds` is below 1.
    """
    checks.whole("rounds", rounds, 1, 10**9)
    for fn in fns.values():
        _seconds(fn)
    times: dict[str, list[float]] = {name: [] for name in fns}
    for _ in range(rounds):
        for name, fn in fns.items():
            times[name].append(_seconds(fn))
    return {name: 1e3 * median(values) for name, values in times.items()}


def _seconds(fn: Callable[[], Any]) -> float:
    _wait_for_device()
    start = time.perf_counter()
    fn()
    _wait_for_device()
    return time.perf_counter() - start


def _wait_for_device() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def environment() -> dict[str, Any]:
    """Describe code and machine; call it before measuring, while the load is that of others.

    Returns:
        `commit` and `dirty` (None outside a checkout), `date`, `machine`, `cores`, `threads`, `python`,
        versions of the packages that matter, `load` (mean of the last minute), `busy` (a sentence, or "").
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = load > _BUSY_SHARE * cores
    return {
        **_checkout(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": _machine(),
        "cores": cores,
        "threads": _threads(cores),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "load": round(load, 2),
        "busy": f"the machine was busy: load {load:.1f} on {cores} cores" if busy else "",
    }


def _checkout() -> dict[str, Any]:
    here = Path(__file__).resolve()
    tracked = _git(here.parent, "ls-files", "--error-unmatch", here.name)
    if tracked is None:
        return {"commit": None, "dirty": None}
    package = here.parents[1]
    return {
        "commit": _git(package, "rev-parse", "HEAD"),
        "dirty": bool(_git(package, "status", "--porcelain", "--", str(package))),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _machine() -> str:
    names = [platform.system(), platform.machine()]
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        names += [line.partition(":")[2].strip() for line in lines[:1]]
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        names.append(torch.cuda.get_device_name())
    return ", ".join(names)


def _threads(cores: int) -> int:
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else int(os.environ.get("OMP_NUM_THREADS") or cores)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_json(
    path: str | Path, figures: Mapping[str, Figure], surroundings: Mapping[str, Any] | None = None
) -> Path:
    """Write the figures and where they were measured.

    Args:
        path: the file; it is complete or absent.
        figures: by name.
        surroundings: what `environment` gave before the measurement; None asks for it now.

    Returns:
        The path.

    Raises:
        JobFailed: a figure is not finite, or the disk refused.
    """
    content = {name: dataclasses.asdict(figure) for name, figure in figures.items()}
    for entry in content.values():
        if not entry["note"]:
            del entry["note"]
    return atomic.write_json(path, {"figures": content, "environment": dict(surroundings or environment())})


def table(figures: Mapping[str, Figure], title: str = "") -> Table:
    """Lay the figures out for a terminal.

    Args:
        figures: by name.
        title: line above the table.
    """
    from rich.table import Table

    result = Table(title=title or None, title_justify="left")
    result.add_column("figure")
    result.add_column("value", justify="right")
    for heading in ("unit", "better", "note"):
        result.add_column(heading)
    for name, figure in figures.items():
        result.add_row(name, number(figure.value), figure.unit, figure.better, figure.note)
    return result


def number(value: float) -> str:
    """Write a number with four significant digits and no exponent where that is readable."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
