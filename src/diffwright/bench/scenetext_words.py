"""Whether the right words stand there: accuracy of our editor on every set, beside ceiling and baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diffwright.bench import scenetext_methods as methods
from diffwright.bench.harness import Figure, number
from diffwright.bench.scenetext_gate import ratio_interval
from diffwright.bench.scenetext_methods import judged, write
from diffwright.bench.scenetext_sets import SETS, Case, cases
from diffwright.core.progress import Progress, report
from diffwright.metrics.ocr import Judge, wilson
from diffwright.metrics.statistics import paired_bootstrap
from diffwright.scenetext.editor import SceneTextEditor

OTHERS = ("random", "hard", "insert", "unseen_font")
LENGTHS = ((1, 4), (5, 8), (9, 14))
BEST_OF = 4


@dataclass(frozen=True, eq=False)
class Bench:
    """A run.

    Args:
        editor: Ours.
        judge: Reads words.
        count: Cases a set.
        only: An editor whose model has the instruction encoder alone, trained on as many samples; or None.
        photos: Folder of photographs; or None.
        progress: Is told the words written; may cancel.
        outside: Largest difference beyond the region, a number for each word written.
    """

    editor: SceneTextEditor
    judge: Judge
    count: int
    only: SceneTextEditor | None = None
    photos: Path | None = None
    progress: Progress | None = None
    outside: list[int] = field(default_factory=list)

    def cases(self, name: str, count: int | None = None) -> list[Case]:
        """Give the cases of a set."""
        return cases(name, count or self.count, self.photos)

    def written(
        self,
        what: str,
        of: Sequence[Case],
        candidates: int = 1,
        editor: SceneTextEditor | None = None,
        **changes: object,
    ) -> list[methods.Written]:
        """Write cases, and note what changed beyond their regions."""
        made = []
        for done, case in enumerate(of):
            report(self.progress, what, done, len(of))
            made.append(write(editor or self.editor, case, candidates, **changes))
            if "image" not in changes:
                self.outside.append(_outside(case, made[-1].first))
        report(self.progress, what, len(of), len(of))
        return made


def share(right: Sequence[bool], note: str = "", better: str = "higher") -> Figure:
    """Give a share as a figure, its Wilson interval in the note."""
    interval = wilson(int(np.sum(right)), len(right))
    words = [note] if note else []
    words.append(f"{len(right)} cases, 95 % {number(interval.low)} to {number(interval.high)}")
    return Figure(interval.value, "", better, "; ".join(words))  # pyright: ignore[reportArgumentType]


def word_figures(bench: Bench) -> dict[str, Figure]:
    """Measure the main set with every method, and the other sets with ours.

    Returns:
        ``word_accuracy``, ``word_accuracy_best4``, ``ceiling_accuracy``, ``truth_accuracy``,
        ``word_accuracy_of_ceiling``, ``copy_accuracy``, ``paste_accuracy``, with an arm ``instruction_only_accuracy``
        and ``two_encoders_gain``, then an accuracy and a ceiling for each other set, by length too.
    """
    of = bench.cases("word")
    ours = bench.written("words", of, BEST_OF)
    first = judged(bench.judge, [made.first for made in ours], of)
    best = judged(bench.judge, [made.best for made in ours], of)
    known = {
        name: judged(bench.judge, [method(case) for case in of], of)
        for name, method in (
            ("ceiling", methods.ceiling(bench.editor.vae)), ("truth", methods.truth), ("copy", methods.source),
            ("paste", methods.paste),
        )
    }  # fmt: skip
    of_ceiling = ratio_interval(np.array(first), np.array(known["ceiling"]))
    notes = {
        "ceiling": "the right strips through the autoencoder", "truth": "the right pictures",
        "copy": "the picture as it was", "paste": "rendered and pasted in the right font and color",
    }  # fmt: skip
    found = {
        "word_accuracy": share(first, f"seed 0, by {bench.judge.name}, case and marks aside"),
        f"word_accuracy_best{BEST_OF}": share(best, "chosen by our own reader"),
        **{f"{name}_accuracy": share(right, notes[name]) for name, right in known.items()},
        "word_accuracy_of_ceiling": Figure(
            of_ceiling.value if np.isfinite(of_ceiling.value) else 0.0, "", "higher",
            f"95 % {number(of_ceiling.low)} to {number(of_ceiling.high)}",
        ),
    }  # fmt: skip
    found |= _instruction_only(bench, of, first)
    for name in (*OTHERS, *(("photo",) if bench.photos else ())):
        found |= _other_set(bench, name)
    if not bench.photos:
        found["photo_words"] = Figure(0, "", "higher", "not run: no photographs; give --photos DIR")
    return found | _lengths(bench)


def _instruction_only(bench: Bench, of: Sequence[Case], ours: Sequence[bool]) -> dict[str, Figure]:
    if bench.only is None:
        note = "not run: no arm; train one with character_branch false, give --arms DIR with instruction_only"
        return {"instruction_only_words": Figure(0, "", "higher", note)}
    made = bench.written("words by the instruction alone", of, editor=bench.only)
    only = judged(bench.judge, [one.first for one in made], of)
    gain = paired_bootstrap(np.array(ours, float), np.array(only, float))
    note = f"paired, 95 % {number(gain.low)} to {number(gain.high)}"
    return {
        "instruction_only_accuracy": share(only, "the instruction encoder alone, equal samples"),
        "two_encoders_gain": Figure(gain.value, "", "higher", note),
    }


def _other_set(bench: Bench, name: str) -> dict[str, Figure]:
    of = bench.cases(name)
    made = bench.written(f"set {name}", of)
    right = judged(bench.judge, [one.first for one in made], of)
    top = methods.ceiling(bench.editor.vae)
    best = judged(bench.judge, [top(case) for case in of], of)
    note = f"{SETS[name].kind} scenes; ceiling {number(float(np.mean(best)))}"
    return {f"{name}_accuracy": share(right, note), f"{name}_ceiling_accuracy": share(best)}


def _lengths(bench: Bench) -> dict[str, Figure]:
    of = bench.cases("length")
    made = bench.written("lengths", of)
    right = judged(bench.judge, [one.first for one in made], of)
    found = {}
    for low, high in LENGTHS:
        some = [ok for ok, case in zip(right, of, strict=True) if low <= len(case.text) <= high]
        if some:
            found[f"length_{low}_{high}_accuracy"] = share(some)
    return found


def second_judge(bench: Bench, judge: Judge) -> dict[str, Figure]:
    """Read the main set by another judge: ``word_accuracy_NAME`` and ``ceiling_accuracy_NAME``."""
    of = bench.cases("word")
    made = bench.written("words", of)
    top = methods.ceiling(bench.editor.vae)
    right = judged(judge, [one.first for one in made], of)
    best = judged(judge, [top(case) for case in of], of)
    return {f"word_accuracy_{judge.name}": share(right), f"ceiling_accuracy_{judge.name}": share(best)}


def _outside(case: Case, made: np.ndarray) -> int:
    beyond = ~case.region.mask
    return int(np.abs(made.astype(int) - case.source)[beyond].max(initial=0))
