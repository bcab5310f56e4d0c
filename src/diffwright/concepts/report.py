"""What an edit did, for people: judged pictures, paraphrases, neighbours, a strip of before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from diffwright.concepts.concept_edit import FILE
from diffwright.concepts.edit import ConceptEdit
from diffwright.concepts.judged import Change, Gallery, Plan, summarize, try_change
from diffwright.concepts.phrase import Phrase
from diffwright.concepts.probes import value_of
from diffwright.concepts.rewrite import Rewrite
from diffwright.concepts.wordings import PARAPHRASES
from diffwright.core.atomic import write_text
from diffwright.core.errors import InputError
from diffwright.core.progress import Progress
from diffwright.core.results import Result
from diffwright.diffusion.prompts import encode, named
from diffwright.diffusion.sampling import generate
from diffwright.metrics.judge import Judge
from diffwright.viz.strips import sheet


@dataclass(frozen=True, kw_only=True)
class EditResult(Result):
    """What ``fix make`` writes: the edit, the strip, the report as text, and the record.

    Attributes:
        edit: the edit.
        text: the report for people.
    """

    edit: ConceptEdit
    text: str

    def record(self) -> dict[str, Any]:
        """Give what ``result.json`` holds."""
        edit = {
            "pairs": self.edit.pairs,
            "kinds": [rewrite.kind for rewrite in self.edit.rewrites],
            "preserve": self.edit.preserve,
            "file": FILE,
        }
        return {
            **super().record(),
            **edit,
            "settings": asdict(self.edit.choice),
            "fits": list(map(asdict, self.edit.fits)),
            "crowding": list(map(asdict, self.edit.crowding)),
        }

    def write(self, folder: Path) -> None:
        """Write all files into a fresh folder."""
        super().write(folder)
        self.edit.save(folder / FILE)
        write_text(folder / "report.txt", self.text + "\n")


@dataclass(frozen=True)
class Moved:
    """How far an edit moves the text encoding.

    Attributes:
        paraphrases: how far the source's encoding comes to the target's in prompts that the edit was not made
            from; 1 is all the way, 0 not at all.
        neighbours: the same length for other concepts, relative to the distance of source and target.
    """

    paraphrases: float
    neighbours: float


def encoding_moves(
    pipe: Any, edit: ConceptEdit, neighbours: Sequence[str] = (), *, most: int = 20
) -> dict[str, Moved]:
    """Measure an edit on text alone, for text-encoder sites of any model.

    Args:
        pipe: the pipeline; as before when this returns.
        edit: an edit that is not applied.
        neighbours: concepts that should not move.
        most: concepts that are measured, the first ones.

    Returns:
        By pair, ``"source -> target"``.
    """
    measured = edit.rewrites[:most]
    others = [Phrase.of(text, word).prompt for word in neighbours for text in PARAPHRASES]
    sources = [[Phrase.of(text, r.source).prompt for text in PARAPHRASES] for r in measured]
    said = [prompt for r in measured for text in PARAPHRASES for prompt in r.said(text)]
    asked = [*others, *(prompt for prompts in sources for prompt in prompts)]
    wanted, clean = encode(pipe, said).float(), encode(pipe, asked).float()
    with edit.applied(pipe):
        edited = encode(pipe, asked).float()
    drift = float(_lengths(edited[: len(others)] - clean[: len(others)]).mean()) if others else 0.0
    found, at, count = {}, len(others), len(PARAPHRASES)
    for rewrite, part in zip(measured, wanted.split([count * len(r.targets) for r in measured]), strict=True):
        shares = torch.tensor(rewrite.shares).to(part)[None, :, None, None]
        goal = (part.unflatten(0, (count, -1)) * shares).sum(1)
        gap = _lengths(clean[at : at + count] - goal).clamp_min(1e-12)
        reached = 1 - (_lengths(edited[at : at + count] - goal) / gap).mean()
        found[f"{rewrite.source} -> {rewrite.target}"] = Moved(float(reached), drift / float(gap.mean()))
        at += count
    return found


def _lengths(rows: torch.Tensor) -> torch.Tensor:
    return rows.flatten(1).norm(dim=1)


def strip(
    pipe: Any,
    edit: ConceptEdit,
    prompts: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2, 3),
    *,
    steps: int = 25,
    progress: Progress | None = None,
) -> tuple[Image.Image, list[str]]:
    """Paint prompts before and after an edit with equal seeds.

    Args:
        pipe: the pipeline; as before when this returns.
        edit: an edit that is not applied.
        prompts: at least one.
        seeds: of the noise, a column each.
        steps: denoising steps.
        progress: is told the steps done; may cancel.

    Returns:
        The sheet, two rows for each prompt, and warnings about prompts whose pictures did not change.
    """
    if not prompts:
        raise InputError("No prompt to show the edit on; give at least one with --preview.")
    pairs = [(prompt, seed) for prompt in prompts for seed in seeds]
    words, noise = [prompt for prompt, _ in pairs], [seed for _, seed in pairs]
    before = generate(pipe, words, seeds=noise, steps=steps, progress=progress)
    with edit.applied(pipe):
        after = generate(pipe, words, seeds=noise, steps=steps, progress=progress)
    pictures, labels, unchanged = [], [], []
    for row, prompt in enumerate(prompts):
        part = slice(row * len(seeds), (row + 1) * len(seeds))
        pictures += [*before[part], *after[part]]
        labels += [f"{prompt} (seed {seed})" for seed in seeds] + [f"edited (seed {seed})" for seed in seeds]
        if np.array_equal(before[part], after[part]):
            unchanged.append(f"the edit changed no picture of {prompt!r}; is its word in the prompt?")
    return sheet(pictures, labels, columns=len(seeds)), unchanged


def preview_prompts(edit: ConceptEdit, given: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Choose what to show an edit on.

    Args:
        edit: the edit.
        given: prompts of the user; ``a photo of a SOURCE`` for each pair without them.

    Returns:
        The prompts, and warnings about those that name no source.
    """
    prompts = list(given) or [f"a photo of a {source}" for source, _ in edit.pairs]
    missed = [prompt for prompt in given if not any(named(prompt, source) for source, _ in edit.pairs)]
    return prompts, [f"the prompt {prompt!r} names none of the edited concepts" for prompt in missed]


def judged_report(
    pipe: Any, judge: Judge, edit: ConceptEdit, plan: Plan | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Paint and judge an edit whose concepts are values of the rendered world.

    Args:
        pipe: the pipeline; as before when this returns.
        judge: reads the pictures.
        edit: an edit that is not applied.
        plan: how much is painted for each pair; two seeds a pattern without it.
        progress: is told the steps done; may cancel.

    Returns:
        ``efficacy``, ``by_attribute``, ``unrelated_drop``, ``falls``, ``pictures`` and ``unet_evaluations``.

    Raises:
        InputError: a concept is no value that the judge reads, or a pair mixes attributes.
    """
    changes = [change_of(rewrite) for rewrite in edit.rewrites]
    plan = plan or Plan(seeds=2, near=1, others=1)
    gallery = Gallery(pipe, judge, steps=plan.steps, half=True, progress=progress)
    summary = summarize(try_change(gallery, edit, change, plan) for change in changes)
    figures = asdict(summary) | {"unrelated_drop": summary.unrelated_drop}
    return figures | {"unet_evaluations": gallery.unet_evaluations}


def change_of(rewrite: Rewrite) -> Change:
    """Read a rewrite as a change of one attribute; what erases a value may turn it into any other.

    Raises:
        InputError: a word is no value that the judge reads, or the two belong to different attributes.
    """
    attribute, before = value_of(rewrite.source)
    if rewrite.kind == "erase":
        return Change(attribute, before, "")
    other, after = value_of(rewrite.target)
    if attribute != other:
        raise InputError(
            f"{rewrite.source!r} is a {attribute} and {rewrite.target!r} a {other}; the judge compares "
            "values of one."
        )
    return Change(attribute, before, after)
