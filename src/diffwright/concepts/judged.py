"""What an edit does to pictures, as the judge reads them: efficacy, and what else falls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from diffwright.concepts.probes import CORE, Probe, probes, value_of, words_of
from diffwright.core.errors import ConfigError
from diffwright.core.progress import Progress
from diffwright.diffusion.prompts import encode, subject_span
from diffwright.diffusion.sampling import generate
from diffwright.metrics.judge import Judge


class Edit(Protocol):
    """What is judged: a ``ConceptEdit``, or any other change of weights that can be put on for a while."""

    @property
    def pairs(self) -> Sequence[tuple[str, str]]:
        """Source and target of each concept, in words."""
        ...

    def applied(self, pipe: Any) -> AbstractContextManager[None]:
        """Change the pipeline while the block runs."""
        ...


@dataclass(frozen=True)
class Change:
    """A value that becomes another one of the same attribute, or with an empty target anything else."""

    attribute: str
    source: str
    target: str

    @property
    def pair(self) -> tuple[str, str]:
        """The words of both, as ``edit_concepts`` takes them."""
        return words_of(self.attribute, self.source), words_of(self.attribute, self.target)

    def done(self, value: str) -> bool:
        """Say whether a picture of the source that is judged ``value`` shows the change."""
        return value == self.target if self.target else value != self.source


@dataclass(frozen=True)
class Plan:
    """How much is painted for each change.

    Attributes:
        split: which sentence patterns are used, ``test`` or ``train``.
        seeds: pictures for each pattern of the source.
        near: the same for the target's own prompts and those of the nearest neighbour.
        others: pictures of each other value, spread over the patterns.
        steps: denoising steps.
    """

    split: str = "test"
    seeds: int = 8
    near: int = 2
    others: int = 2
    steps: int = 15


@dataclass
class Gallery:
    """Paints and judges; pictures without an edit are judged once and remembered.

    Attributes:
        pipe: the pipeline.
        judge: reads the pictures; None where nothing is painted.
        steps: denoising steps.
        batch: pictures painted at once.
        half: paint in bfloat16.
        progress: is told the pictures painted; may cancel.
        unet_evaluations: UNet rows computed so far, guidance included.
    """

    pipe: Any
    judge: Judge | None
    steps: int = 15
    batch: int = 64
    half: bool = False
    progress: Progress | None = None
    unet_evaluations: int = 0
    _known: dict[tuple[str, int], dict[str, str]] = field(default_factory=dict, repr=False)

    def before(self, asked: Sequence[Probe]) -> list[str]:
        """Say what the unedited model's pictures show in the attribute of each probe."""
        fresh = {(p.prompt, p.seed): p for p in asked if (p.prompt, p.seed) not in self._known}
        if fresh:
            self._known |= dict(zip(fresh, self._answers(list(fresh.values())), strict=True))
        return [str(self._known[probe.prompt, probe.seed][probe.attribute]) for probe in asked]

    def after(self, edit: Edit, asked: Sequence[Probe]) -> list[str]:
        """Say what the edited model's pictures show; the pipeline is as before when this returns."""
        with edit.applied(self.pipe):
            answers = self._answers(asked)
        return [str(answer[probe.attribute]) for probe, answer in zip(asked, answers, strict=True)]

    def _answers(self, asked: Sequence[Probe]) -> list[dict[str, str]]:
        if self.judge is None:
            raise ConfigError("Pictures were to be judged, but the gallery has no judge; give it one.")
        self.unet_evaluations += 2 * self.steps * len(asked)
        pictures = generate(
            self.pipe,
            [probe.prompt for probe in asked],
            seeds=[probe.seed for probe in asked],
            steps=self.steps,
            batch=self.batch,
            half=self.half,
            progress=self.progress,
        )
        return self.judge.answers(pictures)


@dataclass(frozen=True)
class Outcome:
    """What one edit did.

    Attributes:
        change: what was asked for.
        turned: for each picture judged source before, whether it is judged target after.
        kept: by group, for each picture whether it was right before and whether it is right after. Groups are
            the other values (``color red``), ``target's own`` and ``nearest neighbour``.
    """

    change: Change
    turned: list[bool]
    kept: dict[str, list[tuple[bool, bool]]]


def try_change(gallery: Gallery, edit: Edit, change: Change, plan: Plan) -> Outcome:
    """Paint a change's prompts and unrelated ones with and without its edit.

    Args:
        gallery: paints and judges.
        edit: the edit of this change.
        change: source and target.
        plan: how much is painted.
    """
    asked = _questions(edit, change, plan, nearest(gallery.pipe, change))
    listed = [probe for _, probe in asked]
    was, now = gallery.before(listed), gallery.after(edit, listed)
    turned, kept = [], defaultdict(list)
    for (group, probe), first, second in zip(asked, was, now, strict=True):
        if group != "source":
            kept[group].append((first == probe.value, second == probe.value))
        elif first == change.source:
            turned.append(change.done(second))
    return Outcome(change, turned, dict(kept))


def _questions(edit: Edit, change: Change, plan: Plan, neighbour: str) -> list[tuple[str, Probe]]:
    """Gather the probes of a change by group; what other pairs of the edit rewrite is no unrelated value."""
    rewritten = {value_of(source) for source, _ in edit.pairs}
    full = {"source": change.source, "target's own": change.target, "nearest neighbour": neighbour}
    asked = [("source", probe) for probe in probes(change.attribute, change.source, plan.seeds, plan.split)]
    for group in ("target's own", "nearest neighbour"):
        if full[group] and (change.attribute, full[group]) not in rewritten:
            own = probes(change.attribute, full[group], plan.near, plan.split)
            asked += [(group, probe) for probe in own]
    for attribute, values in CORE.items():
        for value in values:
            special = attribute == change.attribute and value in full.values()
            if not special and (attribute, value) not in rewritten:
                few = probes(attribute, value, 1 + plan.others // 5, plan.split)[: plan.others]
                asked += [(f"{attribute} {value}", probe) for probe in few]
    return asked


def nearest(pipe: Any, change: Change) -> str:
    """Find the value whose words the text encoder reads most like those of the source, besides the target."""
    values = [v for v in CORE[change.attribute] if v not in (change.source, change.target)]
    words = [words_of(change.attribute, value) for value in (change.source, *values)]
    prompts = [f"a {word}" for word in words]
    ends = [subject_span(pipe.tokenizer, p, w)[1] for p, w in zip(prompts, words, strict=True)]
    rows = encode(pipe, prompts)[torch.arange(len(words)), torch.tensor(ends)].float()
    alike = torch.cosine_similarity(rows[:1], rows[1:])
    return values[int(alike.argmax())]


def turned(gallery: Gallery, edit: Edit, change: Change, asked: Sequence[Probe]) -> list[bool]:
    """Paint prompts of a change's source with and without its edit.

    Args:
        gallery: paints and judges.
        edit: the edit of this change.
        change: source and target.
        asked: prompts that state the source.

    Returns:
        For each picture judged source before, whether it shows the change after.
    """
    was, now = gallery.before(asked), gallery.after(edit, asked)
    return [change.done(second) for first, second in zip(was, now, strict=True) if first == change.source]


@dataclass(frozen=True)
class Summary:
    """Many outcomes together.

    Attributes:
        efficacy: share of pictures judged source before that are judged target after.
        by_attribute: the same for each attribute.
        falls: by group, how far the share of right pictures falls, worst first.
        pictures: pictures judged source before.
    """

    efficacy: float
    by_attribute: dict[str, float]
    falls: dict[str, float]
    pictures: int

    @property
    def unrelated_drop(self) -> float:
        """The worst fall over all groups, at least 0."""
        return max([0.0, *self.falls.values()])


def summarize(outcomes: Iterable[Outcome]) -> Summary:
    """Pool outcomes; every picture counts alike."""
    outcomes = list(outcomes)
    kept: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    turned: dict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        turned[outcome.change.attribute] += outcome.turned
        for group, pairs in outcome.kept.items():
            kept[group] += pairs
    falls = {
        group: share_of(a for a, _ in pairs) - share_of(b for _, b in pairs) for group, pairs in kept.items()
    }
    everything = [hit for hits in turned.values() for hit in hits]
    return Summary(
        efficacy=share_of(everything),
        by_attribute={attribute: share_of(hits) for attribute, hits in turned.items()},
        falls=dict(sorted(falls.items(), key=lambda item: -item[1])),
        pictures=len(everything),
    )


def share_of(hits: Iterable[bool]) -> float:
    """Give the share of hits; 0 where there are none."""
    listed = list(hits)
    return sum(listed) / len(listed) if listed else 0.0


def try_all(
    gallery: Gallery, changes: Sequence[Change], make: Callable[[Change], Edit], plan: Plan
) -> Summary:
    """Try one edit for each change and pool what they do.

    Args:
        gallery: paints and judges.
        changes: what is asked for, at least one.
        make: computes the edit of a change.
        plan: how much is painted.
    """
    return summarize(try_change(gallery, make(change), change, plan) for change in changes)
