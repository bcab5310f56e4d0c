"""The arms of the editing bench by name, and their measured rows, each edit made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffwright.bench.baselines.editing import CUT_AND_PASTES, CutAndPaste, LatentDrag, Renoised, identity
from diffwright.bench.editing_cases import TASKS, Case, cases
from diffwright.bench.editing_metrics import mean, measure
from diffwright.bench.editing_plan import Plan, settings
from diffwright.core.errors import DiffwrightError
from diffwright.core.images import to_tensor, to_u8
from diffwright.core.progress import Progress, report
from diffwright.diffusion.autoencoder import round_trip
from diffwright.editing.editor import ImageEditor
from diffwright.editing.presets import Preset

Rows = list[dict[str, float]]
Editor = Callable[[Case], np.ndarray]


@dataclass
class Bench:
    """Cases and every editor's rows on them.

    Attributes:
        editor: ours.
        plan: the sizes.
        progress: is told the edits done; may cancel.
        tried: edits asked of our editor.
        failed: those that ended in an error; they count as no change.
    """

    editor: ImageEditor
    plan: Plan
    progress: Progress | None = None
    tried: int = 0
    failed: int = 0
    _cases: dict[str, list[Case]] = field(default_factory=dict)
    _rows: dict[tuple[str, str], Rows] = field(default_factory=dict)
    _paste: CutAndPaste | None = None

    def cases(self, task: str, count: int) -> list[Case]:
        """The first test cases of a task."""
        if len(self._cases.get(task, [])) < count:
            self._cases[task] = cases(task, "test", max(count, self.plan.test), self.progress)
        return self._cases[task][:count]

    @property
    def paste(self) -> CutAndPaste:
        """Scissors and paste as the development cases choose it."""
        if self._paste is None:
            self._paste = best_paste(
                [c for t in TASKS for c in cases(t, "development", self.plan.development, self.progress)]
            )
        return self._paste

    def rows(self, name: str, task: str, count: int) -> Rows:
        """Measure an arm on the first test cases of a task; what was measured before is not run again."""
        done = self._rows.setdefault((name, task), [])
        todo = self.cases(task, count)[len(done) :]
        edit = self._arm(name) if todo else None
        for number, case in enumerate(todo):
            report(self.progress, f"{task}: {name}", number, len(todo))
            assert edit is not None
            done.append(measure(case, self._edited(edit, case)))
        return done[:count]

    def joined(self, name: str, tasks: Sequence[str], count: int) -> Rows:
        """The rows of several tasks, one after the other."""
        return [row for task in tasks for row in self.rows(name, task, count)]

    def _edited(self, edit: Editor, case: Case) -> np.ndarray:
        if not isinstance(edit, Ours):
            return edit(case)
        self.tried += 1
        try:
            return edit(case)
        except DiffwrightError:
            self.failed += 1
            return case.picture

    def _arm(self, name: str) -> Editor:
        pipe = self.editor.pipe
        others: dict[str, Callable[[], Editor]] = {
            "identity": lambda: identity,
            "paste": lambda: self.paste,
            "preview": lambda: self._previewed,
            "autoencoder": lambda: lambda case: to_u8(round_trip(pipe.vae, to_tensor(case.truth)))[0],
            "renoised": lambda: Renoised(pipe),
            "latent_drag": lambda: LatentDrag(pipe),
            "uncomposed": lambda: Ours(self.editor, settings("balanced"), keep_outside=False),
        }
        if name in others:
            return others[name]()
        if name.startswith("prompted_"):
            return self._prompted(name.removeprefix("prompted_"))
        return Ours(self.editor, settings(name))

    def _previewed(self, case: Case) -> np.ndarray:
        """Our own scissors and paste, from which ``balanced`` and ``fast`` begin."""
        return np.asarray(self.editor.set_image(case.picture).preview([case.operation]))

    def _prompted(self, cell: str) -> Ours:
        """A cell of the table of prompts: words or none, the picture as a prompt, none, or another picture."""
        told = settings("reference")
        plain = settings("reference_without_image_prompt")
        if cell == "mismatched":
            other = self.cases("remove", 1)[0].picture
            return Ours(mismatched(self.editor, other), told, words=False)
        pictured = cell in ("words_picture", "picture")
        return Ours(self.editor, told if pictured else plain, words=cell.startswith("words"))


@dataclass(frozen=True)
class Ours:
    """Our editor as an arm.

    Attributes:
        editor: the editor.
        preset: its settings.
        keep_outside: whether pixels outside the edit are kept.
        words: whether it is told what the picture shows.
    """

    editor: ImageEditor
    preset: str | Preset
    keep_outside: bool = True
    words: bool = True

    def __call__(self, case: Case) -> np.ndarray:
        """Edit."""
        self.editor.set_image(case.picture, case.caption if self.words else "")
        result = self.editor.edit([case.operation], preset=self.preset, keep_outside=self.keep_outside)
        return np.asarray(result.images[0])


def mismatched(editor: ImageEditor, other: np.ndarray) -> ImageEditor:
    """The same editor, whose image prompt always shows another picture."""
    prompt: Any = copy(editor.image_prompt)
    tokens = prompt.tokens
    prompt.tokens = lambda _picture, tower: tokens(other, tower)
    return ImageEditor(editor.pipe, editor.preset, prompt, editor.tower)


def best_paste(development: Sequence[Case]) -> CutAndPaste:
    """The inpainting and the dilation with the lowest error where something may change."""

    def error(method: CutAndPaste) -> float:
        return mean([measure(case, method(case)) for case in development], "rmse_touched")

    return min(CUT_AND_PASTES, key=error)
