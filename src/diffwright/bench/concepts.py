"""How fast, how exact and how well concepts are edited."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from diffwright.bench.baselines.quickfix_published import published_edit
from diffwright.bench.clip_l import clip_l_pipeline
from diffwright.bench.harness import Figure
from diffwright.concepts.choice import PAPER_TEMPLATES, Choice, default_choice
from diffwright.concepts.edit import edit_concepts
from diffwright.concepts.judged import Change, Gallery, Plan, try_all
from diffwright.concepts.pairs import TEST
from diffwright.concepts.sweep import make_edit
from diffwright.core.errors import JobFailed
from diffwright.core.progress import Progress, report
from diffwright.diffusion.backbones import require
from diffwright.diffusion.sites import find
from diffwright.metrics.judge import Judge
from diffwright.weights.load import load

PAIR = ("van gogh", "painting")
PUBLISHED_KEYS = 291


def run(quick: bool, progress: Progress | None = None) -> dict[str, Figure]:
    """Measure the concept edit.

    Args:
        quick: fewer repetitions and pairs, under two minutes.
        progress: is told the steps done; may cancel.

    Returns:
        ``edit_ms_clip_l``, ``reference_path_ratio``, ``revert_exact``, ``artifact_kib_clip_l``, and those of
        ``quality``.

    Raises:
        WeightsError: the pocket model or the judge is missing or damaged.
    """
    figures = _speed(5 if quick else 21, 2 if quick else 5, progress)
    pipe, judge = load("pocket", device="cpu"), Judge.from_pretrained()
    if quick:
        few = Plan(seeds=1, near=1, others=1, steps=8)
        return figures | quality(Gallery(pipe, judge, few.steps, half=True, progress=progress), TEST[:3], few)
    return figures | quality(Gallery(pipe, judge, half=True, progress=progress), TEST, Plan())


def quality(gallery: Gallery, changes: Sequence[Change], plan: Plan) -> dict[str, Figure]:
    """Measure by the judge what single edits do, with the layout's default and with layer 0 as in the paper.

    Args:
        gallery: paints and judges; what it painted unedited is shared by both.
        changes: source and target of each edit.
        plan: how much is painted; the control gets about half of it.

    Returns:
        ``efficacy`` and ``unrelated_drop`` of the default, by attribute, and of the paper's settings.
    """
    usual = default_choice(require(gallery.pipe, "fix").layout)
    ours = try_all(gallery, changes, lambda change: make_edit(gallery.pipe, change, usual), plan)
    fewer = replace(plan, seeds=max(1, plan.seeds // 4), others=1)
    paper = try_all(gallery, changes, lambda change: make_edit(gallery.pipe, change, Choice()), fewer)
    worst = next(iter(ours.falls), "nothing")
    sample = f"{len(changes)} test pairs, {ours.pictures} pictures judged source before"
    control = f"control: {Choice()}, nothing held, {paper.pictures} pictures"
    figures = {
        "efficacy": Figure(ours.efficacy, "", "higher", f"{sample}; {usual}"),
        "unrelated_drop": Figure(
            ours.unrelated_drop, "", "lower", f"worst of {len(ours.falls)} groups: {worst}"
        ),
        "efficacy_paper": Figure(paper.efficacy, "", "higher", control),
        "unrelated_drop_paper": Figure(paper.unrelated_drop, "", "lower", control),
    }
    for attribute, value in ours.by_attribute.items():
        figures[f"efficacy_{attribute}"] = Figure(value, "", "higher")
    figures["unet_evaluations"] = Figure(gallery.unet_evaluations, "", "lower", "what efficacy and drop cost")
    return figures


def _speed(ours: int, theirs: int, progress: Progress | None) -> dict[str, Figure]:
    """Time one pair with four templates on a CLIP-L-shaped encoder, from prompts to applied edit."""
    pipe = clip_l_pipeline()
    before = {name: tensor.clone() for name, tensor in pipe.text_encoder.state_dict().items()}
    _edit_once(pipe)
    _published_once(pipe)
    fast, slow = [], []
    for number in range(ours):
        fast.append(_edit_once(pipe))
        if number % max(1, ours // theirs) == 0 and len(slow) < theirs:
            slow.append(_published_once(pipe))
        report(progress, "timing the edit", number + 1, ours)
    after = pipe.text_encoder.state_dict()
    exact = all(torch.equal(after[name], tensor) for name, tensor in before.items())
    size = edit_concepts(pipe, [PAIR]).size_bytes()
    ratio = median(slow) / median(fast)
    threads = f"{torch.get_num_threads()} threads"
    return {
        "edit_ms_clip_l": Figure(1e3 * median(fast), "ms", "lower", f"{ours} runs, {threads}"),
        "reference_path_ratio": Figure(
            ratio, "x", "higher", f"published path {1e3 * median(slow):.0f} ms, {theirs} runs, {threads}"
        ),
        "revert_exact": Figure(
            float(exact), "", "higher", "every tensor of the encoder after apply and revert"
        ),
        "artifact_kib_clip_l": Figure(
            size / 1024, "KiB", "lower", "one pair, four templates, float32 factors"
        ),
    }


def _edit_once(pipe: Any) -> float:
    start = time.perf_counter()
    edit = edit_concepts(pipe, [PAIR])
    edit.apply(pipe)
    seconds = time.perf_counter() - start
    edit.revert(pipe)
    return seconds


@torch.no_grad()
def _published_once(pipe: Any) -> float:
    start = time.perf_counter()
    weight, keys = published_edit(pipe, *PAIR, PAPER_TEMPLATES)
    seconds = time.perf_counter() - start
    find(pipe, "te.0.attn.out").linear.weight.copy_(weight)
    if keys != PUBLISHED_KEYS:
        raise JobFailed(f"The published path took {keys} keys where it has {PUBLISHED_KEYS}; mend the bench.")
    return seconds
