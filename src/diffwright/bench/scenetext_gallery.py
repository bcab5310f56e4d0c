"""Draw what the editor makes of the first test cases, failures among them.

``python -m diffwright.bench.scenetext_gallery docs/images/scenetext.png``
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from diffwright.bench.scenetext_methods import crop, write
from diffwright.bench.scenetext_sets import Case, cases
from diffwright.core.errors import DiffwrightError
from diffwright.core.images import save_png
from diffwright.metrics.ocr import Judge, RapidJudge, same
from diffwright.scenetext.editor import SceneTextEditor
from diffwright.scenetext.region import strip_of
from diffwright.viz.strips import Look, sheet

SHOWN = {"word": 16, "insert": 8, "hard": 4, "random": 4}
LINE = 2


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Draw the first cases of the test sets: before, written, right; under each what was asked and what is read."""

    out: Annotated[Path, tyro.conf.Positional]
    """PNG file."""
    model: Path | None = None
    """What ``train scenetext`` exported, in place of ``pocket-text``."""

    def run(self) -> None:
        """Write the sheet."""
        editor = SceneTextEditor.from_pretrained("pocket-text" if self.model is None else self.model)
        judge = RapidJudge()
        of = [case for name, count in SHOWN.items() for case in cases(name, count)]
        shown, told = zip(*(_shown(editor, judge, case) for case in of), strict=True)
        right = sum(label.endswith("right") for label in told)
        title = f"before, written (seed 0), drawn; the first cases of four test sets, {right} of {len(of)} read right"
        save_png(np.asarray(sheet(shown, told, columns=4, title=title, look=Look(at_least=200))), self.out)


def _shown(editor: SceneTextEditor, judge: Judge, case: Case) -> tuple[np.ndarray, str]:
    made = write(editor, case).first
    strips = [strip_of(picture, case.region) for picture in (case.source, made, case.truth)]
    line = np.full((LINE, strips[0].shape[1], 3), 255, np.uint8)
    read = judge.read([crop(made, case.region)])[0]
    verdict = "right" if same(read, case.text) else "wrong"
    style = ", ".join(filter(None, (case.ask.font, case.ask.color))) or "as around"
    return np.concatenate([strips[0], line, strips[1], line, strips[2]]), (
        f"{case.name}: {case.text} ({style}); read {read!r}, {verdict}"
    )


if __name__ == "__main__":
    try:
        tyro.cli(Gallery).run()
    except DiffwrightError as error:
        sys.exit(str(error))
