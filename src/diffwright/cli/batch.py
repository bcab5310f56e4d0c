"""``diffwright batch``: trace, match, edit or write a word for every row of a table, by processes or by Ray."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from diffwright.cli.bars import shown
from diffwright.cli.edit import EditFlags
from diffwright.cli.flags import ModelFlags, OutputFlags, command_line
from diffwright.cli.match import MatchFlags
from diffwright.cli.text import TextFlags
from diffwright.cli.trace import TraceFlags
from diffwright.core.checks import whole
from diffwright.core.errors import JobFailed
from diffwright.core.progress import Progress

if TYPE_CHECKING:
    from diffwright.batch.engine import Summary
    from diffwright.batch.job import Job

TOLD = 5
"""Errors that are printed; all are in the manifest."""

EVERY_S = 30.0
"""Between two lines of progress where there is no terminal."""


@dataclass(frozen=True, kw_only=True)
class BatchFlags(OutputFlags):
    """The table, the results, and who does the work."""

    table: Annotated[Path, tyro.conf.Positional]
    """UTF-8 CSV file; its first line names the columns, and "id" may name the results. Paths in it are seen from
    its folder."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of manifest.jsonl and of results/ID, one folder a row. The same command goes on with what is
    missing."""
    workers: int = 1
    """Processes, each with its own copy of the model."""
    ray: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """Let Ray place the workers: local starts it here, auto joins the cluster that runs here, HOST:PORT another."""
    retry: bool = False
    """Do rows again that ended in an error."""

    def finish(self, job: Job) -> None:
        """Do the job for every row and say how it went."""
        from diffwright.batch.engine import run
        from diffwright.batch.rows import read_rows

        rows = read_rows(self.table, job.columns)
        with _told() as progress:
            summary = run(
                job,
                rows,
                self.out,
                workers=self.workers,
                ray=self.ray,
                retry=self.retry,
                progress=progress,
            )
        self.say(_record(summary, self.out), _sentence(summary, self.out))
        if not summary.done:
            first = summary.errors[0]
            raise JobFailed(f"no row gave a result; the first says: {first['message']}")


@dataclass(frozen=True, kw_only=True)
class BatchTrace(TraceFlags, BatchFlags):
    """Trace every prompt of a table with the columns prompt and subject, and perhaps seed and id.

    diffwright batch trace prompts.csv --out traces --workers 4
    """

    def run(self) -> None:
        """Trace them all."""
        from diffwright.batch.trace import TraceJob

        options = self.options()
        self.finish(
            TraceJob(
                **_model(self),
                options=options,
                sampling=self.sampling(),
                scorer=_whole(self.scorer),
                pictures="pictures" in options["metrics"],
                seed=self.seed,
                seeds=self.seeds,
            )
        )


@dataclass(frozen=True, kw_only=True)
class BatchMatch(MatchFlags, BatchFlags):
    """Match the two pictures of every row of a table with the columns a and b, and perhaps seed and id.

    diffwright batch match pairs.csv --out matches --workers 4
    """

    def run(self) -> None:
        """Match them all."""
        from diffwright.batch.match import MatchJob

        self.finish(
            MatchJob(
                model=_whole(self.model),
                loading={**self.loading(), "features": self.features and _whole(self.features)},
                faithful=self.faithful,
                options=self.options(),
                seed=self.seed,
                device=self.device,
                command=command_line(),
            )
        )


@dataclass(frozen=True, kw_only=True)
class BatchEdit(EditFlags, BatchFlags):
    """Edit the picture of every row of a table with the columns image and edit, and those that the edit needs.

    diffwright batch edit edits.csv --out edited --workers 4

    The edit is move, resize, drag, replace, paste or remove, and the other columns are called as its flags, with
    "_" for "-": mask, box, point, by, scale, start, end, reference, reference_mask, at, prompt, seed. Numbers in a
    cell are separated by spaces, points of a drag by semicolons.
    """

    def run(self) -> None:
        """Edit them all."""
        whole("count", self.count, 1, 64)

        from diffwright.batch.edit import EditJob

        self.finish(
            EditJob(
                **_model(self),
                image_prompt=self.image_prompt and _whole(self.image_prompt),
                image_encoder=self.image_encoder and _whole(self.image_encoder),
                preset=self.preset,
                steps=self.steps,
                keep_outside=not self.everything,
                seed=self.seed,
                count=self.count,
            )
        )


@dataclass(frozen=True, kw_only=True)
class BatchText(TextFlags, BatchFlags):
    """Write a word into the picture of every row of a table, or erase, with the columns image, write and a region.

    diffwright batch text words.csv --out written --workers 4

    An empty cell of write erases. Where to write stands in one of the columns box ("40 60 210 120"), polygon
    ("40 60; 210 40; 214 100; 44 120") and mask (a file). The others are called as the flags of text: font, color, bold
    and italic (true or false), mix ("Karla 0.3"), instruction, seed.
    """

    def run(self) -> None:
        """Write them all."""
        whole("candidates", self.candidates, 1, 64)

        from diffwright.batch.text import TextJob

        self.finish(
            TextJob(
                model=_whole(self.model),
                base=self.base and _whole(self.base),
                candidates=self.candidates,
                guidance=self.guidance,
                steps=self.steps,
                seed=self.seed,
                device=self.device,
                command=command_line(),
            )
        )


def _model(flags: ModelFlags) -> dict[str, Any]:
    """What the jobs over a text-to-image model share."""
    loading = {name: getattr(flags, name) for name in ("dtype", "revision", "variant")}
    where = {"device": flags.device, "offline": flags.offline, "command": command_line()}
    return {"model": _whole(flags.model), "loading": loading, **where}


def _whole(source: str) -> str:
    """Name a folder so that a worker elsewhere finds it; other sources stay as they are."""
    from diffwright.weights.names import is_pocket

    return source if is_pocket(source) or not Path(source).exists() else str(Path(source).absolute())


def _record(summary: Summary, out: Path) -> dict[str, Any]:
    return {
        "command": command_line(),
        "out": str(out),
        "rows": summary.rows,
        "done": summary.done,
        "errors": len(summary.errors),
        "earlier": summary.earlier,
        "seconds": round(summary.seconds, 3),
    }


def _sentence(summary: Summary, out: Path) -> str:
    for line in summary.errors[:TOLD]:
        print(f"error: {json.dumps(line['id'])}: {line['message']}", file=sys.stderr)
    if len(summary.errors) > TOLD:
        print(f"error: and {len(summary.errors) - TOLD} more", file=sys.stderr)
    earlier = f", {summary.earlier} of them earlier" if summary.earlier else ""
    return (
        f"{summary.done} of {summary.rows} rows done, {len(summary.errors)} errors{earlier};"
        f" {summary.seconds:.0f} s; see {out / 'manifest.jsonl'}"
    )


@contextmanager
def _told() -> Iterator[Progress]:
    """A bar on a terminal; elsewhere, as in a log file, a line now and then."""
    with shown() as bar:
        yield bar or Lines()


class Lines:
    """Progress as lines with the time left.

    Args:
        every_s: Seconds between two lines.
    """

    def __init__(self, every_s: float = EVERY_S) -> None:
        self.every_s = every_s
        self.start: tuple[float, int] | None = None
        self.said = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Print a line if the last one is old; the time of rows finished in an earlier run is not counted."""
        now = time.monotonic()
        if self.start is None:
            self.start, self.said = (now, done), now
        if now - self.said < self.every_s or done == self.start[1]:
            return
        self.said = now
        left = (now - self.start[0]) / (done - self.start[1]) * (total - done)
        hours, minutes = divmod(round(left / 60), 60)
        print(f"{done} of {total} {what}, {hours}:{minutes:02d} h left", file=sys.stderr, flush=True)
