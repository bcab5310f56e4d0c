"""What a system gives to join: a job that loads its model once and turns rows into results.

A job is a frozen dataclass of plain values, so that it can be sent to other processes and machines before
anything heavy is imported::

    @dataclass(frozen=True, kw_only=True)
    class MatchJob(Job):
        name: ClassVar[str] = "match"
        columns: ClassVar[Columns] = Columns(("a", "b"), ("seed",))
        samples: int = 3

        def prepare(self) -> Prepared:
            matcher = Matcher.from_pretrained(self.model)
            return Prepared(lambda row: matcher.match(row.path("a"), row.path("b")), fingerprint(matcher.model))
"""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from diffwright.batch.rows import Columns, Row
from diffwright.core.atomic import directory, write_json
from diffwright.core.errors import Cancelled, ConfigError, DiffwrightError, InputError, JobFailed
from diffwright.core.results import Result

RESULTS, ROW = "results", "row.json"
"""Folder of the results, and the file in each that holds the row's line of the manifest."""

NOT_THE_JOB = ("command", "device", "offline")
"""Fields that say where and how a job runs, not what it computes."""


@dataclass(frozen=True)
class Prepared:
    """A job whose model is loaded.

    Args:
        work: Makes the result of a row. An error of any kind becomes the row's error; only a ConfigError, which
            is about the options of all rows, ends the batch.
        model: Fingerprint of the weights; a folder never mixes two.
    """

    work: Callable[[Row], Result]
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """What a batch does with each row; a system subclasses it and adds its options as plain JSON values.

    Args:
        model: As everywhere: a pocket name, a directory or a hub id.
        device: Where the workers compute.
        offline: Never use the network.
        command: Recorded in each result.
    """

    name: ClassVar[str]
    columns: ClassVar[Columns]

    model: str = ""
    device: str | None = None
    offline: bool = False
    command: str = ""

    @abstractmethod
    def prepare(self) -> Prepared:
        """Load the model, once in each worker."""

    def settings(self) -> dict[str, Any]:
        """Everything that decides the results, as plain JSON values."""
        options = {name: value for name, value in asdict(self).items() if name not in NOT_THE_JOB}
        return json.loads(json.dumps(options, default=str))


@dataclass(frozen=True)
class Worker:
    """What runs in a worker, whoever started it: a prepared job and the folder it fills.

    Args:
        job: What is done.
        prepared: The same with its model.
        out: Folder of the batch.
    """

    job: Job
    prepared: Prepared
    out: Path

    @classmethod
    def start(cls, job: Job, out: Path, threads: int) -> Worker:
        """Load the job's model.

        Args:
            job: What is done.
            out: Folder of the batch.
            threads: Threads for a computation, where the environment does not say.
        """
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read when torch is imported, which is now
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        return cls(job, job.prepare(), out)

    def finish(self, row: Row) -> dict[str, Any]:
        """Make the result of a row and write it, all or nothing.

        Returns:
            The row's line of the manifest.

        Raises:
            ConfigError: The options do not fit, whatever the row.
            JobFailed: The disk refused.
            Cancelled: The work was stopped.
        """
        line = {"id": row.id, "row": row.number, "key": row.key}
        start = time.perf_counter()
        try:
            if row.problem:
                raise InputError(f"row {row.id!r} cannot be used: {row.problem}")
            result = replace(self.prepared.work(row), command=self.job.command)
            seconds = round(time.perf_counter() - start, 3)
            return self._write(result, {**line, "status": "done", "seconds": seconds})
        except Exception as error:
            disk = isinstance(error, JobFailed) and isinstance(error.__cause__, OSError)
            if disk or isinstance(error, ConfigError | Cancelled):
                raise
            return {**line, **failure(error)}

    def _write(self, result: Result, line: dict[str, Any]) -> dict[str, Any]:
        folder = f"{RESULTS}/{line['id']}"
        line = {**line, "folder": folder, "figures": dict(result.figures)}
        if result.warnings:
            line["warnings"] = list(result.warnings)
        with directory(self.out / folder) as temporary:
            result.write(temporary)
            write_json(temporary / ROW, line)
        return line


def failure(error: BaseException) -> dict[str, Any]:
    """Give what the manifest says of a row that failed."""
    message = str(error)
    if not isinstance(error, DiffwrightError):
        message = f"unexpected {type(error).__name__}: {message}"
    return {"status": "error", "error": type(error).__name__, "message": message}


def portable(error: Exception) -> DiffwrightError:
    """Give an error that can be sent: ours as it is, any other as a JobFailed that names it."""
    if isinstance(error, DiffwrightError):
        return type(error)(str(error))
    return JobFailed(f"unexpected {type(error).__name__} in a worker: {error}")
