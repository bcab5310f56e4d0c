"""Choose guidance on development scenes, as many trials for each model.

``python -m diffwright.bench.scenetext_tune runs/scenetext/model --out docs/bench/scenetext_guidance/ours.json``

The score is the mean of two shares over scenes that are neither trained on nor tested with: words that the judge reads,
and named colors that are right. A model without a character branch has one scale, which is tried at as many values.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from diffwright.bench.harness import environment
from diffwright.bench.scenetext_methods import basic_name, color_of, judged, write
from diffwright.bench.scenetext_sets import Case, cases
from diffwright.core.atomic import write_json
from diffwright.core.checks import whole
from diffwright.core.errors import DiffwrightError
from diffwright.metrics.ocr import Judge, RapidJudge
from diffwright.scenetext.editor import SceneTextEditor

BOTH = ((1.0, 1.0), (2.0, 1.5), (3.0, 1.5), (3.0, 3.0), (5.0, 2.0), (5.0, 5.0), (7.5, 7.5))
ALONE = tuple((scale, scale) for scale in (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5))


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Try guidance scales on development scenes."""

    model: Annotated[Path, tyro.conf.Positional]
    """What ``train scenetext`` exported."""
    count: int = 48
    """Scenes for words, and as many for colors."""
    out: Path | None = None
    """JSON file of the trials."""

    def run(self) -> None:
        """Print each trial, the best last."""
        whole("count", self.count, 1, 10_000)
        editor, judge = SceneTextEditor.from_pretrained(self.model), RapidJudge()
        of, colored = (cases(name, self.count, split="development") for name in ("word", "style"))
        grid = BOTH if editor.model.characters is not None else ALONE
        trials = [trial(editor, judge, of, colored, guidance) for guidance in grid]
        for one in sorted(trials, key=lambda one: one["score"]):
            print(f"{one['guidance']}: words {one['words']:.2f}, colors {one['colors']:.2f}")
        if self.out is not None:
            write_json(self.out, {"trials": trials, "scenes": self.count, "environment": environment()})


def trial(
    editor: SceneTextEditor, judge: Judge, of: list[Case], colored: list[Case], guidance: tuple[float, float]
) -> dict[str, Any]:
    """Measure one pair of scales: ``guidance``, ``words``, ``colors`` and their mean, ``score``."""
    made = [write(editor, case, guidance=guidance).first for case in of]
    right = float(np.mean(judged(judge, made, of)))
    named = [
        basic_name(color_of(write(editor, case, guidance=guidance).first, case)) == case.ask.color
        for case in colored
    ]
    colors = float(np.mean(named))
    return {"guidance": list(guidance), "words": right, "colors": colors, "score": (right + colors) / 2}


if __name__ == "__main__":
    try:
        tyro.cli(Tune).run()
    except DiffwrightError as error:
        sys.exit(str(error))
