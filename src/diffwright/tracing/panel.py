"""Who looks at the pictures of traces, loaded once for many of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

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
        clip: a copy of its own, which no noise reaches.
        note: a sentence about the CLIP model, or nothing.
    """

    judge: Judge | None = None
    clip: ClipScore | None = None
    note: str = ""

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
        if scorer == NONE:
            return cls(judge)
        clip = ClipScore.from_pretrained(scorer, offline=offline)
        return cls(judge, clip, _shared(pipe, clip))

    def scorers(self, prompt: str, subject: str) -> tuple[list[PictureScore], list[str]]:
        """Ask for what a prompt says of its subject.

        Returns:
            The scorers, and a sentence for the judge if the subject states nothing that it reads.
        """
        found: list[PictureScore] = []
        missed = [self.note] if self.note else []
        if self.judge is not None:
            try:
                found.append(judge_for(self.judge, subject))
            except InputError as error:
                missed.append(f"not judged: {error}")
        if self.clip is not None:
            found.append(TextImageScore(self.clip, prompt))
        return found, missed


def _shared(pipe: Any, clip: ClipScore) -> str:
    """Say where the scorer reads text by the very weights under trace, as CLIP ViT-L/14 does beside SD 1.x."""
    theirs = {
        name.removeprefix("text_model."): value for name, value in clip.model.text_model.state_dict().items()
    }
    for part in ("text_encoder", "text_encoder_2"):
        encoder = getattr(pipe, part, None)
        if encoder is None:
            continue
        mine = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
        name = "embeddings.token_embedding.weight"
        if (
            name in mine
            and name in theirs
            and torch.equal(mine[name].float().cpu(), theirs[name].float().cpu())
        ):
            return (
                f"the scorer {clip.name} reads text by the weights of the {part} under trace (a copy that no noise "
                "reaches); a scorer trained apart is the stricter one"
            )
    return ""
