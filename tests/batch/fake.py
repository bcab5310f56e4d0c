"""A job that computes nothing, and marks each start, for tests that kill it.

``python -m tests.batch.fake TABLE OUT WORKERS [RAY]`` runs it as a process of its own.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from diffwright.batch.engine import run
from diffwright.batch.job import Job, Prepared
from diffwright.batch.rows import Columns, read_rows
from diffwright.core.errors import ConfigError, InputError, WeightsMissing
from diffwright.core.results import Result


@dataclass(frozen=True, kw_only=True)
class Fake(Job):
    name: ClassVar[str] = "fake"
    columns: ClassVar[Columns] = Columns(("what",), ("seconds",))

    marks: str
    weights: str = "w1"
    loading: str = ""

    def prepare(self):
        self.mark("load")
        if self.loading == "missing":
            raise WeightsMissing("there is no such model")
        if self.loading == "crash":
            os._exit(9)
        return Prepared(self.work, self.weights)

    def work(self, row):
        self.mark(row.id)
        what = row.text("what")
        if what == "crash":
            os._exit(7)
        if what in ERRORS:
            raise ERRORS[what]
        while what == "hold" and not (Path(self.marks) / GO).exists():
            time.sleep(0.01)
        time.sleep(float(row.text("seconds", "0")))
        return Result(figures={"letters": len(what)}, warnings=["odd"] if what == "odd" else [])

    def mark(self, name):
        (Path(self.marks) / f"{name}~{os.getpid()}~{time.time_ns()}").touch()


GO = "go"  # the file in the folder of marks for which the row "hold" waits
ERRORS = {
    "bad": InputError("the picture is torn"),
    "bug": ZeroDivisionError("by zero"),
    "options": ConfigError("steps is 0"),
}


def marks(out, name="*"):
    """Names and processes of what was started, one for each start."""
    found = sorted((out.parent / "marks").glob(f"{name}~*"))
    return [(path.name.split("~")[0], int(path.name.split("~")[1])) for path in found]


def table(path, cells, heading="what,seconds"):
    path.write_text("\n".join([heading, *cells]) + "\n")
    return path


def job(out, **changes):
    folder = out.parent / "marks"
    folder.mkdir(exist_ok=True)
    return Fake(marks=str(folder), **changes)


def drive(words):
    file, out, workers, *ray = words
    rows = read_rows(file, Fake.columns)
    summary = run(job(Path(out)), rows, out, workers=int(workers), ray=ray[0] if ray else None)
    print(summary.done, len(summary.errors), summary.earlier)


if __name__ == "__main__":
    # Under its own name, so that workers and Ray's actors find the job's class.
    from tests.batch import fake

    fake.drive(sys.argv[1:])
