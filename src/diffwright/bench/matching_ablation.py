"""Matching bench: what each part adds, all on the same pairs."""

from __future__ import annotations

from collections.abc import Sequence

from diffwright.bench.harness import Figure, number
from diffwright.bench.matching_methods import ABLATIONS, ARMS, by_options, compare
from diffwright.bench.matching_pairs import Pair
from diffwright.bench.matching_run import Bench
from diffwright.bench.matching_tables import FlowOf, mean

ALWAYS = ("argmax_start", "no_check")
"""Switches that other figures than their own need."""

PATHS = {"path_gain": (5, 2), "path_gain_one_step": (5, 1)}
"""K samples of T steps, set against one sample of K * T; ten steps meet noise levels that training never showed, five
do not."""


def of_parts(bench: Bench, name: str, pairs: Sequence[Pair]) -> dict[str, Figure]:
    """Take parts away, at evaluation.

    Args:
        bench: The run.
        name: Protocol of the pairs.
        pairs: At least one.
    """
    bench.measure(name, pairs, ("argmax", "cleaned", "fitted", "stage1", "ours", *ARMS))
    wanted = ABLATIONS if bench.plan.ablations else {name: ABLATIONS[name] for name in ALWAYS}
    for label, options in wanted.items():
        bench.score(name, label, pairs, by_options(bench.matcher, options))
    errors = bench.known(name)
    diffusion = 1 - errors["argmax_start"] / errors["argmax"]
    smoothing = 1 - errors["cleaned"] / errors["argmax"]
    gain = mean(bench.of(name, "no_check"), "pck1") - mean(bench.of(name, "stage1"), "pck1")
    found = {
        "diffusion_reduction": Figure(diffusion, "", "higher", f"both stages from the raw argmax, {name}"),
        "smoothing_reduction": Figure(smoothing, "", "higher", f"dual softmax and median from it, {name}"),
        "diffusion_over_smoothing": Figure(diffusion - smoothing, "", "higher", "their difference"),
        "fitting_reduction": Figure(
            1 - errors["fitted"] / errors["argmax"],
            "",
            "higher",
            f"a fitted motion from the raw argmax, {name}",
        ),
        "diffusion_reduction_fitted": Figure(
            1 - errors["ours"] / errors["fitted"], "", "higher", "both stages from the fitted field"
        ),
        "stage2_ratio": Figure(
            errors["no_check"] / errors["stage1"],
            "x",
            "lower",
            f"with stage 2 over without, unchecked, {name}",
        ),
        "stage2_pck1_gain": Figure(gain, "%", "higher", f"points of PCK-1 by stage 2, {name}"),
    }
    for label in wanted:
        if label != "argmax_start":
            ratio = errors[label] / errors["ours"]
            found[f"ablation_{label}"] = Figure(ratio, "x", "higher", f"AEPE so over ours, {name}")
    return found | _trained(bench, name, errors)


def _trained(bench: Bench, name: str, errors: dict[str, float]) -> dict[str, Figure]:
    """Ours against networks trained otherwise, all at stage 1; the control has their budget."""
    ours = "control" if "control" in errors else "stage1"
    what = "the control at equal budget" if ours == "control" else "ours"
    found = {}
    if "regression" in errors:
        bench.measure("world_general", bench.world("general"), (ours, "regression"))
        note = f"{what} over regression, stage 1"
        world = bench.aepe("world_general", ours) / bench.aepe("world_general", "regression")
        found["regression_ratio"] = Figure(
            errors[ours] / errors["regression"], "x", "lower", f"{note}, {name}"
        )
        found["regression_ratio_world"] = Figure(world, "x", "lower", f"{note}, world_general")
    if "no_cost" in errors:
        note = f"without local cost over {what}, stage 1, {name}"
        found["no_cost_injection_ratio"] = Figure(errors["no_cost"] / errors[ours], "x", "higher", note)
    return found


def of_samples(bench: Bench, pairs: Sequence[Pair]) -> dict[str, Figure]:
    """Try the grid of K samples and T steps, stage 1 alone, from one cost volume a pair.

    Args:
        bench: The run.
        pairs: At least one.
    """
    model = bench.matcher.model
    compared = {pair.name: compare(model, pair) for pair in pairs}

    def sampled(k: int, t: int) -> FlowOf:
        return lambda pair: compared[pair.name].sampled(model, k, t)

    for k in bench.plan.samples:
        for t in bench.plan.steps:
            bench.score("path", f"K={k} T={t}", pairs, sampled(k, t))
    return {
        name: _path_gain(bench, k, t)
        for name, (k, t) in PATHS.items()
        if k in bench.plan.samples and {t, k * t} <= set(bench.plan.steps)
    }


def _path_gain(bench: Bench, k: int, t: int) -> Figure:
    many, one = bench.aepe("path", f"K={k} T={t}"), bench.aepe("path", f"K=1 T={k * t}")
    note = f"{k} samples of {t} steps, {number(many)} px, against one of {k * t}, {number(one)} px; stage 1"
    return Figure(1 - many / one, "", "higher", note)
