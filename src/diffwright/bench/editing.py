"""How near edited pictures are to exact re-renders, beside scissors and paste, and what an edit costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffwright.bench.baselines.editing import (
    CUT_AND_PASTES,
    CutAndPaste,
    LatentDrag,
    Renoised,
    identity,
)
from diffwright.bench.editing_cases import TASKS, Case, cases
from diffwright.bench.editing_cost import cost_figures, real_size_figures
from diffwright.bench.editing_files import export_cases, score_folder
from diffwright.bench.editing_metrics import mean, measure, wins
from diffwright.bench.harness import Figure
from diffwright.core.errors import DiffwrightError
from diffwright.core.progress import Progress, report
from diffwright.diffusion.autoencoder import round_trip
from diffwright.editing.editor import ImageEditor
from diffwright.editing.presets import PRESETS, Preset
from diffwright.metrics.statistics import paired_bootstrap

Rows = list[dict[str, float]]
Editor = Callable[[Case], np.ndarray]
QUICK = 3  # cases a task
SEEDS = 8
SPREAD_CASES = 10


def run(
    quick: bool,
    progress: Progress | None = None,
    *,
    export: Path | None = None,
    score: Path | None = None,
    model: str = "pocket",
) -> dict[str, Figure]:
    """Measure object editing on the rendered world.

    Args:
        quick: three cases a task and few arms, under two minutes.
        progress: is told the edits done; may cancel.
        export: only write the test cases into this folder, for any other editor.
        score: only measure the pictures that another editor wrote into such a folder.
        model: what ``ImageEditor.from_pretrained`` takes.

    Returns:
        The figures by name; see ``docs/editing.md``.

    Raises:
        WeightsError: the model is missing or damaged.
    """
    count = QUICK if quick else None
    if export is not None:
        return export_cases(export, [c for t in TASKS for c in cases(t, "test", count, progress)])
    if score is not None:
        return score_folder(score, [c for t in TASKS for c in cases(t, "test", count, progress)])
    editor = ImageEditor.from_pretrained(model)
    development = {task: cases(task, "development", QUICK if quick else None, progress) for task in TASKS}
    test = {task: cases(task, "test", count, progress) for task in TASKS}
    paste = best_paste([case for group in development.values() for case in group])
    bench = Arms(test, progress)
    ours = bench.edited("ours", ours_on(editor, "balanced"))
    scissors = bench.edited("paste", paste)
    figures = _quality(ours, scissors) | _controls(bench, scissors, editor)
    figures |= _wins("", test, ours, scissors)
    if not quick:
        figures |= _presets(bench, editor, ours, scissors)
    figures |= _spread(editor, test["remove"][: 2 if quick else SPREAD_CASES], 3 if quick else SEEDS)
    figures |= cost_figures(editor, test["move"][0], 1 if quick else 5)
    figures |= real_size_figures()
    figures["failed_share"] = Figure(bench.failed / max(bench.tried, 1), "", "lower", f"{bench.tried} edits")
    figures["paste_dilation"] = Figure(paste.ring, "px", "lower", f"chosen on development cases: {paste}")
    return figures


class Arms:
    """Test cases, and the measured rows of every editor that was run on them.

    Args:
        test: cases by task.
        progress: is told the edits done; may cancel.
    """

    def __init__(self, test: Mapping[str, Sequence[Case]], progress: Progress | None = None) -> None:
        self.test, self.progress, self.tried, self.failed = test, progress, 0, 0

    def edited(self, name: str, editor: Editor, tasks: Sequence[str] = TASKS) -> dict[str, Rows]:
        """Run an editor on all cases of some tasks; a failed edit counts as no change.

        Returns:
            Rows by task, in the order of the cases.
        """
        todo = [(task, case) for task in tasks for case in self.test[task]]
        rows: dict[str, Rows] = {task: [] for task in tasks}
        for number, (task, case) in enumerate(todo):
            report(self.progress, f"editing: {name}", number, len(todo))
            self.tried += 1
            try:
                picture = editor(case)
            except DiffwrightError:
                self.failed += 1
                picture = case.picture
            rows[task].append(measure(case, picture))
        return rows


def ours_on(editor: ImageEditor, preset: str | Preset, **options: Any) -> Editor:
    """Our editor with a preset, as the benches call editors."""

    def edit(case: Case) -> np.ndarray:
        prompt = options.get("prompt", case.caption)
        editor.set_image(case.picture, prompt)
        result = editor.edit(
            [case.operation], preset=preset, keep_outside=options.get("keep_outside", True), seed=0
        )
        return np.asarray(result.images[0])

    return edit


def best_paste(development: Sequence[Case]) -> CutAndPaste:
    """The inpainting and the dilation with the lowest error where something may change."""

    def error(method: CutAndPaste) -> float:
        return mean([measure(case, method(case)) for case in development], "rmse_touched")

    return min(CUT_AND_PASTES, key=error)


def _quality(ours: dict[str, Rows], paste: dict[str, Rows]) -> dict[str, Figure]:
    """The figures that the issue names, ours and those of scissors and paste."""
    everything = [row for task in TASKS for row in ours[task]]

    def figure(task: str, name: str, unit: str, better: Any, rows: dict[str, Rows] = ours) -> Figure:
        return Figure(mean(rows[task], name), unit, better, f"{len(rows[task])} test cases")

    return {
        "move_destination_psnr": figure("move", "psnr_destination", "dB", "higher"),
        "move_destination_psnr_paste": figure("move", "psnr_destination", "dB", "higher", paste),
        "move_residue": figure("move", "residue", "", "lower"),
        "move_residue_paste": figure("move", "residue", "", "lower", paste),
        "move_centroid_px": figure("move", "centroid_px", "px", "lower"),
        "move_iou": figure("move", "iou", "", "higher"),
        "resize_scale_error": figure("resize", "scale_error", "", "lower"),
        "drag_handle_px": figure("drag", "handle_px", "px", "lower"),
        "drag_handle_px_paste": figure("drag", "handle_px", "px", "lower", paste),
        "replace_delta_e": figure("replace", "delta_e", "", "lower"),
        "replace_delta_e_paste": figure("replace", "delta_e", "", "lower", paste),
        "paste_destination_psnr": figure("paste", "psnr_destination", "dB", "higher"),
        "remove_vacated_psnr": figure("remove", "psnr_vacated", "dB", "higher"),
        "remove_vacated_psnr_paste": figure("remove", "psnr_vacated", "dB", "higher", paste),
        "background_psnr": Figure(
            mean(everything, "psnr_background"), "dB", "higher", "composed; 60 where every byte is kept"
        ),
    }


def _controls(bench: Arms, paste: dict[str, Rows], editor: ImageEditor) -> dict[str, Figure]:
    """Doing nothing, re-noising, latent optimisation, and what the autoencoder alone loses."""
    nothing = bench.edited("identity", identity)
    tasks = ("move", "resize", "remove")
    noised = bench.edited("re-noising", Renoised(editor.pipe), tasks)
    dragged = bench.edited("latent optimisation", LatentDrag(editor.pipe), ("drag",))

    def ceiling(case: Case) -> np.ndarray:
        from diffwright.core.images import to_tensor, to_u8

        return to_u8(round_trip(editor.pipe.vae, to_tensor(case.truth)))[0]

    limit = bench.edited("autoencoder", ceiling, ("move", "remove"))
    figures = {
        "drag_handle_px_latent_opt": Figure(
            mean(dragged["drag"], "handle_px"), "px", "lower", "no fine-tuning"
        ),
        "move_destination_psnr_ceiling": Figure(
            mean(limit["move"], "psnr_destination"), "dB", "higher", "the truth through the autoencoder"
        ),
        "remove_vacated_psnr_ceiling": Figure(
            mean(limit["remove"], "psnr_vacated"), "dB", "higher", "the truth through the autoencoder"
        ),
    }
    for task in tasks:
        rate = wins(noised[task], paste[task])["win"]
        figures[f"{task}_win_rate_renoised"] = Figure(
            rate, "", "higher", "re-noising against scissors and paste"
        )
        rate = wins(nothing[task], paste[task])["win"]
        figures[f"{task}_win_rate_identity"] = Figure(rate, "", "lower", "doing nothing against them")
    return figures


def _wins(
    suffix: str, test: Mapping[str, Sequence[Case]], ours: dict[str, Rows], paste: dict[str, Rows]
) -> dict[str, Figure]:
    """Shares of cases that are nearer to the truth than scissors and paste, by task and over the hard ones."""
    figures = {}
    for task in ("move", "resize", "paste", "remove"):
        share = wins(ours[task], paste[task])
        gap = paired_bootstrap(
            [row["rmse_touched"] for row in ours[task]], [row["rmse_touched"] for row in paste[task]]
        )
        note = f"ties {share['tie']:.2f}; RMSE ours - theirs {gap} levels"
        figures[f"{task}_win_rate{suffix}"] = Figure(share["win"], "", "higher", note)
    hard = [(t, n) for t in ("move", "resize", "remove") for n, case in enumerate(test[t]) if case.hard]
    share = wins([ours[t][n] for t, n in hard], [paste[t][n] for t, n in hard])
    figures[f"hard_win_rate{suffix}"] = Figure(
        share["win"], "", "higher", f"{len(hard)} cases, ties {share['tie']:.2f}"
    )
    return figures


def _presets(
    bench: Arms, editor: ImageEditor, ours: dict[str, Rows], paste: dict[str, Rows]
) -> dict[str, Figure]:
    """The other presets, the uncomposed pictures, the image prompt, and each mechanism switched."""
    some = ("move", "remove")
    figures = _wins(
        "_uncomposed",
        bench.test,
        bench.edited("uncomposed", ours_on(editor, "balanced", keep_outside=False)),
        paste,
    )
    fast = bench.edited("fast", ours_on(editor, "fast"), some)
    reference = bench.edited("reference", ours_on(editor, "reference"), some)
    dragon = bench.edited("dragon", ours_on(editor, "dragon"), some)
    loss = np.mean([mean(ours[t], "psnr_whole") - mean(fast[t], "psnr_whole") for t in some])
    figures["fast_loss_db"] = Figure(
        float(loss), "dB", "lower", "whole picture, balanced - fast, move and remove"
    )
    joined = {
        name: [row for t in some for row in arm[t]]
        for name, arm in (("d", dragon), ("r", reference), ("o", ours), ("p", paste))
    }
    figures["dragon_win_rate"] = Figure(
        wins(joined["o"], joined["d"])["win"], "", "higher", "balanced against dragon, move and remove"
    )
    figures["reference_win_rate"] = Figure(
        wins(joined["r"], joined["p"])["win"],
        "",
        "higher",
        "reference against scissors and paste, move and remove",
    )
    figures |= _image_prompt_gain(bench, editor)
    for name, settings in ABLATIONS.items():
        arm = bench.edited(name, ours_on(editor, settings), some)
        rows = [row for t in some for row in arm[t]]
        base = joined["r"] if name.startswith("reference") else joined["o"]
        change = np.mean([a["rmse_touched"] - b["rmse_touched"] for a, b in zip(rows, base, strict=True)])
        figures[f"ablation_{name}"] = Figure(
            float(change), "levels", "higher", "RMSE without it - RMSE with it"
        )
    return figures


ABLATIONS = {
    "reference_without_image_prompt": replace(PRESETS["reference"], image_prompt=0.0),
    "reference_without_regional_gradients": replace(PRESETS["reference"], regional=False),
    "reference_without_noise": replace(PRESETS["reference"], eta_in=0.0),
    "reference_without_time_travel": replace(PRESETS["reference"], passes=1),
    "reference_without_bank": replace(PRESETS["reference"], bank=False),
    "reference_without_energies": replace(PRESETS["reference"], energy=0.0),
    "balanced_without_exact": replace(PRESETS["balanced"], exact=False),
    "balanced_without_bank": replace(PRESETS["balanced"], bank=False),
    "balanced_without_energies": replace(PRESETS["balanced"], energy=0.0),
    "balanced_without_noise": replace(PRESETS["balanced"], eta_in=0.0),
    "balanced_without_detail": replace(PRESETS["balanced"], detail=False),
}
"""Settings with one mechanism switched off."""


def _image_prompt_gain(bench: Arms, editor: ImageEditor) -> dict[str, Figure]:
    """The picture as a prompt: with and without it, with and without words."""
    table = {}
    for words in (True, False):
        for strength in (PRESETS["reference"].image_prompt, 0.0):
            settings = replace(PRESETS["reference"], image_prompt=strength)
            options = {} if words else {"prompt": ""}
            rows = bench.edited("image prompt", ours_on(editor, settings, **options), ("move",))
            table[words, strength > 0] = mean(rows["move"], "psnr_whole")
    note = ", ".join(f"words {w}, picture {p}: {v:.2f} dB" for (w, p), v in table.items())
    return {"image_prompt_gain_db": Figure(table[False, True] - table[False, False], "dB", "higher", note)}


def _spread(editor: ImageEditor, chosen: Sequence[Case], seeds: int) -> dict[str, Figure]:
    """How much pictures of several seeds differ in the edit, with regional noise and without."""
    spreads, backgrounds = {}, {}
    for eta in (0.0, PRESETS["balanced"].eta_in or 0.4):
        settings, inside, outside = replace(PRESETS["balanced"], eta_in=eta), [], []
        for case in chosen:
            editor.set_image(case.picture, case.caption)
            result = editor.edit([case.operation], preset=settings, seed=range(seeds), keep_outside=False)
            pictures = np.stack([np.asarray(i) for i in result.images]).astype(float)
            inside.append(float(pictures.std(0)[case.touched].mean()))
            outside.append(mean([measure(case, np.asarray(i)) for i in result.images], "psnr_background"))
        spreads[eta > 0], backgrounds[eta > 0] = float(np.mean(inside)), float(np.mean(outside))
    note = (
        f"{seeds} seeds, {len(chosen)} removals; background {backgrounds[False]:.2f} dB without noise,"
        f" {backgrounds[True]:.2f} dB with it"
    )
    ratio = spreads[True] / max(spreads[False], 1e-6)
    return {"sde_diversity_ratio": Figure(ratio, "x", "higher", note)}
