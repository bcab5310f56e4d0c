"""Chapter of the demo: objects moved, beside a collage and the exact re-render of the moved scene."""

import time
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from diffwright.bench.editing_cases import Case, cases
from diffwright.bench.editing_metrics import rmse
from diffwright.cli.demo_page.page import Chapter, Figure, Shot
from diffwright.core.progress import Progress, report
from diffwright.editing.editor import ImageEditor
from diffwright.editing.operations import Move

CASES = 4


@dataclass(frozen=True)
class Moved:
    """One case with what the editor and the collage made of it, uint8 (64, 64, 3) each."""

    case: Case
    ours: np.ndarray
    collage: np.ndarray

    @property
    def errors(self) -> tuple[float, float]:
        """Distance of ours and of the collage from the truth, levels, where the edit may change anything."""
        touched = self.case.touched
        return rmse(self.ours, self.case.truth, touched), rmse(self.collage, self.case.truth, touched)


def move(pipe: Any, *, seed: int = 0, progress: Progress | None = None) -> Chapter:
    """Move the objects of rendered scenes.

    Args:
        pipe: The pipeline that edits.
        seed: Of the noise; the scenes are the first test cases.
        progress: Told the cases drawn and edited.

    Returns:
        The chapter.
    """
    start = time.perf_counter()
    drawn = cases("move", "test", CASES, progress)
    rendered, editor = time.perf_counter() - start, ImageEditor(pipe)
    moved, start = [], time.perf_counter()
    for number, case in enumerate(drawn):
        report(progress, "moving", number, CASES)
        editor.set_image(case.picture, case.caption)
        ours = np.asarray(editor.edit([case.operation], seed=seed).images[0])
        moved.append(Moved(case, ours, np.asarray(editor.preview([case.operation]))))
    report(progress, "moving", CASES, CASES)
    return _chapter(moved, (time.perf_counter() - start) / CASES, rendered)


def _chapter(moved: list[Moved], each: float, rendered: float) -> Chapter:
    ours, collage = np.mean([one.errors for one in moved], axis=0)
    shown = moved[0]
    dx, dy = cast("Move", shown.case.operation).by
    return Chapter(
        key="move",
        title="An object moved",
        before=Shot(shown.case.caption, shown.case.picture),
        ours=Shot(f"moved by {dx:g}, {dy:g} pixels", shown.ours),
        truth=Shot("what the renderer draws for the moved scene, with its own shadow", shown.case.truth),
        figure=Figure(
            f"{ours:.0f} of 255",
            f"levels off the truth where {CASES} edits change the picture",
            f"{collage:.0f}",
            "for scissors and glue",
        ),
        command=f"diffwright edit move scene.png --mask thing.png --by {dx:g} {dy:g} --out moved.png",
        text="The object is cut out and laid at its new place with its shadow, and the model, which has inverted the "
        "picture into its own noise, paints what was left. Nothing is trained for a picture. The first "
        "cases of the test are shown, good or bad; a third of them has things that touch or hide each other.",
        rows=[(f"Case {number} of {CASES}", _shots(one)) for number, one in enumerate(moved, 1)],
        facts=[
            ("seconds an edit", f"{each:.1f}"),
            ("seconds for the scenes", f"{rendered:.1f}"),
        ],
    )


def _shots(one: Moved) -> list[Shot]:
    ours, collage = one.errors
    return [
        Shot(one.case.caption, one.case.picture),
        Shot(f"scissors and glue, off by {collage:.0f} levels", one.collage),
        Shot(f"ours, off by {ours:.0f} levels", one.ours),
        Shot("truth", one.case.truth),
    ]
