"""What is measured of a run: its distance to the clean run, and what scorers see in its picture.

Every score is larger for a better run, and a distance enters with a minus sign, so that the clean run has 0. The
recovery (restored - corrupted) / (clean - corrupted) is then 1 - |restored - clean| / |corrupted - clean| for
distances, and means the same for all metrics.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from diffwright.core.errors import InputError
from diffwright.diffusion.sampling import Encoded
from diffwright.diffusion.sites import Site
from diffwright.metrics.clip_score import ClipScore
from diffwright.metrics.judge import Judge
from diffwright.tracing.unet import Probe, predict
from diffwright.world import phrases
from diffwright.world.vocabulary import ATTRIBUTES

Scored = dict[str, list[float]]
"""By metric, one number for each row."""


class PictureScore(Protocol):
    """Looks at pictures and says how well each shows what the prompt says."""

    @property
    def name(self) -> str:
        """Who looks and for what, as results record it."""
        ...

    def __call__(self, pictures: np.ndarray) -> Scored:
        """Score uint8 (B, H, W, 3) pictures; a larger number is better."""
        ...


@dataclass(frozen=True)
class JudgeScore:
    """The judge of the rendered world, asked for what the subject states.

    Gives ``judge``, the mean probability of the stated values, and ``correct``, the share of them that the
    judge names.

    Args:
        judge: reads the pictures.
        stated: attribute to value (see :func:`stated_by`).
    """

    judge: Judge
    stated: dict[str, str]

    @property
    def name(self) -> str:
        """Who looks and for what."""
        return f"judge for {', '.join(f'{attribute} {value}' for attribute, value in self.stated.items())}"

    def __call__(self, pictures: np.ndarray) -> Scored:
        """Score uint8 (B, H, W, 3) pictures of the judge's size."""
        images = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
        chances = self.judge.probabilities(images)
        sure, right = [], []
        for name, value in self.stated.items():
            column = [str(v) for v in self.judge.attributes[name]].index(value)
            sure.append(chances[name][:, column].double())
            right.append((chances[name].argmax(1) == column).double())
        return {"judge": torch.stack(sure).mean(0).tolist(), "correct": torch.stack(right).mean(0).tolist()}


@dataclass(frozen=True)
class TextImageScore:
    """CLIP score, the cosine of picture and prompt, by a scorer that is not the model under trace.

    Args:
        scorer: a CLIP model of its own.
        prompt: the clean prompt.
    """

    scorer: ClipScore
    prompt: str

    @property
    def name(self) -> str:
        """Who looks and for what."""
        return f"CLIP score by {self.scorer.name}"

    def __call__(self, pictures: np.ndarray) -> Scored:
        """Score uint8 (B, H, W, 3) pictures of any size."""
        return {"clip": self.scorer(pictures, self.prompt).tolist()}


def embedding_scores(encoded: Encoded, end: int) -> Scored:
    """Compare conditions with the clean one, which is row 0.

    Args:
        encoded: what the UNet reads, row by row.
        end: position of the first end token.

    Returns:
        ``embedding`` over all positions, ``embedding_prompt`` over those up to the end token,
        ``embedding_end`` at the end token, and ``pooled`` where the layout has a pooled vector.
    """
    rows, pooled = encoded
    parts = {"embedding": rows, "embedding_prompt": rows[:, : end + 1], "embedding_end": rows[:, end]}
    if pooled is not None:
        parts["pooled"] = pooled
    return {name: distances(part) for name, part in parts.items()}


def denoiser_scores(
    pipe: Any, points: Sequence[Probe], encoded: Encoded, sites: Sequence[Site | None], half: bool = False
) -> Scored:
    """Compare what the denoiser predicts at a few noisy latents with the clean row's prediction.

    Args:
        pipe: the pipeline.
        points: noisy latents of the clean trajectory.
        encoded: conditions of all rows, the clean one first.
        sites: layers restored in the rows (see ``lock_step``).
        half: predict in bfloat16.
    """
    predictions = [predict(pipe, point, encoded, sites, half) for point in points]
    return {"denoiser": distances(torch.stack(predictions, dim=1))}


def picture_scores(pictures: np.ndarray, latents: Tensor, scorers: Sequence[PictureScore]) -> Scored:
    """Score pictures, and compare their latents with those of the clean row, which is row 0.

    Args:
        pictures: uint8 (B, H, W, 3).
        latents: (B, C, h, w).
        scorers: look at the pictures.
    """
    found = {"latent": distances(latents)}
    for scorer in scorers:
        found |= scorer(pictures)
    return found


def distances(rows: Tensor) -> list[float]:
    """Give minus the distance of each row to the first.

    Example:
        >>> distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
        [-0.0, -5.0]
    """
    flat = rows.double().flatten(1)
    return (-(flat - flat[:1]).norm(dim=1)).tolist()


def stated_by(words: str) -> dict[str, str]:
    """Read which values of the rendered world some words of a prompt state.

    Args:
        words: such as ``mug``, ``pencil drawing``, ``two red mugs`` or ``lying on its side``.

    Returns:
        Attribute to value, as the judge names them; empty when the words state none.

    Example:
        >>> stated_by("two red mugs")
        {'count': '2', 'color': 'red', 'kind': 'mug'}
    """
    left, found = words.lower(), dict[int, tuple[str, str]]()
    for phrase, attribute, value in _PHRASES:
        match = re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", left)
        if match and attribute not in (name for name, _ in found.values()):
            found[match.start()] = (attribute, value)
            left = left[: match.start()] + "_" * len(phrase) + left[match.end() :]
    return dict(found[start] for start in sorted(found))


def _phrases() -> list[tuple[str, str, str]]:
    """List what English says for each value, longest phrases first; "one" is no count, as "a" is none."""
    said = [(value, "kind", value) for value in ATTRIBUTES["kind"]]
    said += [(plural, "kind", kind) for kind, plural in phrases.PLURALS.items()]
    said += [(value, "color", value) for value in ATTRIBUTES["color"]]
    said += [
        (word, "count", count) for count, words in phrases.NUMBERS.items() if count != "1" for word in words
    ]
    tables = {
        "style": (phrases.STYLES, phrases.MANNERS),
        "viewpoint": (phrases.VIEWS, phrases.VIEW_NOUNS),
        "pose": (phrases.POSES,),
        "place": (phrases.PLACES,),
        "material": (phrases.MATERIALS,),
    }
    for attribute, several in tables.items():
        for table in several:
            for value, options in table.items():
                for phrase in options:
                    bare = re.sub(r"^(in the style of a|as a|on the|on a|on|at|an|a) ", "", phrase)
                    said += [(form, attribute, value) for form in dict.fromkeys((phrase, bare))]
    said += [
        (phrase.replace("its side", "their sides"), "pose", "lying") for phrase in phrases.POSES["lying"]
    ]
    unique = {phrase: (attribute, value) for phrase, attribute, value in said}
    return sorted(((p, a, v) for p, (a, v) in unique.items()), key=lambda row: -len(row[0]))


_PHRASES = _phrases()


def judge_for(judge: Judge, subject: str) -> JudgeScore:
    """Ask a judge for everything that a subject states.

    Raises:
        InputError: the subject states nothing that the judge reads.
    """
    stated = {name: value for name, value in stated_by(subject).items() if name in judge.attributes}
    if not stated:
        known = ", ".join(judge.attributes)
        raise InputError(f"The subject {subject!r} states nothing that the judge reads ({known}).")
    return JudgeScore(judge, stated)
