"""Bench ``matching``: dense matching on real sequences, flow pairs and rendered views, beside what came before.

Without a folder of pairs the figures of real sequences are left out, and the others are taken on rendered views. What
the full run costs is told in docs/matching.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffwright.bench.harness import Figure
from diffwright.bench.matching_ablation import of_parts, of_samples
from diffwright.bench.matching_accuracy import on_rendered_views, on_sequences
from diffwright.bench.matching_methods import arms_of, matcher_of, methods_of
from diffwright.bench.matching_pairs import Pair, check_pairs, sequence_pairs
from diffwright.bench.matching_run import QUICK, Bench, Plan
from diffwright.bench.matching_tables import write_tables
from diffwright.bench.matching_trust import of_confidence, of_cost, of_refinement, under_corruption
from diffwright.core.progress import Progress

PARTS = ("accuracy", "ablation", "path", "corruption", "trust", "cost")


def run(
    quick: bool = False,
    progress: Progress | None = None,
    pairs: Path | None = None,
    model: Path | None = None,
    arms: Path | None = None,
    views: Path | None = None,
    tables: Path | None = None,
    parts: Sequence[str] = PARTS,
) -> dict[str, Figure]:
    """Measure the shipped matcher.

    Args:
        quick: The level V pairs alone, few rendered views, corruptions and samples.
        progress: Is told the pairs done; may cancel.
        pairs: Folder of Oxford or HPatches sequences and ``.flo`` pairs, at any depth.
        model: Matching model to measure in place of the shipped one.
        arms: Folder of trained controls: ``regression``, ``no_cost``, ``control``.
        views: Folder that keeps the rendered views.
        tables: Folder for the scores of every pair, ``pairs.csv``, and their means, ``tables.md``.
        parts: Which of ``PARTS`` to measure; ``cost`` wants a machine that does nothing else.

    Returns:
        Figures by the names that docs/matching.md explains.

    Raises:
        InputError: ``pairs`` holds no pair, or a damaged one.
        WeightsError: The matcher is missing or damaged.
        MissingExtra: OpenCV is not installed.
    """
    if pairs is not None:
        check_pairs(pairs)
    matcher = matcher_of(model)
    bench = Bench(matcher, methods_of(matcher, arms_of(arms)), QUICK if quick else Plan(), progress, views)
    name, base = _base(bench, pairs)
    found: dict[str, Figure] = {}
    if "accuracy" in parts:
        found |= on_sequences(bench, pairs) if pairs is not None else {}
        found |= on_rendered_views(bench)
    if "ablation" in parts:
        found |= of_parts(bench, name, base)
    if "path" in parts:
        found |= of_samples(bench, base)
    if "corruption" in parts:
        found |= under_corruption(bench, name, base)
    if "trust" in parts:
        found |= of_confidence(bench, base) | of_refinement(bench, name, base)
    if "cost" in parts:
        found |= of_cost(bench, base[0])
    if tables is not None:
        write_tables(tables, bench.rows)
    return found


def _base(bench: Bench, folder: Path | None) -> tuple[str, list[Pair]]:
    """Pairs that ablations, corruptions and trust are measured on, and their protocol: real ones if there are any."""
    views = bench.some(sequence_pairs(folder), "view") if folder is not None else []
    return ("view_240", views) if views else ("world_general", bench.world("general"))
