"""The work of a trace, cut into pieces of rows that are scored together and may be resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from diffwright.core.images import to_pil
from diffwright.core.progress import Progress, report
from diffwright.diffusion.sampling import Encoded
from diffwright.tracing.corruption import Reading, subject_noise
from diffwright.tracing.resume import Pieces
from diffwright.tracing.scores import PictureScore, Scored, denoiser_scores, embedding_scores, picture_scores
from diffwright.tracing.states import State, unet_site
from diffwright.tracing.text import ROWS, Ends, Run, conditions, ends_of, restore, run_of
from diffwright.tracing.unet import Painted, Probe, Sampling, lock_step, probes
from diffwright.viz.strips import strip

Target = State | None
"""What a row restores; None for the corrupted run, in which nothing is restored."""


@dataclass
class Job:
    """One trace: what is restored, what is measured, and how.

    Attributes:
        pipe: the pipeline.
        readings: the prompt as each text encoder reads it.
        clean: the clean run of each.
        states: by part, what is restored.
        noise: multiple of the standard deviation of the subject's token embeddings.
        metrics: of ``embedding``, ``denoiser`` and ``pictures``.
        scorers: look at the pictures.
        sampling: how pictures are painted.
        pieces: what is finished already.
        progress: is told the work done; may cancel.
        unet_rows: rows that the UNet computed so far.
    """

    pipe: Any
    readings: Sequence[Reading]
    clean: Sequence[Run]
    states: dict[str, list[State]]
    noise: float
    metrics: Sequence[str]
    scorers: Sequence[PictureScore]
    sampling: Sampling
    pieces: Pieces
    progress: Progress | None = None
    unet_rows: int = 0

    def scores(self, seeds: Sequence[int]) -> dict[str, list[Scored]]:
        """Score all rows of all parts.

        Returns:
            By part one entry for each seed: by metric the clean run, the corrupted run and each state.
        """
        found: dict[str, list[Scored]] = {part: [] for part in self.states}
        pieces = {part: self._cut(part, states) for part, states in self.states.items()}
        total, done = len(seeds) * sum(map(len, pieces.values())), 0
        for seed in seeds:
            sample = Sample(self, seed)
            for part, listed in pieces.items():
                rows = []
                for number, targets in enumerate(listed):
                    name = f"{part}, seed {seed}, piece {number + 1} of {len(listed)}"
                    scored = self.pieces.get(name)
                    if scored is None:
                        scored = sample.score(part, targets, done, total)
                        self.pieces.put(name, scored)
                    rows.append(scored)
                    done += 1
                    self._report(done, total, 1.0 if done == total else 0.0)
                found[part].append(_joined(rows))
        return found

    def pictures(self, seed: int, best: Mapping[str, State]) -> dict[str, Image.Image]:
        """Paint the clean, the corrupted and the best restored runs of one seed.

        Args:
            seed: of the noise.
            best: by part, the state that is restored.

        Returns:
            ``clean``, ``corrupted``, ``restored-PART`` for each part, and all of them as one ``strip``.
        """
        painted = Sample(self, seed).paint([None, *best.values()]).pictures
        names = ["clean", "corrupted", *(f"restored-{part}" for part in best)]
        labels = ["clean", "corrupted", *(f"{state.name} restored" for state in best.values())]
        images = dict(zip(names, map(to_pil, painted), strict=True))
        return {**images, "strip": strip(list(painted), labels)}

    def _cut(self, part: str, states: Sequence[State]) -> list[list[Target]]:
        """Split the corrupted run and the states of a part into pieces of nearly equal size."""
        paints = part == "unet" or tuple(self.metrics) != ("embedding",)
        most = self.sampling.targets(self.pipe) if paints else ROWS
        targets: list[Target] = [None, *states]
        edges = np.linspace(0, len(targets), -(-len(targets) // most) + 1).round().astype(int)
        return [targets[a:b] for a, b in pairwise(edges.tolist())]

    def _report(self, done: int, total: int, share: float = 0.0) -> None:
        each = self.sampling.steps if "pictures" in self.metrics else 1
        if share < 1:
            report(self.progress, "tracing", done * each + round(share * each), total * each)
        else:
            report(self.progress, "tracing", total * each, total * each)


class Sample:
    """One seed of a job: its corrupted runs, and rows of conditions built from them.

    Args:
        job: the trace.
        seed: of the noise on the words and of the picture.
    """

    def __init__(self, job: Job, seed: int) -> None:
        self.job, self.seed = job, seed

    @cached_property
    def corrupted(self) -> list[Run]:
        """The corrupted run of each text encoder."""
        job = self.job
        runs = [run_of(r, subject_noise(r, [self.seed], job.noise)) for r in job.readings]
        length = job.clean[0].streams[0].shape[1]
        return [run.cut(length) for run in runs]

    @cached_property
    def points(self) -> list[Probe]:
        """Noisy latents at which predictions are compared."""
        job = self.job
        clean = conditions(job.pipe, job.readings, list(map(ends_of, job.clean)))
        job.unet_rows += job.sampling.steps * self._branches
        return probes(job.pipe, clean, seed=self.seed, sampling=job.sampling)

    @property
    def _branches(self) -> int:
        return 2 if self.job.sampling.scale(self.job.pipe) > 1 else 1

    def encoded(self, targets: Sequence[Target]) -> Encoded:
        """Give the conditions of the clean row and of one row for each target."""
        ends = []
        for reading, clean, corrupted in zip(self.job.readings, self.job.clean, self.corrupted, strict=True):
            mine = [n for n, t in enumerate(targets, 1) if t and t.site.startswith(f"{reading.prefix}.")]
            restored = restore(reading, [targets[n - 1] for n in mine], clean, corrupted)  # pyright: ignore
            pairs = zip(ends_of(clean), ends_of(corrupted), restored, strict=True)
            rows = []
            for whole, spoiled, put_back in pairs:
                stream = spoiled.repeat(len(targets) + 1, 1, 1)
                stream[0], stream[mine] = whole[0], put_back
                rows.append(stream)
            ends.append(Ends(*rows))
        return conditions(self.job.pipe, self.job.readings, ends)

    def score(self, part: str, targets: Sequence[Target], done: int = 0, total: int = 1) -> Scored:
        """Score the clean row and one row for each target by all metrics.

        Args:
            part: ``text`` or ``unet``.
            targets: what the rows restore.
            done: pieces finished before.
            total: pieces of the job.
        """
        job, scored = self.job, Scored()
        encoded, sites = self.encoded(targets), self._sites(targets)
        if part == "text":
            scored |= embedding_scores(encoded, max(reading.end for reading in job.readings))
        if "denoiser" in job.metrics:
            points = self.points
            scored |= denoiser_scores(job.pipe, points, encoded, sites, job.sampling.half)
            job.unet_rows += len(points) * len(encoded[0])
        if "pictures" in job.metrics:
            pictures, latents = self.paint(targets, encoded, done, total)
            scored |= picture_scores(pictures, latents, job.scorers)
        return scored

    def paint(
        self, targets: Sequence[Target], encoded: Encoded | None = None, done: int = 0, total: int = 0
    ) -> Painted:
        """Paint the clean row and one row for each target in lock step."""
        job = self.job
        job.unet_rows += job.sampling.steps * self._branches * (len(targets) + 1)
        return lock_step(
            job.pipe,
            encoded or self.encoded(targets),
            self._sites(targets),
            seed=self.seed,
            sampling=job.sampling,
            on_step=lambda step, steps: (
                job._report(done, total, step / steps) if total and step < steps else None
            ),
        )

    def _sites(self, targets: Sequence[Target]) -> list[Any]:
        return [unet_site(self.job.pipe, t) if t and t.token is None else None for t in targets]


def _joined(pieces: Sequence[Scored]) -> Scored:
    """Put the rows of all pieces behind each other; the clean row of the first one counts."""
    return {
        metric: [pieces[0][metric][0], *(value for piece in pieces for value in piece[metric][1:])]
        for metric in pieces[0]
    }
