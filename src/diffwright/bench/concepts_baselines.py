"""Our edit beside others of its kind: closed form in the cross-attention, a word swapped, and two trainings."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from diffwright.bench.baselines.anchor_matching import anchor_matching
from diffwright.bench.baselines.cross_attention_kv import cross_attention_edit
from diffwright.bench.baselines.finetune_eraser import finetune_eraser
from diffwright.bench.baselines.finetuning import Check
from diffwright.bench.baselines.token_embedding import token_embedding_edit
from diffwright.bench.harness import Figure
from diffwright.concepts.choice import default_choice
from diffwright.concepts.judged import (
    Change,
    Edit,
    Gallery,
    Plan,
    share_of,
    summarize,
    try_all,
    try_change,
    turned,
)
from diffwright.concepts.probes import CORE, probes, words_of
from diffwright.concepts.sweep import make_edit
from diffwright.core.progress import report
from diffwright.diffusion.backbones import require

RATES = (1e-4, 3e-4, 1e-3)
CHECKS = (10, 25, 50, 100, 200, 400, 800, 1400, 2000)
ANCHOR_STEPS = 100
NEAR = "nearest neighbour"


@dataclass(frozen=True)
class Race:
    """A fine-tuning eraser against one of our edits.

    Attributes:
        change: source and target.
        ours_s: seconds of our edit, from prompts to applied.
        theirs: the training when it first reached our efficacy, or else its best learning rate's last state.
        rate: its learning rate.
        reached: whether it did.
        efficacy: of ours and theirs, on pictures that did not decide the stop.
        fall: of the nearest neighbour, likewise.
    """

    change: Change
    ours_s: float
    theirs: Check
    rate: float
    reached: bool
    efficacy: tuple[float, float]
    fall: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Their seconds over ours."""
        return self.theirs.seconds / self.ours_s


def closed_forms(gallery: Gallery, changes: Sequence[Change], plan: Plan) -> dict[str, Figure]:
    """Judge the UCE-type and TIME-type edits and the swapped word embedding.

    Args:
        gallery: paints and judges.
        changes: source and target of each edit.
        plan: how much is painted for each.

    Returns:
        ``kv_efficacy``, ``kv_neighbour_drop``, and the same for ``kv_aligned`` and ``token_embedding``.
    """
    templates = default_choice(require(gallery.pipe, "fix").layout).templates

    def uce(change: Change) -> Edit:
        held = [words_of(a, v) for a, values in CORE.items() for v in values]
        held = [words for words in held if words not in change.pair]
        return cross_attention_edit(gallery.pipe, *change.pair, templates, held)

    def time_type(change: Change) -> Edit:
        return cross_attention_edit(gallery.pipe, *change.pair, templates, lam=0.1, aligned=True)

    def token(change: Change) -> Edit:
        return token_embedding_edit(gallery.pipe, *change.pair)

    found = {}
    for name, make, what in (
        ("kv", uce, "cross-attention K and V in closed form, last token, other values held"),
        ("kv_aligned", time_type, "cross-attention K and V in closed form, all later tokens, nothing held"),
        ("token_embedding", token, "the word embedding overwritten"),
    ):
        summary = try_all(gallery, changes, make, plan)
        note = f"{what}; {len(changes)} pairs, {summary.pictures} pictures judged source before"
        found[f"{name}_efficacy"] = Figure(summary.efficacy, "", "higher", note)
        found[f"{name}_neighbour_drop"] = Figure(max(0.0, summary.falls.get(NEAR, 0.0)), "", "lower")
    return found


def trainings(
    gallery: Gallery,
    changes: Sequence[Change],
    plan: Plan,
    *,
    rates: Sequence[float] = RATES,
    checks: Sequence[int] = CHECKS,
    anchor_steps: int = ANCHOR_STEPS,
) -> dict[str, Figure]:
    """Race the fine-tuning eraser against our edit, and judge anchor matching.

    Args:
        gallery: paints and judges.
        changes: source and target of each race.
        plan: how much is painted for the final comparison.
        rates: learning rates; all of them run in turn until one reaches our efficacy.
        checks: steps after which the training is judged; the last one ends it.
        anchor_steps: of anchor matching, at the middle learning rate.

    Returns:
        ``finetune_ratio``, ``efficacy_gap_finetune`` and ``neighbour_gap_finetune`` (above 0 where ours is worse), and
        ``anchor_efficacy`` with ``anchor_ratio``.
    """
    races, anchors = [], []
    templates = default_choice(require(gallery.pipe, "fix").layout).templates
    for number, change in enumerate(changes):
        races.append(race(gallery, change, plan, rates, checks))
        (check,) = anchor_matching(
            gallery.pipe,
            *change.pair,
            templates,
            learning_rate=sorted(rates)[len(rates) // 2],
            checks=(anchor_steps,),
        )
        anchors.append((check.seconds, try_change(gallery, check.weights, change, plan)))
        report(gallery.progress, "races against training", number + 1, len(changes))
    anchor = summarize(outcome for _, outcome in anchors)
    told = "; ".join(map(_told, races))
    bound = "" if all(race.reached for race in races) else "a lower bound; "
    return {
        "finetune_ratio": Figure(median(race.ratio for race in races), "x", "higher", f"{bound}{told}"),
        "efficacy_gap_finetune": Figure(
            fmean(race.efficacy[1] - race.efficacy[0] for race in races),
            "",
            "lower",
            f"theirs {fmean(race.efficacy[1] for race in races):.2f} less ours, {len(races)} pairs",
        ),
        "neighbour_gap_finetune": Figure(
            fmean(race.fall[0] - race.fall[1] for race in races),
            "",
            "lower",
            f"fall of the nearest neighbour, ours {fmean(race.fall[0] for race in races):.2f} less theirs",
        ),
        "anchor_efficacy": Figure(
            anchor.efficacy,
            "",
            "higher",
            f"anchor matching, {anchor_steps} steps, batch 4, {len(changes)} pairs",
        ),
        "anchor_ratio": Figure(
            median(seconds / race.ours_s for (seconds, _), race in zip(anchors, races, strict=True)),
            "x",
            "higher",
            "its time over ours",
        ),
    }


def race(gallery: Gallery, change: Change, plan: Plan, rates: Sequence[float], checks: Sequence[int]) -> Race:
    """Train until the eraser does what our edit does on the same pictures, every learning rate in turn.

    Args:
        gallery: paints and judges; its time is not counted.
        change: source and target.
        plan: how much is painted for the final comparison.
        rates: learning rates.
        checks: steps after which the training is judged.
    """
    usual = default_choice(require(gallery.pipe, "fix").layout)
    ours = make_edit(gallery.pipe, change, usual)
    seconds = median(_seconds(gallery, change) for _ in range(5))
    asked = probes(change.attribute, change.source, 4, "train", first_seed=5000)[:20]
    goal = share_of(turned(gallery, ours, change, asked))
    runs = {
        rate: finetune_eraser(gallery.pipe, *change.pair, usual.templates, learning_rate=rate, checks=checks)
        for rate in rates
    }
    seen: Mapping[float, tuple[float, Check]] = {}
    reached: list[float] = []
    for _ in checks:
        states = {rate: next(run) for rate, run in runs.items()}
        seen = {r: (share_of(turned(gallery, s.weights, change, asked)), s) for r, s in states.items()}
        reached = [rate for rate, (share, _) in seen.items() if share >= goal]
        if reached:
            break
    rate = min(reached, key=lambda r: seen[r][1].seconds) if reached else max(seen, key=lambda r: seen[r][0])
    check = seen[rate][1]
    both = [summarize([try_change(gallery, edit, change, plan)]) for edit in (ours, check.weights)]
    efficacy, fall = ([s.efficacy for s in both], [max(0.0, s.falls.get(NEAR, 0.0)) for s in both])
    return Race(change, seconds, check, rate, bool(reached), (efficacy[0], efficacy[1]), (fall[0], fall[1]))


def _seconds(gallery: Gallery, change: Change) -> float:
    usual = default_choice(require(gallery.pipe, "fix").layout)
    start = time.perf_counter()
    edit = make_edit(gallery.pipe, change, usual)
    edit.apply(gallery.pipe)
    seconds = time.perf_counter() - start
    edit.revert(gallery.pipe)
    return seconds


def _told(race: Race) -> str:
    words = " -> ".join(race.change.pair)
    state = "reached ours" if race.reached else "did not reach ours"
    return (
        f"{words}: {state} after {race.theirs.step} steps, {race.theirs.seconds:.1f} s at {race.rate:g}, "
        f"ours {1e3 * race.ours_s:.0f} ms"
    )
