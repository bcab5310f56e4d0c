"""Search settings for presets on development cases, as many trials for each; resumable.

``python -m diffwright.bench.editing_tune --out trials.jsonl --trials 24``

Trial 0 of every preset is the preset itself; the others change a few of its fields at random. A trial is one line of
the file, and a run that was stopped goes on after the last line. The score is the mean logarithm of our error over
that of scissors and paste, over everything that an edit may change: below 0 is nearer to the truth.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from diffwright.bench.editing_arms import Ours, Rows, best_paste
from diffwright.bench.editing_cases import TASKS, Case, cases
from diffwright.bench.editing_metrics import mean, measure, wins
from diffwright.core.checks import one_of, whole
from diffwright.core.errors import DiffwrightError, InputError
from diffwright.editing.editor import ImageEditor
from diffwright.editing.presets import PRESETS, Preset

Rng = np.random.Generator
Draw = Callable[[Rng], Any]


def _between(low: float, high: float) -> Draw:
    return lambda rng: round(float(rng.uniform(low, high)), 3)


def _times(low: float, high: float) -> Draw:
    return lambda rng: float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")


def _of(*values: Any) -> Draw:
    return lambda rng: values[int(rng.integers(len(values)))]


SPACES: dict[str, dict[str, Draw]] = {
    "published": {
        "energy": _times(0.02, 5.0),
        "limit": _of(None, 0.25, 0.5, 1.0, 2.0),
        "guided": _of(0.4, 0.6, 0.8, 1.0),
        "regional": _of(True, False),
        "guidance": _of(1.0, 1.5, 2.0, 4.0),
        "bank": _of(True, True, False),
        "bank_from": _of(0.0, 0.1, 0.3, 0.5),
        "eta_in": _of(0.0, 0.2, 0.4, 0.7),
        "passes": _of(1, 3),
    },
    "own": {
        "energy": _times(0.02, 5.0),
        "limit": _of(0.25, 0.5, 1.0, None),
        "guided": _of(0.6, 0.8, 1.0),
        "guidance": _of(1.0, 1.5, 2.0),
        "begin_at": _between(0.1, 0.8),
        "bank": _of(True, True, False),
        "bank_from": _of(0.0, 0.3, 0.6),
        "eta_in": _of(0.0, 0.4, 0.8),
        "noisy": _of((0.2, 0.4), (0.2, 0.7), (0.5, 0.9)),
        "carry": _of(True, True, False),
        "margin": _of(0, 1, 2, 3),
    },
}
"""What is drawn for presets in the published form, and for those that begin from the collage."""
CHANGED = 0.6  # share of the fields that a trial draws anew


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Search settings for presets on development cases; one line of --out a trial."""

    out: Path
    """File of trials; what it holds is not run again."""
    presets: tuple[str, ...] = ("reference", "balanced", "fast")
    """Each gets the same number of trials."""
    trials: int = 24
    """Trials for each preset."""
    tasks: tuple[str, ...] = ("move", "resize", "remove")
    """Tasks whose development cases decide."""
    cases: int = 6
    """The first development cases of each task."""
    model: str = "pocket"
    """Model to tune for."""

    def run(self) -> list[dict[str, Any]]:
        """Run the trials that the file lacks, trial by trial over the presets, and print the best of each."""
        whole("trials", self.trials, 1, 10**6)
        for name in self.presets:
            one_of("preset", name, PRESETS)
        for task in self.tasks:
            one_of("task", task, TASKS)
        done = read_trials(self.out, self._about())
        todo = [
            (name, number)
            for number in range(self.trials)
            for name in self.presets
            if not any(t["preset"] == name and t["trial"] == number for t in done)
        ]
        if todo:
            done += self._run(todo)
        for name in self.presets:
            best = min((t for t in done if t["preset"] == name), key=lambda t: t["score"])
            print(f"best of {self.trials} for {name}: {_line(best)} {best['changes']}", flush=True)
        return done

    def _about(self) -> dict[str, Any]:
        return {"tasks": list(self.tasks), "cases": self.cases, "model": self.model}

    def _run(self, todo: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
        """Run trials and append each to the file as it ends."""
        chosen = {task: cases(task, "development", self.cases) for task in self.tasks}
        paste = best_paste([case for group in chosen.values() for case in group])
        theirs = {task: [measure(case, paste(case)) for case in group] for task, group in chosen.items()}
        editor, found, start = ImageEditor.from_pretrained(self.model), [], time.perf_counter()
        for number, (name, trial) in enumerate(todo):
            changes = drawn(name, trial)
            record = {"preset": name, "trial": trial, "changes": changes, **self._about()}
            record |= score(editor, replace(PRESETS[name], **changes), chosen, theirs)
            found.append(record)
            with self.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            left = (time.perf_counter() - start) / (number + 1) * (len(todo) - number - 1) / 60
            print(f"{number + 1}/{len(todo)}, {left:.0f} min left: {_line(record)}", flush=True)
        return found


def read_trials(path: Path, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the trials of a file; a last line that was cut off is dropped from it.

    Args:
        path: the file; may be missing.
        about: tasks, cases and model that its trials must share.

    Raises:
        InputError: its trials are of other cases.
    """
    if not path.is_file():
        return []
    lines = path.read_text("utf-8").split("\n")
    if lines[-1]:
        lines = [*lines[:-1], ""]
        path.write_text("\n".join(lines), "utf-8")
    found = [json.loads(line) for line in lines if line]
    for trial in found:
        if any(trial.get(key) != value for key, value in about.items()):
            raise InputError(f"{path} holds trials of other cases; choose another file or the same options")
    return found


def drawn(name: str, trial: int) -> dict[str, Any]:
    """The fields that a trial changes; a function of preset and number, nothing for trial 0."""
    if trial == 0:
        return {}
    preset = PRESETS[name]
    space = SPACES["own" if preset.begin == "collage" else "published"]
    rng = np.random.Generator(np.random.PCG64([trial, len(space)]))
    changes = {}
    for field, draw in space.items():
        changed, value = rng.random() < CHANGED, draw(rng)
        if changed and value != getattr(preset, field):
            changes[field] = value
    return changes


def score(
    editor: ImageEditor, preset: Preset, chosen: dict[str, list[Case]], theirs: dict[str, Rows]
) -> dict[str, Any]:
    """Measure a preset on cases, beside scissors and paste; a failed edit counts as no change."""
    edit, rows, failed = Ours(editor, preset), {}, 0
    for task, group in chosen.items():
        rows[task] = []
        for case in group:
            try:
                picture = edit(case)
            except DiffwrightError:
                failed, picture = failed + 1, case.picture
            rows[task].append(measure(case, picture))
    ratios = {
        task: float(np.mean([_log_ratio(a, b) for a, b in zip(rows[task], theirs[task], strict=True)]))
        for task in rows
    }
    every = [row for task in rows for row in rows[task]]
    others = [row for task in rows for row in theirs[task]]
    return {
        "score": float(np.mean(list(ratios.values()))),
        "win_rate": wins(every, others)["win"],
        "residue": mean(every, "residue"),
        "failed": failed,
        "ratios": ratios,
        "settings": asdict(preset),
    }


def _log_ratio(ours: dict[str, float], theirs: dict[str, float]) -> float:
    return math.log(max(ours["rmse_touched"], 0.1) / max(theirs["rmse_touched"], 0.1))


def _line(trial: dict[str, Any]) -> str:
    return (
        f"{trial['preset']} trial {trial['trial']}: error {math.exp(trial['score']):.3f} of scissors and paste's,"
        f" wins {trial['win_rate']:.2f}, residue {trial['residue']:.2f}"
    )


if __name__ == "__main__":
    try:
        tyro.cli(Tune).run()
    except DiffwrightError as error:
        sys.exit(str(error))
