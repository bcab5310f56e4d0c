"""The folder of a batch: which job it belongs to, the results, and a manifest with one line for each row.

::

    OUT/batch.json          the job: name, settings, fingerprint of the weights
    OUT/manifest.jsonl      one line for each finished row: done with its folder, or error with its sentence
    OUT/results/ID/         the result of a row, complete or absent; row.json in it is its line of the manifest

The results are the truth and the manifest their index: a line that a crash cut off is written again from its
result.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffwright.batch.job import RESULTS, ROW, Job
from diffwright.batch.rows import Row
from diffwright.core.atomic import write_json, write_text
from diffwright.core.errors import ConfigError, InputError
from diffwright.core.strict_json import read_object

FORMAT = "diffwright-batch-1"
JOB, MANIFEST, LOCK = "batch.json", "manifest.jsonl", ".lock"
_MAX_LINE = 2**24


class Manifest:
    """A batch's folder, opened by the one process that writes its manifest.

    Args:
        out: The folder; new, empty, or of an earlier run of the same job.
        job: What is done.

    Raises:
        InputError: The folder belongs to another job or holds something else.
    """

    def __init__(self, out: Path, job: Job) -> None:
        self.out = out
        self.lines: dict[str, dict[str, Any]] = {}
        self._claim(job)

    def resume(self, rows: Sequence[Row], retry: bool = False) -> list[Row]:
        """Find what is still to do, and write a manifest of what is done.

        Args:
            rows: All rows of the table.
            retry: Do rows again that ended in an error.

        Returns:
            The rows without a result.

        Raises:
            InputError: The folder holds the result of another row under an id of the table.
        """
        self.sweep()
        told = {line["id"]: line for line in _read_lines(self.out / MANIFEST)}
        waiting = []
        for row in rows:
            line = self._result(row) or _error(told.get(row.id), row, retry)
            if line is None:
                told.pop(row.id, None)
                waiting.append(row)
            else:
                told[row.id] = line
        self.lines = told
        write_text(self.out / MANIFEST, "".join(map(_jsonl, told.values())))
        return waiting

    def append(self, line: dict[str, Any]) -> None:
        """Add the line of a finished row."""
        self.lines[line["id"]] = line
        with (self.out / MANIFEST).open("a", encoding="utf-8") as file:
            file.write(_jsonl(line))

    def sweep(self) -> None:
        """Remove what killed workers left half-written; no worker may be at work."""
        for leftover in (self.out / RESULTS).glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)

    def weights(self, fingerprint: str) -> None:
        """Note which weights the results come from.

        Raises:
            InputError: Earlier results come from others.
        """
        record = read_object(self.out / JOB, error=InputError)
        if record["model"] is None:
            write_json(self.out / JOB, {**record, "model": fingerprint})
        elif record["model"] != fingerprint:
            raise InputError(
                f"{self.out} holds results of weights {record['model'][:12]}, the model given now has"
                f" {fingerprint[:12]}; name another folder, or the model of before"
            )

    def _claim(self, job: Job) -> None:
        mark, wanted = self.out / JOB, {"format": FORMAT, "job": job.name, "settings": job.settings()}
        if not mark.exists():
            if self.out.is_symlink() or (self.out.exists() and not self.out.is_dir()):
                raise InputError(f"{self.out} is not a folder; name a new or empty folder for the results")
            held = (
                [path.name for path in self.out.iterdir() if path.name != LOCK] if self.out.exists() else []
            )
            if held:
                raise InputError(
                    f"{self.out} already holds {min(held)!r}, which is of no batch; name a new or empty folder"
                )
            write_json(mark, {**wanted, "model": None})
        found = read_object(mark, error=InputError)
        differs = _difference(found, wanted)
        if differs:
            raise InputError(
                f"{self.out} belongs to another job: {differs}; name another folder, or the options of before"
            )
        (self.out / RESULTS).mkdir(exist_ok=True)

    def _result(self, row: Row) -> dict[str, Any] | None:
        """The line that lies in the row's result, if there is one."""
        folder = self.out / RESULTS / row.id
        if not (folder / ROW).is_file():
            return None
        line = read_object(folder / ROW, _MAX_LINE, InputError)
        if line.get("key") != row.key:
            raise InputError(
                f"row {row.number} of the table differs from the one whose result is in {folder}; name another folder"
                " for another table, or remove that one to do the row anew"
            )
        return {**line, "row": row.number}


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a folder for one driver; the lock goes with its process, however that ends.

    Raises:
        ConfigError: Another process holds it.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is not a folder; name a new or empty folder for the results")
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{out} is being filled by another run; wait for it or end it") from error
        yield


def _read_lines(file: Path) -> Iterable[dict[str, Any]]:
    """Whole lines only: results are found again without the manifest, and an error's row is done again."""
    if not file.exists():
        return
    for line in file.read_bytes().splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            yield value


def _error(line: dict[str, Any] | None, row: Row, retry: bool) -> dict[str, Any] | None:
    same = line is not None and line.get("status") == "error" and line.get("key") == row.key
    return line if same and not retry else None


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    if found.get("format") != FORMAT or not isinstance(found.get("settings"), dict):
        return f"its {JOB} is of no batch of this version"
    if found.get("job") != wanted["job"]:
        return f"it holds results of batch {found.get('job')}, not {wanted['job']}"
    old, new = found["settings"], wanted["settings"]
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return ", ".join(f"{name} was {old.get(name)!r}, now {new.get(name)!r}" for name in names[:3])


def _jsonl(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"
