"""Workers as processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from diffwright.batch.crew import Said
from diffwright.batch.job import Job, Worker, portable
from diffwright.batch.rows import Row
from diffwright.core.processes import end_with_parent

Pipe = Any  # multiprocessing's Connection, whose type differs between systems

END_S = 5
"""Seconds that a worker has to end by itself."""


class LocalCrew:
    """Fresh processes, one row each at a time; a worker that dies takes nothing but its row along.

    Args:
        job: What is done.
        out: Folder of the batch.
        workers: How many there will be at a time; they share the machine's cores.
    """

    def __init__(self, job: Job, out: Path, workers: int) -> None:
        self.job, self.out = job, out
        self.threads = max(1, (os.cpu_count() or 1) // workers)
        self.processes: dict[int, tuple[SpawnProcess, Pipe]] = {}

    def start(self, worker: int) -> None:
        """Start a process."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.job, self.out, self.threads), daemon=True)
        process.start()
        theirs.close()
        self.processes[worker] = process, ours

    def give(self, worker: int, row: Row) -> None:
        """Send a row; if the worker is dead, ``listen`` says so."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.processes[worker][1].send(row)

    def listen(self) -> list[Said]:
        """Wait for messages; the end of a pipe is the end of its worker."""
        numbers = {pipe: worker for worker, (_, pipe) in self.processes.items()}
        return [self._heard(numbers[pipe]) for pipe in wait([*numbers])]

    def close(self) -> None:
        """End all processes; idle ones see the end of their pipe, others are terminated."""
        for process, pipe in self.processes.values():
            pipe.close()
            process.terminate()
        for process, _ in self.processes.values():
            process.join(END_S)
            if process.is_alive():
                process.kill()
                process.join()
        self.processes.clear()

    def _heard(self, worker: int) -> Said:
        process, pipe = self.processes[worker]
        try:
            what, content = pipe.recv()
        except (EOFError, OSError):
            del self.processes[worker]
            pipe.close()
            process.join(END_S)
            return Said(worker, "died", _how(process.exitcode))
        return Said(worker, what, content)


def _serve(pipe: Pipe, job: Job, out: Path, threads: int) -> None:
    """Body of a worker: load, then finish rows until the pipe ends."""
    end_with_parent()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            worker = Worker.start(job, out, threads)
            pipe.send(("ready", worker.prepared.model))
            while True:
                pipe.send(("line", worker.finish(pipe.recv())))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            pipe.send(("stop", portable(error)))


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
