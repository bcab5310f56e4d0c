"""Whether the right words stand there: accuracy of our editor on every set, beside ceiling and baselines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diffwright.bench import scenetext_methods as methods
from diffwright.bench.harness import Figure, number
from diffwright.bench.scenetext_gate import ratio_interval
from diffwright.bench.scenetext_methods import judged
from diffwright.bench.scenetext_sets import SETS, Case, cases
from diffwright.core.progress import Progress, report
from diffwright.metrics.ocr import Judge, wilson
from diffwright.metrics.statistics import paired_bootstrap
from diffwright.scenetext.editor import SceneTextEditor
from diffwright.world.lettering.faces import installed

OTHERS = ("random", "hard", "insert", "unseen_font")
LENGTHS = ((1, 4), (5, 8), (9, 12), (13, 16))
BEST_OF = 4
ONLY = "instruction_only"
ARMS = (ONLY, "faithful", "no_attention_loss", "no_reading_loss")
"""Controls that may have been trained, by the name of their folder."""


@dataclass(frozen=True, eq=False)
class Bench:
    """A run.

    Args:
        editor: Ours.
        judge: Reads words.
        count: Cases a set.
        arms: Editors of trained controls, by a name of ``ARMS``.
        photos: Folder of photographs; or None.
        progress: Is told the words written; may cancel.
        samples: How many samples ours and each arm were trained on, as far as their folders say.
        outside: Largest difference beyond the region, a number for each word written.
    """

    editor: SceneTextEditor
    judge: Judge
    count: int
    arms: Mapping[str, SceneTextEditor] = field(default_factory=dict)
    photos: Path | None = None
    progress: Progress | None = None
    samples: Mapping[str, int] = field(default_factory=dict)
    outside: list[int] = field(default_factory=list)

    def cases(self, name: str, count: int | None = None) -> list[Case]:
        """Give the cases of a set."""
        return cases(name, count or self.count, self.photos)

    def write(self, case: Case, candidates: int = 1, **changes: Any) -> methods.Written:
        """Write a case with our editor, and note what changed beyond its region."""
        made = methods.write(self.editor, case, candidates, **changes)
        self.outside.append(made.outside)
        return made

    def written(
        self, what: str, of: Sequence[Case], candidates: int = 1, **changes: Any
    ) -> list[methods.Written]:
        """Write cases."""
        made = []
        for done, case in enumerate(of):
            report(self.progress, what, done, len(of))
            made.append(self.write(case, candidates, **changes))
        report(self.progress, what, len(of), len(of))
        return made

    def read(self, pictures: Iterable[np.ndarray], of: Sequence[Case]) -> list[bool]:
        """Tell for each picture whether the judge reads in its region what was to be written."""
        return judged(self.judge, list(pictures), of)

    def without_a_model(self) -> dict[str, methods.Method]:
        """What bounds an editor, and what needs no model."""
        return {
            "ceiling": methods.ceiling(self.editor.vae), "truth": methods.truth, "copy": methods.source,
            "paste": methods.paste,
        }  # fmt: skip


NOTES = {
    "ceiling": "the right strips through the autoencoder",
    "truth": "the right pictures",
    "copy": "the picture as it was",
    "paste": "rendered and pasted in the right font and color",
}


def share(right: Sequence[bool], note: str = "", better: str = "higher") -> Figure:
    """Give a share as a figure, its Wilson interval in the note."""
    interval = wilson(int(np.sum(right)), len(right))
    words = [note] if note else []
    words.append(f"{len(right)} cases, 95 % {number(interval.low)} to {number(interval.high)}")
    return Figure(interval.value, "", better, "; ".join(words))  # pyright: ignore[reportArgumentType]


def not_run(why: str) -> Figure:
    """Stand for a figure that could not be taken."""
    return Figure(0, "", "higher", f"not run: {why}")


def word_figures(bench: Bench) -> dict[str, Figure]:
    """Measure the main set with every method and arm, then the other sets, and words by their length.

    Returns:
        ``word_accuracy``, ``word_accuracy_best4``, ``ceiling_accuracy``, ``truth_accuracy``,
        ``word_accuracy_of_ceiling``, ``copy_accuracy``, ``paste_accuracy``, for each arm its accuracy,
        ``two_encoders_gain``, then an accuracy and a ceiling for each other set, the baselines in the notes.
    """
    of = bench.cases("word")
    ours = bench.written("words", of, BEST_OF)
    first, best = bench.read([made.first for made in ours], of), bench.read([made.best for made in ours], of)
    known = {name: bench.read(map(method, of), of) for name, method in bench.without_a_model().items()}
    of_ceiling = ratio_interval(np.array(first), np.array(known["ceiling"]))
    found = {
        "word_accuracy": share(first, f"seed 0, by {bench.judge.name}, case and marks aside"),
        f"word_accuracy_best{BEST_OF}": share(best, "chosen by our own reader"),
        **{f"{name}_accuracy": share(right, NOTES[name]) for name, right in known.items()},
        "word_accuracy_of_ceiling": Figure(
            of_ceiling.value if np.isfinite(of_ceiling.value) else 0.0, "", "higher",
            f"95 % {number(of_ceiling.low)} to {number(of_ceiling.high)}",
        ),
    }  # fmt: skip
    found |= _arms(bench, of, first)
    for name in OTHERS:
        unseen = name == "unseen_font" and not has_held_out_faces()
        found |= {f"{name}_words": not_run("no held-out fonts; make fonts")} if unseen else _set(bench, name)
    found |= (
        _set(bench, "photo")
        if bench.photos
        else {"photo_words": not_run("no photographs; give --photos DIR")}
    )
    return found | _lengths(bench)


def _arms(bench: Bench, of: Sequence[Case], ours: Sequence[bool]) -> dict[str, Figure]:
    if ONLY not in bench.arms:
        why = f"no arm; train one with character_branch false, give --arms DIR with {ONLY}"
        found = {f"{ONLY}_words": not_run(why)}
    else:
        found = {}
    for name, editor in bench.arms.items():
        right = bench.read((methods.write(editor, case).first for case in of), of)
        told = "the instruction encoder alone" if name == ONLY else name.replace("_", " ")
        if {name, ""} <= set(bench.samples):
            told += f", {bench.samples[name]:,} samples, ours {bench.samples['']:,}"
        found[f"{name}_accuracy"] = share(right, told)
        if name == ONLY:
            gain = paired_bootstrap(np.array(ours, float), np.array(right, float))
            note = f"paired, 95 % {number(gain.low)} to {number(gain.high)}"
            found["two_encoders_gain"] = Figure(gain.value, "", "higher", note)
    return found


def _set(bench: Bench, name: str) -> dict[str, Figure]:
    of = bench.cases(name)
    right = bench.read([made.first for made in bench.written(f"set {name}", of)], of)
    others = {each: bench.read(map(method, of), of) for each, method in bench.without_a_model().items()}
    if ONLY in bench.arms:
        only = bench.arms[ONLY]
        others["instruction alone"] = bench.read((methods.write(only, case).first for case in of), of)
    beside = ", ".join(f"{each} {number(float(np.mean(ok)))}" for each, ok in others.items())
    return {
        f"{name}_accuracy": share(right, f"{SETS[name].kind} scenes; {beside}"),
        f"{name}_ceiling_accuracy": share(others["ceiling"]),
    }


def _lengths(bench: Bench) -> dict[str, Figure]:
    of = bench.cases("length")
    right = bench.read([made.first for made in bench.written("lengths", of)], of)
    others = {each: bench.read(map(method, of), of) for each, method in bench.without_a_model().items()}
    found = {}
    for low, high in LENGTHS:
        some = [k for k, case in enumerate(of) if low <= len(case.text) <= high]
        if some:
            beside = ", ".join(
                f"{each} {number(float(np.mean([ok[k] for k in some])))}" for each, ok in others.items()
            )
            found[f"length_{low}_{high}_accuracy"] = share([right[k] for k in some], beside)
    return found


def second_judge(bench: Bench, judge: Judge) -> dict[str, Figure]:
    """Read the main set by another judge: ``word_accuracy_NAME`` and ``ceiling_accuracy_NAME``."""
    of = bench.cases("word")
    made = bench.written("words", of)
    top = methods.ceiling(bench.editor.vae)
    right = judged(judge, [one.first for one in made], of)
    best = judged(judge, [top(case) for case in of], of)
    return {f"word_accuracy_{judge.name}": share(right), f"ceiling_accuracy_{judge.name}": share(best)}


def has_held_out_faces() -> bool:
    """Whether faces are installed that no model was trained on."""
    trained = {face.id for face in installed("train")}
    return any(face.id not in trained for face in installed("test"))
