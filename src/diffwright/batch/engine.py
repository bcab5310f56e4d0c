"""Rows to workers, whoever schedules them: who is free gets the next row, who dies is replaced.

A worker has at most one row. It writes the row's result itself and then says so; only then comes the line of the
manifest. So a kill of any process, at any moment, loses and repeats at most the rows in flight.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from diffwright.batch.crew import Crew, Said
from diffwright.batch.job import RESULTS, ROW, Job, failure
from diffwright.batch.manifest import Manifest, locked
from diffwright.batch.rows import Row
from diffwright.core.checks import whole
from diffwright.core.errors import JobFailed
from diffwright.core.progress import Progress, report

LIVES = 3
"""Workers that a row, or the loading of the model, may take down before it counts as failed."""

MAX_WORKERS = 1024


@dataclass(frozen=True)
class Summary:
    """How a batch ended.

    Args:
        rows: Rows of the table.
        done: Rows with a result.
        errors: Lines of the rows without.
        earlier: Rows that were finished before this run.
        seconds: Time of this run.
    """

    rows: int
    done: int
    errors: Sequence[dict[str, Any]]
    earlier: int
    seconds: float


def run(
    job: Job,
    rows: Sequence[Row],
    out: str | PathLike[str],
    *,
    workers: int = 1,
    ray: str | None = None,
    retry: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Do a job for every row; the same call again goes on where a stopped run was.

    Args:
        job: What is done.
        rows: The table, see ``rows.read_rows``.
        out: Folder of the results and the manifest; a new one, or that of an earlier run of the same job.
        workers: Processes, each with its own copy of the model.
        ray: Address of a Ray cluster that schedules the workers, or ``local`` for one on this machine.
        retry: Do rows again that ended in an error.
        progress: Told after each row; may stop the run.

    Returns:
        Counts and the errors.

    Raises:
        InputError: The folder belongs to another job.
        ConfigError: The options of the job do not fit, or another run fills the folder.
        WeightsError: The model cannot be loaded.
        MissingExtra: Ray is asked for and not installed.
        JobFailed: The disk refused, or workers keep dying while they load the model.
        Cancelled: ``progress`` asked to stop; what is finished stays.
    """
    whole("workers", workers, 1, MAX_WORKERS)
    out, start = Path(out).absolute(), time.perf_counter()
    with locked(out):
        manifest = Manifest(out, job)
        waiting = manifest.resume(rows, retry)
        earlier = done = len(rows) - len(waiting)
        report(progress, "rows", done, len(rows))
        if waiting:
            workers = min(workers, len(waiting))
            shift = Shift(_crew(job, out, workers, ray), manifest, waiting)
            with closing(shift.lines(workers)) as lines:
                for line in lines:
                    manifest.append(line)
                    done += 1
                    report(progress, "rows", done, len(rows))
            manifest.sweep()
    told = [manifest.lines[row.id] for row in rows]
    errors = [line for line in told if line["status"] == "error"]
    seconds = time.perf_counter() - start
    return Summary(len(rows), len(rows) - len(errors), errors, earlier, seconds)


def _crew(job: Job, out: Path, workers: int, ray: str | None) -> Crew:
    if ray is None:
        from diffwright.batch.local import LocalCrew

        return LocalCrew(job, out, workers)
    from diffwright.batch.ray_crew import RayCrew

    return RayCrew(job, out, workers, ray)


class Shift:
    """Who has which row, until all rows are finished.

    Args:
        crew: Starts workers and carries rows.
        manifest: Knows whose weights are used and where results lie.
        rows: What is to do.
    """

    def __init__(self, crew: Crew, manifest: Manifest, rows: Sequence[Row]) -> None:
        self.crew, self.manifest, self.waiting = crew, manifest, deque(rows)
        self.loading, self.idle = set[int](), list[int]()
        self.held: dict[int, Row] = {}
        self.taken = Counter[str]()  # workers that each row took down
        self.started = self.lost = 0  # workers; those lost while loading since one was last ready

    def lines(self, workers: int) -> Generator[dict[str, Any], None, None]:
        """Yield the manifest's line of each row as it is finished, in any order."""
        try:
            for _ in range(workers):
                self._start()
            while self.waiting or self.held:
                while self.waiting and self.idle:
                    self._give()
                for said in self.crew.listen():
                    line = self._hear(said)
                    if line is not None:
                        yield line
        finally:
            self.crew.close()

    def _start(self) -> None:
        self.started += 1
        self.loading.add(self.started)
        self.crew.start(self.started)

    def _give(self) -> None:
        worker, row = self.idle.pop(), self.waiting.popleft()
        self.held[worker] = row
        self.crew.give(worker, row)

    def _hear(self, said: Said) -> dict[str, Any] | None:
        if said.what == "stop":
            raise said.content
        if said.what == "died":
            return self._replace(said)
        self.idle.append(said.worker)
        if said.what == "ready":
            self.loading.discard(said.worker)
            self.lost = 0
            self.manifest.weights(said.content)
            return None
        del self.held[said.worker]
        _check_written(self.manifest.out, said.content)
        return said.content

    def _replace(self, said: Said) -> dict[str, Any] | None:
        """Start another worker where it is needed; its row is tried again, or failed if it took several down."""
        row, line = self.held.pop(said.worker, None), None
        if row is not None:
            self.taken[row.id] += 1
            if self.taken[row.id] < LIVES:
                self.waiting.appendleft(row)
            else:
                line = _fatal(row, said.content)
        elif said.worker in self.loading:
            self.loading.remove(said.worker)
            self.lost += 1
            _check_loading(self.lost, said.content)
        else:
            self.idle.remove(said.worker)
        if len(self.waiting) > len(self.idle) + len(self.loading):
            self._start()
        return line


def _check_written(out: Path, line: dict[str, Any]) -> None:
    """Check that a result is where this process can read it."""
    if line["status"] == "done" and not (out / RESULTS / line["id"] / ROW).is_file():
        raise JobFailed(
            f"a worker finished row {line['id']!r}, but {out / line['folder']} is not here; name an output folder that"
            " all machines share"
        )


def _fatal(row: Row, how: str) -> dict[str, Any]:
    error = JobFailed(f"row {row.id!r} ended {LIVES} workers ({how}); it may need more memory than there is")
    return {"id": row.id, "row": row.number, "key": row.key, **failure(error)}


def _check_loading(deaths: int, how: str) -> None:
    if deaths >= LIVES:
        raise JobFailed(
            f"{deaths} workers ended while they loaded the model ({how}); there may be too little memory for so many,"
            " so name fewer"
        )
