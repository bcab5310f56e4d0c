"""Matching bench: errors on real sequences, flow pairs and rendered views, method by method."""

from __future__ import annotations

from pathlib import Path

from diffwright.bench.harness import Figure, number
from diffwright.bench.matching_methods import CLASSICAL, DENSE
from diffwright.bench.matching_pairs import LEVELS, flow_pairs, sequence_pairs
from diffwright.bench.matching_run import Bench
from diffwright.bench.matching_tables import figure, mean
from diffwright.bench.matching_world import SUBSETS

AT_FULL_SIZE = ("zero", *CLASSICAL, "sift_magsac", "cleaned", "fitted", "ours")
ONLY_GENERAL = ("no_cost", "control")


def on_sequences(bench: Bench, folder: Path) -> dict[str, Figure]:
    """Measure sequences at 240 pixels; on a full run at their own resolution too, and flow pairs.

    Args:
        bench: The run.
        folder: Holds sequences and flow pairs.
    """
    small = sequence_pairs(folder)
    views = bench.some(small, "view")
    bench.measure("view_240", views, bench.methods)
    bench.measure("photo_240", bench.some(small, "photo"), bench.methods)
    if bench.plan.full_size:
        large = sequence_pairs(folder, None)
        for kind in ("view", "photo"):
            bench.measure(f"{kind}_original", bench.some(large, kind), AT_FULL_SIZE)
        bench.measure("flow", flow_pairs(folder), AT_FULL_SIZE)
    found = _views(bench) if views else {}
    for protocol in ("photo_240", "view_original", "photo_original", "flow"):
        if bench.of(protocol, "ours"):
            found[f"aepe_{protocol}"] = figure(bench.of(protocol, "ours"))
    for protocol in ("view_240", "photo_240", "view_original", "flow"):
        for method in bench.known(protocol):
            if method != "ours":
                found[f"aepe_{protocol}_{method}"] = figure(bench.of(protocol, method))
    return found


def _views(bench: Bench) -> dict[str, Figure]:
    ours, errors = bench.of("view_240", "ours"), bench.known("view_240")
    best = min(DENSE, key=errors.__getitem__)
    classical = min(CLASSICAL, key=errors.__getitem__)
    ratio = errors[classical] / errors["ours"]
    found = {
        "aepe_view_240": figure(ours),
        "aepe_view_best_dense_baseline": figure(bench.of("view_240", best), note=best),
        "classical_ratio": Figure(ratio, "x", "higher", f"{classical}, the best classical flow, over ours"),
        "pck5_view_240": figure(ours, "pck5"),
        "pck1_view_240": figure(ours, "pck1"),
        "worst_view_240": Figure(max(row.aepe for row in ours), "px", "lower", "the worst pair"),
    }
    for place, level in enumerate(LEVELS, 1):
        if rows := bench.of("view_240", "ours", level):
            found[f"aepe_level{place}"] = figure(rows)
    return found


def on_rendered_views(bench: Bench) -> dict[str, Figure]:
    """Measure the four subsets of rendered views."""
    found = {}
    for subset in SUBSETS:
        label, end = f"world_{subset}", "" if subset == "general" else f"_{subset}"
        names = [name for name in bench.methods if not end or name not in ONLY_GENERAL]
        bench.measure(label, bench.world(subset), names)
        errors = bench.known(label)
        best = min(CLASSICAL, key=errors.__getitem__)
        note = f"{bench.plan.size} px; {best} {number(errors[best])} px"
        ours = bench.of(label, "ours")
        found[f"world_epe{end}"] = figure(ours, note=note)
        found[f"prior_ratio{end or '_general'}"] = Figure(
            errors["argmax"] / mean(ours), "x", "higher", "raw argmax of the features over ours"
        )
    return found
