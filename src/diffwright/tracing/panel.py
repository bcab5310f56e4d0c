"""Who looks at the pictures of traces, loaded once for many of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffwright.core.errors import InputError
from diffwright.diffusion.backbones import describe
from diffwright.metrics.clip_score import ClipScore
from diffwright.metrics.judge import Judge
from diffwright.tracing.scores import PictureScore, TextImageScore, judge_for

NONE = "none"


@dataclass(frozen=True)
class Panel:
    """The judge of the rendered world and a CLIP model, each where it fits.

    Args:
        judge: for models of the rendered world.
        clip: a model other than the one under trace.
    """

    judge: Judge | None = None
    clip: ClipScore | None = None

    @classmethod
    def load(cls, pipe: Any, scorer: str = NONE, *, offline: bool = False) -> Panel:
        """Load who can look at the pictures of a pipeline.

        Args:
            pipe: the pipeline under trace.
            scorer: directory or hub id of a CLIP model, or ``none``.
            offline: never use the network.

        Raises:
            WeightsError: the scorer is missing, damaged or unsafe.
        """
        judge = Judge.from_pretrained() if describe(pipe).layout == "pocket" else None
        return cls(judge, None if scorer == NONE else ClipScore.from_pretrained(scorer, offline=offline))

    def scorers(self, prompt: str, subject: str) -> tuple[list[PictureScore], list[str]]:
        """Ask for what a prompt says of its subject.

        Returns:
            The scorers, and a sentence for the judge if the subject states nothing that it reads.
        """
        found: list[PictureScore] = []
        missed = []
        if self.judge is not None:
            try:
                found.append(judge_for(self.judge, subject))
            except InputError as error:
                missed.append(f"not judged: {error}")
        if self.clip is not None:
            found.append(TextImageScore(self.clip, prompt))
        return found, missed
