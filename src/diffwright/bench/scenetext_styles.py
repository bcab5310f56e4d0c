"""Whether words look as they should: color, font, bold, italic, mixtures, free wording, the surroundings, erasing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median

import numpy as np

from diffwright.bench import scenetext_methods as methods
from diffwright.bench.baselines.font_classifier import centered, train
from diffwright.bench.harness import Figure, number
from diffwright.bench.scenetext_methods import basic_name, ink_of
from diffwright.bench.scenetext_sets import Case
from diffwright.bench.scenetext_words import Bench, not_run, share
from diffwright.metrics.colors import ciede2000, lab
from diffwright.metrics.ink import Ink, shear_angle, stroke_width
from diffwright.world import splits
from diffwright.world.lettering.colors import NAMED
from diffwright.world.lettering.faces import Face, installed
from diffwright.world.lettering.instructions import sentence

THICKER, LEANING = 1.15, 6.0  # stroke width of bold over regular; degrees of italic beyond regular
WEIGHTS = (0.0, 0.3, 0.7, 1.0)
CANDIDATES = 4
PLAIN = {"font": None, "color": None, "bold": False, "italic": False}


def color_figures(bench: Bench) -> dict[str, Figure]:
    """Measure named colors, in the canonical wording and in sentences that no model was trained on.

    Returns:
        ``color_accuracy`` with ``color_truth_accuracy``, ``color_ceiling_accuracy`` and
        ``color_accuracy_untold`` (the control: no instruction), ``color_gain``, ``color_ciede2000``,
        ``natural_language_drop``, and ``unseen_color_ciede2000`` for names that no model was trained on, with
        ``unseen_color_ciede2000_untold``.
    """
    of = bench.cases("style")
    rng = np.random.Generator(np.random.PCG64(0))
    told = [made.first for made in bench.written("named colors", of)]
    free = [bench.write(case, instruction=sentence(case.ask, rng, "test")).first for case in of]
    untold = [made.first for made in bench.written("colors untold", of, **PLAIN)]
    top = methods.ceiling(bench.editor.vae)
    right, freely, unasked, best, drawn = (
        [_has_color(picture, case) for picture, case in zip(pictures, of, strict=True)]
        for pictures in (told, free, untold, map(top, of), [case.truth for case in of])
    )
    new = bench.cases("unseen_color")
    asked, silent = (
        [made.first for made in bench.written("colors of unseen names", new, **changes)]
        for changes in ({}, PLAIN)
    )
    return {
        "color_accuracy": share(right, "nearest of the eleven basic colors is the named one"),
        "color_ceiling_accuracy": share(best, "the right strips through the autoencoder"),
        "color_truth_accuracy": share(drawn, "the right pictures"),
        "color_accuracy_untold": share(unasked, "without an instruction"),
        "color_gain": Figure(float(np.mean(right) - np.mean(unasked)), "", "higher", "over no instruction"),
        "color_ciede2000": _distances(told, of, "median distance from the named color", top),
        "natural_language_drop": Figure(
            float(np.mean(right) - np.mean(freely)), "", "lower", "color accuracy lost by sentences never trained on"
        ),
        "unseen_color_ciede2000": _distances(asked, new, "median distance, names never trained on", top),
        "unseen_color_ciede2000_untold": _distances(silent, new, "without an instruction", top),
    }  # fmt: skip


def _distances(made: Sequence[np.ndarray], of: Sequence[Case], note: str, top: methods.Method) -> Figure:
    ours, best = (
        median(
            float(ciede2000(methods.color_of(picture, case), lab(np.array(NAMED[case.ask.color or ""], np.uint8))))
            for picture, case in zip(pictures, of, strict=True)
        )
        for pictures in (made, map(top, of))
    )  # fmt: skip
    return Figure(ours, "", "lower", f"{note}; {number(best)} for the right strips through the autoencoder")


def surround_figures(bench: Bench) -> dict[str, Figure]:
    """Measure whether a word without an instruction takes the color of its neighbors.

    Returns:
        ``surround_color_agreement``, ``surround_color_agreement_control``, the same after all words are erased, and
        ``surround_color_agreement_ceiling``.
    """
    of = bench.cases("surround")
    seen = [bench.write(case, image=case.clean).first for case in of]
    blind = [bench.write(case, image=case.bare).first for case in of]
    top = methods.ceiling(bench.editor.vae)
    wanted = [basic_name(methods.color_of(case.truth, case)) for case in of]
    agree, control, best = (
        [
            basic_name(methods.color_of(picture, case)) == name
            for picture, case, name in zip(pictures, of, wanted, strict=True)
        ]
        for pictures in (seen, blind, map(top, of))
    )
    return {
        "surround_color_agreement": share(
            agree, "basic color as measured on the right picture; the old word erased"
        ),
        "surround_color_agreement_control": share(control, "all words erased"),
        "surround_color_agreement_ceiling": share(best, "the right strips through the autoencoder"),
    }


def place_figures(bench: Bench) -> dict[str, Figure]:
    """Measure seams and erasing; what changed beyond regions is noted by every word that the run wrote.

    Returns:
        ``seam_ratio``, ``paste_seam_ratio``, ``erase_residual``, ``erase_residual_filled`` (the control: the region
        filled evenly), ``erase_residual_ceiling`` and ``background_max_diff``.
    """
    of = bench.cases("word")
    made = [one.first for one in bench.written("seams", of)]
    right = np.array([_seam(case.truth, case) for case in of])
    ours, pasted = (
        float(sum(_seam(picture, case) for picture, case in zip(pictures, of, strict=True)) / right.sum())
        for pictures in (made, map(methods.paste, of))
    )
    erased = [one.first for one in bench.written("erasing", of, text="")]
    top = methods.ceiling(bench.editor.vae, lambda case: case.clean)
    left, filled, best = (
        float(np.mean([
            _distance(picture, case) / max(_distance(case.source, case), 1e-9)
            for picture, case in zip(pictures, of, strict=True)
        ]))
        for pictures in (erased, map(methods.filled, of), map(top, of))
    )  # fmt: skip
    return {
        "seam_ratio": Figure(ours, "x", "lower", "gradient along the region's edge over that of the right picture"),
        "paste_seam_ratio": Figure(pasted, "x", "lower", "rendered and pasted"),
        "erase_residual": Figure(
            left, "", "lower", "distance from the ground without the word, over the word's own"
        ),
        "erase_residual_filled": Figure(filled, "", "lower", "the region filled with the color around it"),
        "erase_residual_ceiling": Figure(best, "", "lower", "the right strips through the autoencoder"),
        "background_max_diff": Figure(
            max(bench.outside), "levels", "lower", f"beyond the region, {len(bench.outside)} calls, all candidates"
        ),
    }  # fmt: skip


def variant_figures(bench: Bench) -> dict[str, Figure]:
    """Ask for bold and italic faces that no model was trained on.

    Returns:
        ``bold_thicker_share`` and ``italic_lean_share``, each with ``..._control`` (another seed in place of the
        variant) and ``..._truth`` (drawn in the faces themselves); of pairs of which both have ink.
    """
    families = held_out_variants()
    if not families:
        why = not_run("no family whose bold and italic faces are held out; make fonts")
        return {"bold_words": why, "italic_words": why}
    of = bench.cases("surround")
    faces = [families[k % len(families)] for k in range(len(of))]
    plain, bold, italic, other = (
        [
            ink_of(bench.write(case, seed=seed, font=face.family, **style).first, case.region)
            for case, face in zip(of, faces, strict=True)
        ]
        for style, seed in (({}, 0), ({"bold": True}, 0), ({"italic": True}, 0), ({}, 1))
    )
    drawn = [
        [None if face is None else ink_of(case.drawn(face=face), case.region) for face in _variants(first)]
        for case, first in zip(of, faces, strict=True)
    ]
    what = f"{len(families)} families whose bold and italic faces were never shown"
    found = {}
    for name, variant, at, test, said in (
        ("bold_thicker_share", bold, 1, _thicker, f"strokes {THICKER} times as thick"),
        ("italic_lean_share", italic, 2, _leans, f"{LEANING:g} degrees more"),
    ):
        right = [(a, b) for a, b in ((row[0], row[at]) for row in drawn) if a is not None and b is not None]
        found[name] = _pairs_share(zip(plain, variant, strict=True), test, f"{said}; {what}")
        found[f"{name}_control"] = _pairs_share(zip(plain, other, strict=True), test, "another seed alone")
        found[f"{name}_truth"] = _pairs_share(right, test, "drawn in the faces themselves")
    return found


def _pairs_share(pairs: Iterable[tuple[Ink, Ink]], test: Callable[[Ink, Ink], bool], note: str) -> Figure:
    inked = [(a, b) for a, b in pairs if stroke_width(a) > 0 and stroke_width(b) > 0]
    return share([test(a, b) for a, b in inked], note) if inked else not_run("no ink was found")


def _thicker(first: Ink, second: Ink) -> bool:
    return stroke_width(second) >= THICKER * stroke_width(first)


def _leans(first: Ink, second: Ink) -> bool:
    return shear_angle(second) - shear_angle(first) >= LEANING


def _variants(regular: Face) -> tuple[Face, Face | None, Face | None]:
    """A regular face, and the bold and the italic of its family where they are installed."""
    own = [face for face in installed("test") if face.family == regular.family]
    bold = next((face for face in own if face.bold and not face.italic), None)
    return regular, bold, next((face for face in own if face.italic and not face.bold), None)


def held_out_variants() -> list[Face]:
    """Give the regular faces of the families of training whose bold and italic faces are held out."""
    plain = {face.family: face for face in installed("train") if not face.bold and not face.italic}
    return [face for name, face in sorted(plain.items()) if splits.font_split(name, True) == "test"]


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
        _shape(ink_of(bench.write(case, font=first, mix=(second, w)).first, case.region)) for w in WEIGHTS
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
        bench.write(case, CANDIDATES)
        times.append(time.perf_counter() - start)
    note = f"{CANDIDATES} candidates, median of {rounds}"
    size = sum(p.numel() for p in bench.editor.model.parameters()) / 1e6
    return {
        "seconds_per_word": Figure(median(times[1:]), "s", "lower", note),
        "parameters_millions": Figure(size, "M", "lower", "reader included, autoencoder not"),
    }


def _has_color(picture: np.ndarray, case: Case) -> bool:
    return basic_name(methods.color_of(picture, case)) == case.ask.color


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
