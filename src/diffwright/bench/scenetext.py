"""Bench ``scenetext``: whether words come out right and as told, beside what bounds them and what needs no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from diffwright.bench import scenetext_styles as styles
from diffwright.bench.harness import Figure
from diffwright.bench.scenetext_data import data_figures, labelled
from diffwright.bench.scenetext_gate import false_acceptance, vae_gate
from diffwright.bench.scenetext_words import ARMS, Bench, not_run, second_judge, word_figures
from diffwright.core.checks import whole
from diffwright.core.errors import InputError, MissingExtra
from diffwright.core.progress import Progress
from diffwright.core.strict_json import read_object
from diffwright.metrics.ocr import Judge, RapidJudge, TesseractJudge
from diffwright.scenetext.editor import SceneTextEditor
from diffwright.weights.load import load
from diffwright.world.lettering.grounds import photographs

PARTS = ("judge", "gate", "words", "colors", "places", "variants", "fonts", "cost", "second", "data")
WITHOUT_MODEL = ("judge", "gate")
RESULT = "result.json"
NO_SECOND = "Tesseract with English data is not installed"
SLOW = ("fonts", "second")
"""What the quick form leaves out unless it is asked for: a training, and a program beside the package."""
CASES, FEW = 100, 4
MISSPELT, GATED = 300, 200
FONT_STEPS = 1500


def run(
    quick: bool = False,
    progress: Progress | None = None,
    *,
    parts: Sequence[str] | None = None,
    photos: Path | None = None,
    model: Path | None = None,
    arms: Path | None = None,
    data: tuple[str, Path] | None = None,
    cases: int | None = None,
) -> dict[str, Figure]:
    """Measure writing into pictures.

    Args:
        quick: 4 cases a set in place of 100, under two minutes.
        progress: is told the words done; may cancel.
        parts: which of ``PARTS`` to measure; ``judge`` and ``gate`` need no text model. None measures all, in the
            quick form all but ``fonts``, which trains a classifier, and ``second``, which runs Tesseract.
        photos: folder of photographs, for the set that stands on them.
        model: directory to measure in place of ``pocket-text``: a model, or what ``train scenetext`` wrote.
        arms: folder of controls trained for this bench, likewise: ``instruction_only``, ``faithful``,
            ``no_attention_loss``, ``no_reading_loss``.
        data: name and folder of a public set, see ``scenetext_data``.
        cases: of each set in place of 100.

    Returns:
        The figures by name; see ``docs/scenetext.md``.

    Raises:
        WeightsError: the text model is missing or damaged, and a part needs it.
        MissingExtra: RapidOCR is not installed.
        InputError: photographs, arms or data cannot be read.
    """
    chosen = tuple(part for part in PARTS if not quick or part not in SLOW) if parts is None else parts
    count = FEW if quick else CASES if cases is None else cases
    whole("cases", count, 1, 10_000)
    judge, figures = RapidJudge(), dict[str, Figure]()
    second = _second() if "second" in chosen else None
    _readable(photos, data)
    needs_model = set(chosen) - set(WITHOUT_MODEL)
    bench = _bench(judge, count, photos, model, arms, progress) if needs_model else None
    if "judge" in chosen:
        figures |= false_acceptance(judge, 20 if quick else MISSPELT)
    if "gate" in chosen:
        figures |= vae_gate(judge, load("pocket", device="cpu").vae, 2 * FEW if quick else GATED, progress)
    if bench is None:
        return figures
    measures: dict[str, Callable[[Bench], dict[str, Figure]]] = {
        "words": word_figures,
        "colors": lambda b: styles.color_figures(b) | styles.surround_figures(b),
        "variants": styles.variant_figures,
        "fonts": lambda b: styles.font_figures(b, 2 if quick else FONT_STEPS),
        "places": styles.place_figures,
        "cost": lambda b: styles.cost_figures(b, 1 if quick else 9),
        "second": lambda b: second_judge(b, second) if second else {"second_judge_words": not_run(NO_SECOND)},
        "data": lambda b: data_figures(b, *(data or (None, None))),
    }
    for part in filter(chosen.__contains__, measures):
        figures |= measures[part](bench)
    return figures


def _readable(photos: Path | None, data: tuple[str, Path] | None) -> None:
    """Open what is given, so that a mistake costs no hour."""
    if photos is not None:
        photographs(photos)
    if data is not None:
        next(labelled(*data), None)


def _second() -> TesseractJudge | None:
    try:
        return TesseractJudge()
    except MissingExtra:
        return None


def _bench(
    judge: Judge,
    count: int,
    photos: Path | None,
    model: Path | None,
    arms: Path | None,
    progress: Progress | None,
) -> Bench:
    """Load ours and the arms that lie in their folder."""
    folders = {} if arms is None else {name: arms / name for name in ARMS if (arms / name).is_dir()}
    if arms is not None and not folders:
        raise InputError(
            f"{arms} holds none of {', '.join(ARMS)}; name the folder in which arms were trained"
        )
    editors = {name: SceneTextEditor.from_pretrained(_model_in(path)) for name, path in folders.items()}
    trained = {name: _samples(path) for name, path in [("", model), *folders.items()]}
    samples = {name: seen for name, seen in trained.items() if seen is not None}
    ours = SceneTextEditor.from_pretrained("pocket-text" if model is None else _model_in(model))
    return Bench(ours, judge, count, editors, photos, progress, samples)


def _model_in(folder: Path) -> Path:
    """A model, or what a training wrote: its folder ``model``."""
    return folder / "model" if (folder / RESULT).is_file() else folder


def _samples(folder: Path | None) -> int | None:
    """How many samples a training took, if it wrote the folder."""
    if folder is None or not (folder / RESULT).is_file():
        return None
    return read_object(folder / RESULT, error=InputError).get("samples")
