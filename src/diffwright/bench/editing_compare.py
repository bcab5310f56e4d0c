"""The tables of the editing bench: our edits and their controls, presets, switched mechanisms, prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from diffwright.bench.editing_arms import Bench, Rows
from diffwright.bench.editing_metrics import mean, wins
from diffwright.bench.editing_plan import ACROSS, ACROSS_ARM, KEY, SOME, switches
from diffwright.bench.harness import Figure
from diffwright.metrics.statistics import paired_bootstrap

Better = Literal["lower", "higher"]
HEADLINES: tuple[tuple[str, str, str, str, Better], ...] = (
    ("move_destination_psnr", "move", "psnr_destination", "dB", "higher"),
    ("move_residue", "move", "residue", "", "lower"),
    ("move_centroid_px", "move", "centroid_px", "px", "lower"),
    ("move_iou", "move", "iou", "", "higher"),
    ("resize_scale_error", "resize", "scale_error", "", "lower"),
    ("drag_handle_px", "drag", "handle_px", "px", "lower"),
    ("drag_handle_cells", "drag", "handle_cells", "cells", "lower"),
    ("drag_destination_psnr", "drag", "psnr_destination", "dB", "higher"),
    ("replace_delta_e", "replace", "delta_e", "", "lower"),
    ("paste_destination_psnr", "paste", "psnr_destination", "dB", "higher"),
    ("remove_vacated_psnr", "remove", "psnr_vacated", "dB", "higher"),
    ("remove_residue", "remove", "residue", "", "lower"),
)
"""Figure, task, measure, unit, direction; each is given for us, and with a suffix for the controls."""
ZONES = ("psnr_destination", "psnr_vacated", "psnr_background", "psnr_whole", "ssim_whole", "rmse_touched")


def quality(bench: Bench) -> dict[str, Figure]:
    """What our default preset reaches, beside doing nothing, scissors and paste, and models as controls."""
    count = bench.plan.test
    suffixes = {"balanced": "", "paste": "_paste", "identity": "_identity", "autoencoder": "_ceiling"}
    figures = {}
    for name, suffix in suffixes.items():
        for figure, task, measure, unit, better in HEADLINES:
            value = mean(bench.rows(name, task, count), measure)
            if value == value:
                figures[figure + suffix] = Figure(value, unit, better, f"{count} test cases")
    gain = figures["remove_vacated_psnr"].value - figures["remove_vacated_psnr_paste"].value
    figures["remove_vacated_gain_db"] = Figure(gain, "dB", "higher", "over scissors and paste")
    dragged = bench.rows("latent_drag", "drag", count)
    figures["drag_handle_px_latent_opt"] = Figure(
        mean(dragged, "handle_px"), "px", "lower", "latents optimised, no fine-tuning"
    )
    for name, suffix in {"balanced": "", "uncomposed": "_uncomposed"}.items():
        rows = bench.joined(name, KEY, count)
        note = "composed; 60 where every byte is kept" if not suffix else "as the model made it"
        figures[f"background_psnr{suffix}"] = Figure(mean(rows, "psnr_background"), "dB", "higher", note)
    figures |= _zones(bench, count) | _win_rates(bench, "balanced", "", ("move", "resize", "paste", "remove"))
    for name in ("uncomposed", "preview", "renoised", "identity"):
        figures |= _win_rates(bench, name, f"_{name}", KEY)
    over = _win(bench.joined("balanced", KEY, count), bench.joined("preview", KEY, count))
    figures["model_win_rate"] = Figure(
        over.value, "", "higher", f"balanced against its own preview; {over.note}"
    )
    paste = bench.paste
    figures["paste_dilation"] = Figure(
        paste.ring, "px", "lower", f"{paste.method}, chosen on development cases"
    )
    return figures


def _zones(bench: Bench, count: int) -> dict[str, Figure]:
    """Every zone of every task, ours, with those of scissors and paste and of the autoencoder in the note."""
    figures = {}
    for task in ("move", "resize", "drag", "replace", "paste", "remove"):
        arms = {
            name: bench.rows(name, task, count) for name in ("balanced", "paste", "identity", "autoencoder")
        }
        for zone in ZONES:
            value, paste, nothing, ceiling = (mean(rows, zone) for rows in arms.values())
            if value == value:
                better: Better = "lower" if zone == "rmse_touched" else "higher"
                unit = "levels" if zone == "rmse_touched" else "dB" if zone.startswith("psnr") else ""
                note = f"paste {paste:.2f}, nothing {nothing:.2f}, autoencoder {ceiling:.2f}"
                figures[f"zone_{task}_{zone}"] = Figure(value, unit, better, note)
    return figures


def _win_rates(bench: Bench, name: str, suffix: str, tasks: Sequence[str]) -> dict[str, Figure]:
    """Shares of cases nearer to the truth than scissors and paste, by task and over the hard ones."""
    count, figures = bench.plan.test, {}
    mine, theirs = {}, {}
    for task in tasks:
        mine[task], theirs[task] = bench.rows(name, task, count), bench.rows("paste", task, count)
        figures[f"{task}_win_rate{suffix}"] = _win(mine[task], theirs[task])
    hard = [(t, n) for t in KEY for n, case in enumerate(bench.cases(t, count)) if case.hard]
    if hard:
        figures[f"hard_win_rate{suffix}"] = _win(
            [mine[t][n] for t, n in hard], [theirs[t][n] for t, n in hard]
        )
    return figures


def _win(mine: Rows, theirs: Rows) -> Figure:
    share = wins(mine, theirs)
    gap = paired_bootstrap([r["rmse_touched"] for r in mine], [r["rmse_touched"] for r in theirs])
    note = f"{len(mine)} cases, ties {share['tie']:.2f}; RMSE - theirs {gap} levels"
    return Figure(share["win"], "", "higher", note)


def presets(bench: Bench) -> dict[str, Figure]:
    """All presets on the same cases, against scissors and paste and each other."""
    count = bench.plan.others
    rows = {
        name: bench.joined(name, bench.plan.compared, count)
        for name in ("paste", "balanced", "fast", "reference", "dragon")
    }
    figures = {}
    for name in ("balanced", "fast", "reference"):
        figures[f"{name}_win_rate"] = _win(rows[name], rows["paste"])
    over = _win(rows["balanced"], rows["dragon"])
    figures["dragon_win_rate"] = Figure(over.value, "", "higher", f"balanced against dragon; {over.note}")
    over = _win(rows["reference"], rows["dragon"])
    figures["reference_over_dragon_win_rate"] = Figure(over.value, "", "higher", over.note)
    over = _win(rows["dragon"], rows["paste"])
    figures["dragon_over_paste_win_rate"] = Figure(over.value, "", "higher", over.note)
    for task in ACROSS:
        mine, theirs = (bench.rows(name, task, bench.plan.across) for name in (ACROSS_ARM, "paste"))
        figures[f"reference_{task}_win_rate"] = _win(mine, theirs)
    whole = {name: mean(rows[name], "psnr_whole") for name in rows}
    note = ", ".join(f"{name} {value:.2f}" for name, value in whole.items())
    figures["fast_loss_db"] = Figure(
        whole["reference"] - whole["fast"], "dB", "lower", f"PSNR of the picture, reference - fast; {note}"
    )
    figures["fast_loss_db_balanced"] = Figure(
        whole["balanced"] - whole["fast"], "dB", "lower", "the same, balanced - fast"
    )
    return figures


def ablation(bench: Bench) -> dict[str, Figure]:
    """Each mechanism switched: how much farther from the truth the edits then are."""
    count, figures = bench.plan.ablation, {}
    for name in switches(bench.plan, bench.editor.has_image_prompt):
        base = bench.joined(name.partition("_")[0], SOME, count)
        rows = bench.joined(name, SOME, count)
        gap = paired_bootstrap([r["rmse_touched"] for r in rows], [r["rmse_touched"] for r in base])
        added = "_with_" in name
        sign = -1 if added else 1
        low, high = sorted((sign * gap.low, sign * gap.high))
        verdict = "pays" if low > 0 else "harms" if high < 0 else "no difference shown"
        note = f"[{low:.3f}, {high:.3f}], {len(rows)} cases: {verdict}"
        words = "RMSE without it - with it"
        figures[f"ablation_{name}"] = Figure(sign * gap.value, "levels", "higher", f"{words} {note}")
    return figures


def prompts(bench: Bench) -> dict[str, Figure]:
    """Words on and off, the picture as a prompt on and off, and another picture as a prompt."""
    cells = ("words_picture", "words", "picture", "nothing", "mismatched")
    rows = {cell: bench.rows(f"prompted_{cell}", "move", bench.plan.prompts) for cell in cells}
    values = {cell: mean(rows[cell], "psnr_whole") for cell in cells}
    gain = paired_bootstrap(
        [r["psnr_whole"] for r in rows["picture"]], [r["psnr_whole"] for r in rows["nothing"]]
    )
    note = ", ".join(f"{cell.replace('_', ' and ')} {value:.2f} dB" for cell, value in values.items())
    return {
        "image_prompt_gain_db": Figure(gain.value, "dB", "higher", f"without words {gain}; {note}"),
        "image_prompt_gain_db_words": Figure(values["words_picture"] - values["words"], "dB", "higher"),
        "image_prompt_gain_db_mismatched": Figure(
            values["mismatched"] - values["nothing"], "dB", "higher", "control: another picture as the prompt"
        ),
    }
