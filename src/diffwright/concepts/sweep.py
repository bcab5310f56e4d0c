"""Which site and strength work best: all are screened by the denoiser, the best are painted and judged."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from diffwright.concepts.choice import Choice, default_choice
from diffwright.concepts.concept_edit import ConceptEdit
from diffwright.concepts.edit import edit_concepts
from diffwright.concepts.judged import Change, Gallery, Plan, Summary, try_all
from diffwright.concepts.phrase import Phrase
from diffwright.concepts.probes import CORE, probes
from diffwright.concepts.recommend import Effects, Recommendation, Row, from_effects, recommend
from diffwright.concepts.rewrite import Rewrite
from diffwright.concepts.wordings import PARAPHRASES
from diffwright.core.errors import ConfigError, UnsupportedBackbone
from diffwright.core.progress import report
from diffwright.core.seeding import generator
from diffwright.diffusion.backbones import require
from diffwright.diffusion.prompts import encode, named
from diffwright.diffusion.sites import sites

LAMBDAS = (1e-3, 1e-2, 1e-1, 1.0)
NOISE_LEVELS = (0.95, 0.7)
CROSS_ATTENTION = ("unet.*.attn2.*.k", "unet.*.attn2.*.v")


@dataclass(frozen=True)
class Sweep:
    """What a sweep found.

    Attributes:
        rows: all candidates, painted ones first, best first.
        recommended: the site to edit, and why.
    """

    rows: tuple[Row, ...]
    recommended: Recommendation


def candidates(pipe: Any, *, brief: bool = False) -> list[Choice]:
    """List what a sweep tries: every text layer's attention and feed-forward output, and the cross-attention.

    Args:
        pipe: a pipeline with one text encoder.
        brief: only the layout's own aim, one choice of tokens and three strengths.
    """
    usual = default_choice(require(pipe, "fix").layout)
    found = []
    for lam in LAMBDAS[1:] if brief else LAMBDAS:
        for site in sites(pipe, ["attn.out", "mlp.out"]):
            for aim in (usual.aim,) if brief else ("output", "stream"):
                found.append(replace(usual, site=(site.name,), lam=lam, aim=aim))
        for tokens in ("last",) if brief else ("last", "last+eos", "last+eos+pad"):
            found.append(replace(usual, site=CROSS_ATTENTION, lam=lam, tokens=tokens, aim="output"))
    return found


def make_edit(pipe: Any, change: Change, choice: Choice) -> ConceptEdit:
    """Compute the edit of a change with given settings."""
    return edit_with(pipe, [Rewrite.replace(*change.pair)], choice)


def edit_with(
    pipe: Any, pairs: Sequence[Rewrite], choice: Choice, preserve: Sequence[str] = ()
) -> ConceptEdit:
    """Compute an edit with all settings given."""
    return edit_concepts(
        pipe,
        pairs,
        preserve,
        preserve_prompts=choice.held,
        mode=choice.mode,
        site=choice.site,
        lam=choice.lam,
        templates=choice.templates,
        tokens=choice.tokens,
        aim=choice.aim,
        preserve_weight=choice.preserve_weight,
        null_threshold=choice.null_threshold,
        average=choice.average,
    )


def sweep(
    gallery: Gallery,
    changes: Sequence[Change],
    choices: Sequence[Choice] | None = None,
    *,
    finalists: int = 4,
    plan: Plan | None = None,
    effects: Effects | None = None,
) -> Sweep:
    """Screen every candidate by the denoiser's predictions, then paint and judge the best.

    Args:
        gallery: paints and judges; its progress callback may cancel.
        changes: development changes, at least one; keep those that measure the result out of here.
        choices: candidates; ``candidates(pipe)`` without them.
        finalists: how many are painted, the best of each site and choice of tokens; 0 paints none.
        plan: how much is painted; patterns of the training split without it.
        effects: a trace's effect of each site, to be compared with what the edits did.

    Returns:
        All candidates, and the recommended site.

    Raises:
        ConfigError: there are no changes.
        UnsupportedBackbone: the layout has two text encoders.
    """
    if not changes:
        raise ConfigError("A sweep needs at least one change to try; none was given.")
    screens = [(Screen.of_change(gallery, change), [Rewrite.replace(*change.pair)]) for change in changes]
    rows = _screened(gallery, screens, choices or candidates(gallery.pipe))
    recommended = recommend(rows, effects)
    plan = plan or Plan(split="train", seeds=1, near=1, others=1, steps=gallery.steps)
    best, others = _best_of_each(rows, finalists)
    painted = [replace(row, judged=_judged(gallery, changes, row.choice, plan)) for row in best]
    return Sweep((*sorted(painted, key=lambda row: -row.score), *others), recommended)


def _best_of_each(rows: Sequence[Row], most: int) -> tuple[list[Row], list[Row]]:
    """Part ranked rows into the first of each site and choice of tokens, ``most`` of them, and the others."""
    firsts: dict[tuple, Row] = {}
    for row in rows:
        firsts.setdefault((row.choice.site, row.choice.tokens), row)
    best = list(firsts.values())[:most]
    return best, [row for row in rows if not any(row is chosen for chosen in best)]


def choose_site(
    gallery: Gallery, asked: Sequence[Rewrite], effects: Effects | None = None, *, most: int = 3
) -> Recommendation:
    """Choose where to edit given concepts, whatever their words: from a trace, or by trying every site on them.

    Args:
        gallery: nothing is painted; its UNet evaluations are counted.
        asked: what is to be rewritten.
        effects: a trace's effect of each site; with it no edit is tried.
        most: concepts that are tried, the first ones.

    Raises:
        InputError: none of the effects belongs to an editable site.
        UnsupportedBackbone: there are no effects, and the layout has two text encoders.
    """
    if effects:
        return from_effects(gallery.pipe, effects)
    screens = [(Screen.of_rewrite(gallery, rewrite), [rewrite]) for rewrite in asked[:most]]
    return recommend(_screened(gallery, screens, candidates(gallery.pipe, brief=True)))


def _screened(
    gallery: Gallery, screens: Sequence[tuple[Screen, list[Rewrite]]], choices: Sequence[Choice]
) -> list[Row]:
    rows = []
    for number, choice in enumerate(choices):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # weak candidates are told by their figures
            seen = [screen.measure(edit_with(gallery.pipe, asked, choice)) for screen, asked in screens]
        rows.append(Row(choice, *torch.tensor(seen).mean(dim=0).tolist()))
        report(gallery.progress, "screening", number + 1, len(choices))
    return sorted(rows, key=lambda row: -row.score)


def _judged(gallery: Gallery, changes: Sequence[Change], choice: Choice, plan: Plan) -> Summary:
    return try_all(gallery, changes, lambda change: make_edit(gallery.pipe, change, choice), plan)


class Screen:
    """The denoiser's predictions at a few noisy latents, for a concept's prompts and for unrelated ones.

    Args:
        gallery: its pipeline is measured; its count of UNet evaluations grows.
        source: prompts with the concept.
        target: for each part of what it becomes, the same prompts with it.
        shares: how much of each part; they sum to 1.
        others: prompts that should not change.

    Raises:
        UnsupportedBackbone: the layout has two text encoders.
    """

    def __init__(
        self,
        gallery: Gallery,
        source: Sequence[str],
        target: Sequence[Sequence[str]],
        others: Sequence[str],
        shares: Sequence[float] = (1.0,),
    ) -> None:
        if len(require(gallery.pipe, "fix").text_encoders) > 1:
            raise UnsupportedBackbone("A sweep works on layouts with one text encoder; this one has two.")
        self.gallery, self.source, self.others = gallery, list(source), list(others)
        self.at_source = self._predict(self.source)
        parts = [share * self._predict(list(said)) for share, said in zip(shares, target, strict=True)]
        self.at_target = torch.stack(parts).sum(0)
        self.at_others = self._predict(self.others)

    @classmethod
    def of_change(cls, gallery: Gallery, change: Change) -> Screen:
        """Screen a change of a value of the rendered world."""
        source, target = (
            [probe.prompt for probe in probes(change.attribute, value, 1)]
            for value in (change.source, change.target)
        )
        others = [
            (attribute, value)
            for attribute, values in CORE.items()
            for value in values
            if attribute != change.attribute or value not in (change.source, change.target)
        ]
        step = max(1, len(others) // 8)
        return cls(
            gallery,
            source,
            [target],
            [probes(*other, 1)[i % 5].prompt for i, other in enumerate(others[::step])],
        )

    @classmethod
    def of_rewrite(cls, gallery: Gallery, rewrite: Rewrite) -> Screen:
        """Screen any rewrite, on a few paraphrases and on captions that do not name it."""
        usual = default_choice(require(gallery.pipe, "fix").layout, "covariance")
        others = [prompt for prompt in usual.held if not named(prompt, rewrite.source)]
        texts = PARAPHRASES[:5]
        return cls(
            gallery,
            [Phrase.of(text, rewrite.source).prompt for text in texts],
            list(zip(*(rewrite.said(text) for text in texts), strict=True)),
            others[:: max(1, len(others) // 8)],
            rewrite.shares,
        )

    def measure(self, edit: ConceptEdit) -> tuple[float, float]:
        """Give recovery and drift of an edit (see ``Row``)."""
        with edit.applied(self.gallery.pipe):
            source, others = self._predict(self.source), self._predict(self.others)
        gap = (self.at_source - self.at_target).flatten(1).norm(dim=1).clamp_min(1e-12)
        left = (source - self.at_target).flatten(1).norm(dim=1)
        moved = (others - self.at_others).flatten(1).norm(dim=1)
        return float(1 - (left / gap).mean()), float(moved.mean() / gap.mean())

    @torch.no_grad()
    def _predict(self, prompts: list[str]) -> Tensor:
        pipe = self.gallery.pipe
        encodings = encode(pipe, prompts)
        last = pipe.scheduler.config.num_train_timesteps - 1
        shape = (1, pipe.unet.config.in_channels, pipe.unet.config.sample_size, pipe.unet.config.sample_size)
        noise = torch.randn(shape, generator=generator(0)).to(encodings).expand(len(prompts), -1, -1, -1)
        self.gallery.unet_evaluations += len(NOISE_LEVELS) * len(prompts)
        with torch.autocast(encodings.device.type, torch.bfloat16, enabled=self.gallery.half):
            predictions = [
                pipe.unet(noise, round(level * last), encoder_hidden_states=encodings).sample
                for level in NOISE_LEVELS
            ]
        return torch.stack(predictions, dim=1).float().cpu()


def table(rows: Sequence[Row]) -> str:
    """Write a sweep as a table for people."""
    lines = [f"{'recovery':>8} {'drift':>7} {'efficacy':>8} {'drop':>6}  settings"]
    for row in rows:
        judged = (
            ("", "")
            if row.judged is None
            else (f"{row.judged.efficacy:.2f}", f"{row.judged.unrelated_drop:.2f}")
        )
        lines.append(f"{row.recovery:>8.3f} {row.drift:>7.3f} {judged[0]:>8} {judged[1]:>6}  {row.choice}")
    return "\n".join(lines)
