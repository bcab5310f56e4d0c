"""Bench ``scenetext``: whether words come out right and as told, beside what bounds them and what needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffwright.bench import scenetext_styles as styles
from diffwright.bench.harness import Figure
from diffwright.bench.scenetext_data import data_figures
from diffwright.bench.scenetext_gate import false_acceptance, vae_gate
from diffwright.bench.scenetext_words import Bench, second_judge, word_figures
from diffwright.core.progress import Progress
from diffwright.metrics.ocr import RapidJudge, TesseractJudge
from diffwright.scenetext.editor import SceneTextEditor
from diffwright.weights.load import load

PARTS = ("judge", "gate", "words", "colors", "places", "variants", "fonts", "cost", "second", "data")
WITHOUT_MODEL = ("judge", "gate")
SLOW = ("fonts", "second")
"""What the quick form leaves out unless it is asked for: a training, and a program beside the package."""
ONLY = "instruction_only"
CASES, FEW = 100, 4
MISSPELT, GATED = 300, 200
FONT_STEPS = 3000


def run(
    quick: bool = False,
    progress: Progress | None = None,
    *,
    parts: Sequence[str] | None = None,
    photos: Path | None = None,
    model: Path | None = None,
    arms: Path | None = None,
    data: tuple[str, Path] | None = None,
) -> dict[str, Figure]:
    """Measure writing into pictures.

    Args:
        quick: 4 cases a set in place of 100, under two minutes.
        progress: is told the words done; may cancel.
        parts: which of ``PARTS`` to measure; ``judge`` and ``gate`` need no text model. None measures all, in the
            quick form all but ``fonts``, which trains a classifier, and ``second``, which runs Tesseract.
        photos: folder of photographs, for the set that stands on them.
        model: directory to measure in place of ``pocket-text``.
        arms: folder of the control trained for this bench: ``instruction_only``.
        data: name and folder of a public set, see ``scenetext_data``.

    Returns:
        The figures by name; see ``docs/scenetext.md``.

    Raises:
        WeightsError: the text model is missing or damaged, and a part needs it.
        MissingExtra: RapidOCR, or for ``second`` Tesseract, is not installed.
        InputError: photographs or data cannot be read.
    """
    chosen = tuple(part for part in PARTS if not quick or part not in SLOW) if parts is None else parts
    judge = RapidJudge()
    figures: dict[str, Figure] = {}
    if "judge" in chosen:
        figures |= false_acceptance(judge, 20 if quick else MISSPELT)
    if "gate" in chosen:
        figures |= vae_gate(judge, load("pocket", device="cpu").vae, 2 * FEW if quick else GATED, progress)
    if not set(chosen) - set(WITHOUT_MODEL):
        return figures
    editor = SceneTextEditor.from_pretrained("pocket-text" if model is None else model)
    only = None if arms is None else SceneTextEditor.from_pretrained(arms / ONLY)
    bench = Bench(editor, judge, FEW if quick else CASES, only, photos, progress)
    if "words" in chosen:
        figures |= word_figures(bench)
    if "colors" in chosen:
        figures |= styles.color_figures(bench) | styles.surround_figures(bench)
    if "variants" in chosen:
        figures |= styles.variant_figures(bench)
    if "fonts" in chosen:
        figures |= styles.font_figures(bench, 2 if quick else FONT_STEPS)
    if "places" in chosen:
        figures |= styles.place_figures(bench)
    if "cost" in chosen:
        figures |= styles.cost_figures(bench, 1 if quick else 9)
    if "second" in chosen:
        figures |= second_judge(bench, TesseractJudge())
    if "data" in chosen:
        figures |= data_figures(bench, *(data or (None, None)))
    return figures
