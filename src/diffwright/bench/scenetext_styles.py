"""Whether words look as they should: color, font, bold, italic, mixtures, free wording, the surroundings, erasing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import numpy as np

from diffwright.bench import scenetext_methods as methods
from diffwright.bench.baselines.font_classifier import centered, train
from diffwright.bench.harness import Figure
from diffwright.bench.scenetext_methods import basic_name, ink_of, write
from diffwright.bench.scenetext_sets import Case
from diffwright.bench.scenetext_words import Bench, share
from diffwright.metrics.colors import ciede2000, lab
from diffwright.metrics.ink import Ink, shear_angle, stroke_width
from diffwright.world import splits
from diffwright.world.lettering.colors import NAMED
from diffwright.world.lettering.faces import Face, installed
from diffwright.world.lettering.instructions import sentence

THICKER, LEANING = 1.15, 6.0  # stroke width of bold over regular; degrees of italic beyond regular
WEIGHTS = (0.0, 0.3, 0.7, 1.0)
CANDIDATES = 4


def color_figures(bench: Bench) -> dict[str, Figure]:
    """Measure named colors, in the canonical wording and in sentences that no model was trained on.

    Returns:
        ``color_accuracy``, ``color_ceiling_accuracy``, ``color_accuracy_untold`` (the control: no instruction),
        ``color_gain``, ``color_ciede2000`` and ``natural_language_drop``.
    """
    of = bench.cases("style")
    rng = np.random.Generator(np.random.PCG64(0))
    told = bench.written("named colors", of)
    free = [
        write(bench.editor, case, instruction=sentence(case.ask, rng, "test"), image=case.source)
        for case in of
    ]
    untold = [write(bench.editor, case, font=None, color=None, bold=False, italic=False) for case in of]
    top = methods.ceiling(bench.editor.vae)
    right, freely, unasked, best = (
        [_has_color(picture, case) for picture, case in zip(pictures, of, strict=True)]
        for pictures in (
            [made.first for made in told], [made.first for made in free], [made.first for made in untold],
            [top(case) for case in of],
        )
    )  # fmt: skip
    far = [
        float(
            ciede2000(
                ink_of(made.first, case.region).lab, lab(np.array(NAMED[case.ask.color or ""], np.uint8))
            )
        )
        for made, case in zip(told, of, strict=True)
    ]
    return {
        "color_accuracy": share(right, "nearest of the eleven basic colors is the named one"),
        "color_ceiling_accuracy": share(best, "the right strips through the autoencoder"),
        "color_accuracy_untold": share(unasked, "without an instruction"),
        "color_gain": Figure(float(np.mean(right) - np.mean(unasked)), "", "higher", "over no instruction"),
        "color_ciede2000": Figure(median(far), "", "lower", "median distance from the named color"),
        "natural_language_drop": Figure(
            float(np.mean(right) - np.mean(freely)), "", "lower", "color accuracy lost by sentences never trained on"
        ),
    }  # fmt: skip


def surround_figures(bench: Bench) -> dict[str, Figure]:
    """Measure whether a word without an instruction takes the color of its neighbors.

    Returns:
        ``surround_color_agreement`` and ``surround_color_agreement_control``, the same after all words are erased.
    """
    of = bench.cases("surround")
    seen = [write(bench.editor, case, image=case.clean).first for case in of]
    blind = [write(bench.editor, case, image=case.bare).first for case in of]
    wanted = [basic_name(ink_of(case.truth, case.region).lab) for case in of]
    agree, control = (
        [
            basic_name(ink_of(picture, case.region).lab) == name
            for picture, case, name in zip(pictures, of, wanted, strict=True)
        ]
        for pictures in (seen, blind)
    )
    return {
        "surround_color_agreement": share(
            agree, "basic color as measured on the right picture; the old word erased"
        ),
        "surround_color_agreement_control": share(control, "all words erased"),
    }


def place_figures(bench: Bench) -> dict[str, Figure]:
    """Measure seams and erasing; what changed beyond regions is noted by every word that the run wrote.

    Returns:
        ``seam_ratio``, ``paste_seam_ratio``, ``erase_residual`` and ``background_max_diff``.
    """
    of = bench.cases("word")
    made = [one.first for one in bench.written("seams", of)]
    right = np.array([_seam(case.truth, case) for case in of])
    ours, pasted = (
        float(sum(_seam(picture, case) for picture, case in zip(pictures, of, strict=True)) / right.sum())
        for pictures in (made, [methods.paste(case) for case in of])
    )
    erased = [one.first for one in bench.written("erasing", of, text="")]
    left = [_distance(picture, case) / max(_distance(case.source, case), 1e-9) for picture, case in zip(
        erased, of, strict=True)]  # fmt: skip
    return {
        "seam_ratio": Figure(ours, "x", "lower", "gradient along the region's edge over that of the right picture"),
        "paste_seam_ratio": Figure(pasted, "x", "lower", "rendered and pasted"),
        "erase_residual": Figure(
            float(np.mean(left)), "", "lower", "distance from the ground without the word, over the word's own"
        ),
        "background_max_diff": Figure(
            max(bench.outside), "levels", "lower", f"beyond the region, {len(bench.outside)} pictures"
        ),
    }  # fmt: skip


def variant_figures(bench: Bench) -> dict[str, Figure]:
    """Ask for bold and italic faces that no model was trained on.

    Returns:
        ``bold_thicker_share`` and ``italic_lean_share``.
    """
    of = bench.cases("surround")
    families = held_out_variants()
    fonts = [families[k % len(families)] for k in range(len(of))]
    plain, bold, italic = (
        [
            ink_of(write(bench.editor, case, font=font, **style).first, case.region)
            for case, font in zip(of, fonts, strict=True)
        ]
        for style in ({}, {"bold": True}, {"italic": True})
    )
    thicker = [
        stroke_width(b) >= THICKER * max(stroke_width(p), 1e-9) for p, b in zip(plain, bold, strict=True)
    ]
    leaning = [shear_angle(i) - shear_angle(p) >= LEANING for p, i in zip(plain, italic, strict=True)]
    what = f"{len(families)} families whose bold and italic faces were never shown"
    return {
        "bold_thicker_share": share(thicker, f"strokes {THICKER} times as thick; {what}"),
        "italic_lean_share": share(leaning, f"{LEANING:g} degrees more; {what}"),
    }


def held_out_variants() -> list[str]:
    """Name the families of training whose bold and italic faces are held out."""
    names = sorted({face.family for face in installed("train")})
    chosen = [name for name in names if splits.font_split(name, True) == "test"]
    return chosen or names


def font_figures(bench: Bench, steps: int) -> dict[str, Figure]:
    """Train the classifier of fonts, and judge named fonts and mixtures by it.

    Args:
        bench: The run.
        steps: Of the training.

    Returns:
        ``font_top5``, ``font_ceiling_top5`` and ``font_mix_monotonic_share``.
    """
    faces = installed("train")
    classifier = train(faces, steps, progress=bench.progress)
    of = bench.cases("style")
    top = methods.ceiling(bench.editor.vae)
    made = [one.first for one in bench.written("named fonts", of)]
    wanted = [case.face.family for case in of]
    within, best = (
        classifier.within(
            [_shape(ink_of(p, case.region)) for p, case in zip(pictures, of, strict=True)], wanted
        )
        for pictures in (made, [top(case) for case in of])
    )
    mixed = [_monotonic(bench, classifier, case, second) for case, second in _pairs(of, faces)]
    note = f"of {len(classifier.families)} families, by a classifier trained for it in {steps} steps"
    return {
        "font_top5": share(within, note),
        "font_ceiling_top5": share(best, "the right strips through the autoencoder"),
        "font_mix_monotonic_share": share(mixed, f"weights {', '.join(f'{w:g}' for w in WEIGHTS)}"),
    }


def _pairs(of: Sequence[Case], faces: Sequence[Face]) -> list[tuple[Case, str]]:
    """Pair each case's font with another family."""
    names = sorted({face.family for face in faces})
    rng = np.random.Generator(np.random.PCG64(1))
    others = [[name for name in names if name != case.face.family] or names for case in of]
    return [(case, some[int(rng.integers(len(some)))]) for case, some in zip(of, others, strict=True)]


def _monotonic(bench: Bench, classifier: object, case: Case, second: str) -> bool:
    """Whether the second font gains on the first with every step of its weight."""
    first = case.face.family
    shapes = [
        _shape(ink_of(write(bench.editor, case, font=first, mix=(second, w)).first, case.region))
        for w in WEIGHTS
    ]
    shares = classifier.log_shares(shapes)  # type: ignore[attr-defined]
    a, b = (classifier.families.index(name) for name in (first, second))  # type: ignore[attr-defined]
    return bool((np.diff(shares[:, b] - shares[:, a]) > 0).all())


def cost_figures(bench: Bench, rounds: int) -> dict[str, Figure]:
    """Time the tool: ``seconds_per_word`` with 4 candidates, picture in to pictures out."""
    case = bench.cases("word", 1)[0]
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        write(bench.editor, case, CANDIDATES)
        times.append(time.perf_counter() - start)
    note = f"{CANDIDATES} candidates, median of {rounds}"
    size = sum(p.numel() for p in bench.editor.model.parameters()) / 1e6
    return {
        "seconds_per_word": Figure(median(times[1:]), "s", "lower", note),
        "parameters_millions": Figure(size, "M", "lower", "reader included, autoencoder not"),
    }


def _has_color(picture: np.ndarray, case: Case) -> bool:
    return basic_name(ink_of(picture, case.region).lab) == case.ask.color


def _shape(ink: Ink) -> np.ndarray:
    return centered(ink.coverage)


def _seam(picture: np.ndarray, case: Case) -> float:
    """Mean jump between neighbors of which one lies in the region and the other does not, levels."""
    mask, levels = case.region.mask, picture.astype(float).mean(axis=2)
    total, count = 0.0, 0
    for axis in (0, 1):
        edge = np.diff(mask.astype(np.int8), axis=axis) != 0
        total += float(np.abs(np.diff(levels, axis=axis))[edge].sum())
        count += int(edge.sum())
    return total / max(count, 1)


def _distance(picture: np.ndarray, case: Case) -> float:
    return float(np.abs(picture.astype(float) - case.clean)[case.region.mask].mean())
