"""Many concepts in one solve, on an encoder of CLIP ViT-L/14's shape: time, fit, and what else moves.

Concepts are invented names of two tokens; weights are random, so meaning plays no part, but shapes, ranks and
clashes do. A thousand names share four targets and use the wide feed-forward output of layer 0, at the mean of their
templates; drift is measured at names that the solve has never seen.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

import numpy as np

from diffwright.bench.clip_l import clip_l_pipeline
from diffwright.bench.harness import Figure
from diffwright.concepts.edit import ConceptEdit, edit_concepts
from diffwright.concepts.keys import rows_of
from diffwright.concepts.modes import HOLDING
from diffwright.concepts.phrase import Phrase
from diffwright.concepts.report import encoding_moves
from diffwright.core.progress import Progress, report
from diffwright.diffusion.sites import find

TARGETS = ("painting", "photo", "image", "picture")
WIDE, PAPER = "te.0.mlp.out", "te.0.attn.out"
OTHERS = 250
"""Names that are held, and as many that are neither edited nor held."""
TWINS = 2
"""Edited names, and as many unseen ones, whose encodings are compared in other sentences: what paraphrases and
neighbours are to pictures."""


def figures(quick: bool = False, progress: Progress | None = None) -> dict[str, Figure]:
    """Measure edits of 1, 10, 100 and 1,000 concepts, and the modes at 100.

    Args:
        quick: at most 100 concepts, and 20 others.
        progress: is told the edits done; may cancel.

    Returns:
        ``mass_1000_s``, ``mass_1000_residual_median``, ``mass_1000_drift``, ``mass_1000_paraphrases``,
        ``mass_1000_neighbours``, the same for fewer concepts, and for each
        mode ``mass_100_residual_MODE`` and ``mass_100_drift_MODE``.
    """
    sizes, others = ((1, 10, 100), 20) if quick else ((1, 10, 100, 1000), OTHERS)
    names = invented(max(sizes) + 2 * others)
    edited, held, unseen = names[: max(sizes)], names[max(sizes) : -others], names[-others:]
    pipe = clip_l_pipeline(sorted({word for name in names for word in name.split()}))
    found: dict[str, Figure] = {}
    _mass(pipe, edited[:1], held[:1])  # warm
    for number, size in enumerate(sizes):
        edit, seconds = _mass(pipe, edited[:size], held)
        moved = drift(pipe, edit, unseen)
        twins = encoding_moves(pipe, edit, unseen[:TWINS], most=TWINS).values()
        what = f"{size} names, 4 templates, {WIDE}, {len(held)} names held"
        found[f"mass_{size}_s"] = Figure(seconds, "s", "lower", f"{what}; from prompts to applied edit")
        found[f"mass_{size}_residual_median"] = Figure(
            median(fit.left for fit in edit.fits),
            "",
            "lower",
            "part of the distance to the target that is left",
        )
        found[f"mass_{size}_drift"] = Figure(
            moved, "", "lower", f"at {len(unseen)} unseen names, relative to what an edited name moves"
        )
        found[f"mass_{size}_paraphrases"] = Figure(
            fmean(twin.paraphrases for twin in twins),
            "",
            "higher",
            f"how far the encoding of {len(twins)} names comes in unseen sentences; 1 is all the way",
        )
        found[f"mass_{size}_neighbours"] = Figure(
            fmean(twin.neighbours for twin in twins),
            "",
            "lower",
            f"how far {len(unseen[:TWINS])} unseen names move, relative to source and target",
        )
        report(progress, "mass edits", number + 1, len(sizes))
    found |= _modes(pipe, edited[:100], held, unseen)
    if not quick:
        found = {name: found[name] for name in sorted(found, key=lambda name: "1000" not in name)}
    return found


def _mass(pipe: Any, names: Sequence[str], held: Sequence[str]) -> tuple[ConceptEdit, float]:
    pairs = [(name, TARGETS[number % len(TARGETS)]) for number, name in enumerate(names)]
    start = time.perf_counter()
    edit = edit_concepts(pipe, pairs, held, site=WIDE, aim="stream", average=True)
    edit.apply(pipe)
    seconds = time.perf_counter() - start
    edit.revert(pipe)
    return edit, seconds


def _modes(pipe: Any, names: Sequence[str], held: Sequence[str], unseen: Sequence[str]) -> dict[str, Figure]:
    found = {}
    pairs = [(name, TARGETS[number % len(TARGETS)]) for number, name in enumerate(names)]
    for mode in ("ridge", *HOLDING):
        # all held rows together weigh what one edited row weighs a thousand times, in every mode that weighs them
        weight = 1e3 if mode == "covariance" else 1.0
        kept = held if mode in HOLDING else ()
        edit = edit_concepts(
            pipe, pairs, kept, site=PAPER, mode=mode, preserve_prompts=(), preserve_weight=weight
        )
        note = f"{len(names)} names, {PAPER}, lam {edit.choice.lam:g}"
        key = mode.replace("-", "_")
        found[f"mass_100_residual_{key}"] = Figure(median(fit.left for fit in edit.fits), "", "lower", note)
        found[f"mass_100_drift_{key}"] = Figure(drift(pipe, edit, unseen), "", "lower", note)
    return found


def drift(pipe: Any, edit: ConceptEdit, names: Sequence[str]) -> float:
    """Measure how far an edit of one site moves its output at names, relative to what it moves at its sources.

    Args:
        pipe: the pipeline.
        edit: an edit of one site.
        names: concepts that it was not made from and does not hold.
    """
    (patch,) = edit.patches

    def moved(concepts: Sequence[str]) -> float:
        phrases = [Phrase.of("a photo of {}", concept) for concept in concepts]
        rows, _ = rows_of(pipe, find(pipe, patch.site), [(phrase, phrase) for phrase in phrases])
        change = patch.factors.dense()
        return median(float((row.keys @ change.T).norm()) for row in rows)

    return moved(names) / max(moved([source for source, _ in edit.pairs]), 1e-30)


def invented(count: int) -> list[str]:
    """Invent names: one of 50 first words, and a last word of its own; four letters each, always the same.

    Example:
        >>> len(set(invented(300))), len({name.split()[1] for name in invented(300)})
        (300, 300)
    """
    consonants, vowels = "bcdfghjklmnprstv", "aeou"  # no word of the tokenizer begins inside such a word
    words = [a + b + c + d for a in consonants for b in vowels for c in consonants for d in vowels]
    np.random.default_rng(0).shuffle(words)
    return [f"{words[number % 50]} {words[50 + number]}" for number in range(count)]
