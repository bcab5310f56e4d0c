"""Matching bench: corrupted pictures, confidence, refining another matcher, time and memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from diffwright.bench import matching_memory as memory
from diffwright.bench.harness import Figure, median_ms, number
from diffwright.bench.matching_corruptions import HELD_OUT, corrupt
from diffwright.bench.matching_methods import OURS
from diffwright.bench.matching_pairs import Pair
from diffwright.bench.matching_run import Bench
from diffwright.bench.matching_tables import as_flow
from diffwright.core.progress import report
from diffwright.matching.stages import MatchOptions
from diffwright.metrics.flow import ause, ause_random, epe

COMPARED = ("dis", "sift_magsac", "argmax", "ours")
NOISES = ("gaussian_noise", "shot_noise", "impulse_noise")
SURE, NEAR = 0.9, 3.0


def under_corruption(bench: Bench, name: str, pairs: Sequence[Pair]) -> dict[str, Figure]:
    """Match corrupted pictures.

    Args:
        bench: The run.
        name: Protocol of the clean pairs.
        pairs: At least one.
    """
    bench.measure(name, pairs, COMPARED)
    errors: dict[str, dict[str, float]] = {method: {} for method in COMPARED}
    for kind in bench.plan.corruptions:
        bench.measure(f"corrupted_{kind}", [corrupted(pair, kind) for pair in pairs], COMPARED)
        for method in COMPARED:
            errors[method][kind] = bench.aepe(f"corrupted_{kind}", method)
    clean = {method: bench.aepe(name, method) for method in COMPARED}
    ratios = {kind: error / clean["ours"] for kind, error in errors["ours"].items()}
    worst = max(ratios, key=ratios.__getitem__)
    unseen = [ratio for kind, ratio in ratios.items() if kind in HELD_OUT]
    prior = [errors["argmax"][kind] / errors["ours"][kind] for kind in ratios if kind in NOISES]
    note = f"{len(ratios)} types, {name}; worst {worst} {number(ratios[worst])}"
    found = {
        "corruption_ratio": Figure(_mean(ratios.values()), "x", "lower", note),
        "corruption_ratio_unseen": Figure(
            _mean(unseen), "x", "lower", f"{len(unseen)} types that training never shows"
        ),
        "prior_ratio_noise": Figure(
            _mean(prior), "x", "higher", "raw argmax of the features over ours, noise types"
        ),
    }
    for method in COMPARED:
        note = f"clean {number(clean[method])}"
        found[f"corruption_aepe_{method}"] = Figure(_mean(errors[method].values()), "px", "lower", note)
    return found


def corrupted(pair: Pair, kind: str) -> Pair:
    """Corrupt both pictures of a pair, each with noise of its own; the truth stays."""
    return replace(
        pair,
        image_a=corrupt(pair.image_a, kind, f"{pair.name} a"),
        image_b=corrupt(pair.image_b, kind, f"{pair.name} b"),
    )


def of_confidence(bench: Bench, pairs: Sequence[Pair]) -> dict[str, Figure]:
    """Measure how well the confidence sorts the errors, and whether the sure pixels are right.

    Args:
        bench: The run.
        pairs: At least one.
    """
    areas, random, right = [], [], []
    for done, pair in enumerate(pairs):
        report(bench.progress, "confidence", done, len(pairs))
        out = bench.matcher.match(pair.image_a, pair.image_b)
        error = epe(as_flow(out.flow)[None], pair.flow[None])[0][pair.valid]
        sure = torch.from_numpy(np.ascontiguousarray(out.confidence))[pair.valid]
        areas.append(ause(error, 1 - sure))
        random.append(ause_random(error))
        right.append(error[sure > SURE] <= NEAR)
    report(bench.progress, "confidence", len(pairs), len(pairs))
    ratio = _mean(areas) / max(_mean(random), 1e-9)
    note = f"area by our confidence over that of a random order, {len(pairs)} pairs"
    found = {"ause_ratio": Figure(ratio, "x", "lower", note)}
    among = torch.cat(right).double()
    if len(among):
        note = f"within {NEAR:g} px, of {len(among)} pixels with confidence over {SURE}"
        found["sure_and_right"] = Figure(100 * float(among.mean()), "%", "higher", note)
    return found


def of_refinement(bench: Bench, name: str, pairs: Sequence[Pair]) -> dict[str, Figure]:
    """Refine the flow of DIS.

    Args:
        bench: The run.
        name: Protocol of the pairs.
        pairs: At least one.
    """
    bench.measure(name, pairs, ("dis",))

    def refined(pair: Pair) -> torch.Tensor:
        given = bench.methods["dis"](pair)
        return as_flow(bench.matcher.refine(given, pair.image_a, pair.image_b, OURS).flow)

    before, after = bench.aepe(name, "dis"), bench.score(name, "dis_refined", pairs, refined)
    note = f"DIS {number(before)} px, refined {number(after)} px, {name}"
    return {"refine_gain_dis": Figure(1 - after / before, "", "higher", note)}


def of_cost(bench: Bench, pair: Pair) -> dict[str, Figure]:
    """Measure time on a pair, parameters, and the memory of training steps.

    Args:
        bench: The run.
        pair: What is matched again and again.
    """
    matcher, options = bench.matcher, MatchOptions()
    config = matcher.model.config
    milliseconds = median_ms(lambda: matcher.match(pair.image_a, pair.image_b), bench.plan.rounds)
    high, wide = pair.image_a.shape[:2]
    note = (
        f"{wide} x {high} pixels, matched at {config.size}, K = {options.samples}, T = {config.steps}, "
        f"{config.stages} stages, {torch.get_num_threads()} threads"
    )
    count = sum(parameter.numel() for parameter in matcher.model.parameters())
    found = {
        "seconds_per_pair": Figure(milliseconds / 1e3, "s", "lower", note),
        "parameters_millions": Figure(count / 1e6, "M", "lower", "all networks"),
    }
    report(bench.progress, "memory of training", 0, 1)
    if peaks := memory.peaks(config, bench.plan.batch):
        shown = ", ".join(f"{case} {peak:.0f} MiB" for case, peak in peaks.items())
        note = f"{shown}; batch {bench.plan.batch}"
        found["stagewise_memory_ratio"] = Figure(memory.ratio(peaks), "x", "higher", note)
    report(bench.progress, "memory of training", 1, 1)
    return found


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
