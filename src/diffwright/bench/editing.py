"""Bench ``editing``: how near edits come to exact re-renders, beside scissors and paste, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffwright.bench.editing_arms import Bench
from diffwright.bench.editing_cases import TASKS, cases
from diffwright.bench.editing_compare import ablation, presets, prompts, quality
from diffwright.bench.editing_cost import cost_figures, real_size_figures
from diffwright.bench.editing_files import export_cases, score_folder
from diffwright.bench.editing_plan import NO_PROMPT, PARTS, QUICK, Plan, cost_table
from diffwright.bench.editing_spread import diversity
from diffwright.bench.harness import Figure
from diffwright.core.errors import ConfigError
from diffwright.core.progress import Progress
from diffwright.editing.editor import ImageEditor


def run(
    quick: bool = False,
    progress: Progress | None = None,
    *,
    parts: Sequence[str] = PARTS,
    export: Path | None = None,
    score: Path | None = None,
    model: Path | None = None,
) -> dict[str, Figure]:
    """Measure object editing on the rendered world.

    Args:
        quick: one case a task and few switches, under two minutes.
        progress: is told the edits done; may cancel.
        parts: which of ``PARTS`` to measure.
        export: only write the test cases into this folder, for any other editor.
        score: only measure the pictures that another editor wrote into such a folder.
        model: directory to measure in place of ``pocket``.

    Returns:
        The figures by name, what the run was planned to cost first; see ``docs/editing.md``.

    Raises:
        WeightsError: the model is missing or damaged.
        MissingExtra: OpenCV is not installed, which the baseline needs.
    """
    plan = QUICK if quick else Plan()
    if export is not None or score is not None:
        if model is not None or tuple(parts) != PARTS:
            raise ConfigError(
                "--export and --score run no model and no parts; leave --model and --parts out."
            )
        every = [case for task in TASKS for case in cases(task, "test", plan.test, progress)]
        figures = export_cases(export, every) if export is not None else {}
        return figures | (score_folder(score, every) if score is not None else {})
    editor = ImageEditor.from_pretrained("pocket" if model is None else model)
    bench = Bench(editor, plan, progress)
    figures = cost_table(editor, plan, parts)
    measured = {"quality": quality, "presets": presets, "ablation": ablation, "diversity": diversity}
    for part, measure in measured.items():
        if part in parts:
            figures |= measure(bench)
    if "prompts" in parts:
        figures |= prompts(bench) if editor.has_image_prompt else _no_prompts()
    if "cost" in parts:
        figures |= cost_figures(editor, bench.cases("move", 1)[0], plan.rounds) | real_size_figures()
    if bench.tried:
        note = f"{bench.tried} edits; a failed one counts as no change"
        figures["failed_share"] = Figure(bench.failed / bench.tried, "", "lower", note)
    return figures


def _no_prompts() -> dict[str, Figure]:
    """Name the figures that are left out."""
    left_out = ("image_prompt_gain_db", "ablation_reference_without_image_prompt")
    return {"image_prompt_figures": Figure(0.0, "", "higher", f"{NO_PROMPT}: {', '.join(left_out)}")}
