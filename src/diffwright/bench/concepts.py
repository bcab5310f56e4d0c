"""How fast, how exact and how well concepts are edited."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from diffwright.bench import (
    concepts_baselines,
    concepts_export,
    concepts_mass,
    concepts_sites,
    concepts_wordings,
)
from diffwright.bench.baselines.quickfix_published import published_edit
from diffwright.bench.clip_l import clip_l_pipeline
from diffwright.bench.harness import Figure
from diffwright.concepts.choice import PAPER_TEMPLATES, Choice, default_choice
from diffwright.concepts.edit import edit_concepts
from diffwright.concepts.judged import Change, Gallery, Plan, try_all
from diffwright.concepts.pairs import DEVELOPMENT, TEST
from diffwright.concepts.sweep import make_edit
from diffwright.core.errors import JobFailed
from diffwright.core.progress import Progress, report
from diffwright.diffusion.backbones import require
from diffwright.diffusion.sites import find
from diffwright.metrics.judge import Judge
from diffwright.weights.load import load

PARTS = ("speed", "mass", "quality", "wordings", "closed_forms", "trainings", "sites")
PAIR = ("van gogh", "painting")
PUBLISHED_KEYS = 291
RACES = (TEST[0], TEST[1], TEST[3])
"""A kind, a color and a style, which the fine-tuning eraser is trained on."""


def run(quick: bool, progress: Progress | None = None, *, parts: Sequence[str] = PARTS) -> dict[str, Figure]:
    """Measure the concept edit.

    Cost, in UNet rows at 15 steps, guidance included, times 8.8 ms of one core in bfloat16:

    ============== ============================================================= ======= =======
    part           what                                                          rows    minutes
    ============== ============================================================= ======= =======
    quality        20 pairs, and half as much for the control                    120,000 18
    wordings       20 pairs, 20 sentences, and three rewordings                  60,000  9
    closed_forms   20 pairs, three baselines                                     30,000  4
    sites          10 changes traced and swept                                   70,000  10
    trainings      3 races: pictures that are compared                           21,000  3
    ..             at most 2,000 steps at three rates, 0.2 to 0.4 s each         ..      60-120
    speed, mass    CLIP-L-shaped encoders                                        ..      3
    ============== ============================================================= ======= =======

    A race ends as soon as one learning rate does what our edit does.

    Args:
        quick: fewer repetitions and pairs, under two minutes.
        progress: is told the steps done; may cancel.
        parts: which of ``PARTS`` to measure.

    Returns:
        ``edit_ms_clip_l``, ``reference_path_ratio``, ``revert_exact``, ``artifact_kib_clip_l``,
        ``lora_max_abs_diff``, and those of ``quality``, ``concepts_mass``, ``concepts_wordings``,
        ``concepts_baselines`` and ``concepts_sites``.

    Raises:
        WeightsError: the pocket model or the judge is missing or damaged.
        MissingExtra: peft is not installed.
    """
    figures: dict[str, Figure] = {}
    if "speed" in parts:
        figures |= _speed(5 if quick else 21, 2 if quick else 5, progress) | concepts_export.figures()
    if "mass" in parts:
        figures |= concepts_mass.figures(quick, progress)
    judged = [part for part in PARTS[2:] if part in parts]
    if not judged:
        return figures
    pipe, judge = load("pocket", device="cpu"), Judge.from_pretrained()
    few = Plan(seeds=1, near=1, others=1, steps=4)
    gallery = Gallery(pipe, judge, few.steps if quick else Plan().steps, half=True, progress=progress)
    measure = _judged_briefly(gallery, few) if quick else _judged_fully(gallery)
    for part in judged:
        figures |= measure[part]()
    return figures


def _judged_briefly(gallery: Gallery, few: Plan) -> dict[str, Callable[[], dict[str, Figure]]]:
    alone = replace(few, others=0)
    return {
        "quality": lambda: quality(gallery, TEST[:2], few),
        "wordings": lambda: concepts_wordings.figures(gallery, TEST[:1], sentences=5),
        "closed_forms": lambda: concepts_baselines.closed_forms(gallery, TEST[:1], alone),
        "trainings": lambda: concepts_baselines.trainings(
            gallery, TEST[1:2], alone, rates=(1e-3,), checks=(1, 2), anchor_steps=1
        ),
        "sites": lambda: concepts_sites.figures(gallery, DEVELOPMENT[1:2], prompts=1, seeds=(11,)),
    }


def _judged_fully(gallery: Gallery) -> dict[str, Callable[[], dict[str, Figure]]]:
    return {
        "quality": lambda: quality(gallery, TEST, Plan()),
        "wordings": lambda: concepts_wordings.figures(gallery, TEST),
        "closed_forms": lambda: concepts_baselines.closed_forms(
            gallery, TEST, Plan(seeds=2, near=1, others=0)
        ),
        "trainings": lambda: concepts_baselines.trainings(gallery, RACES, Plan(seeds=4, near=2, others=0)),
        "sites": lambda: concepts_sites.figures(gallery, DEVELOPMENT),
    }


def quality(gallery: Gallery, changes: Sequence[Change], plan: Plan) -> dict[str, Figure]:
    """Measure by the judge what single edits do, with the layout's default and with layer 0 as in the paper.

    Args:
        gallery: paints and judges; what it painted unedited is shared by both.
        changes: source and target of each edit.
        plan: how much is painted; the control gets about half of it.

    Returns:
        ``efficacy``, ``unrelated_drop`` and ``neighbour_drop`` of the default, ``efficacy`` by attribute, and the
        first two of the paper's settings.
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
        "neighbour_drop": Figure(
            max(0.0, ours.falls.get(concepts_baselines.NEAR, 0.0)),
            "",
            "lower",
            "fall of the value whose words the text encoder reads most alike",
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
