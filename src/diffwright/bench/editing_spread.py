"""How much pictures of several seeds differ inside an edit, with regional noise and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diffwright.bench.editing_arms import Bench
from diffwright.bench.editing_metrics import mean, measure
from diffwright.bench.harness import Figure
from diffwright.core.progress import report
from diffwright.editing.presets import PRESETS, Preset

ETA = 0.4  # as published, where a preset adds none


def diversity(bench: Bench) -> dict[str, Figure]:
    """Spread over seeds inside the zone, regional SDE over ODE, with what the background loses by it."""
    balanced = PRESETS["balanced"]
    still, still_db = _spread(bench, replace(balanced, eta_in=0.0))
    noisy, noisy_db = _spread(bench, replace(balanced, eta_in=balanced.eta_in or ETA))
    note = (
        f"{bench.plan.seeds} seeds, {bench.plan.spread} removals; levels {noisy:.2f} with noise, {still:.2f} without"
        f" (each seed begins with its own noise where the object stood); background, not composed, {noisy_db:.2f} dB"
        f" with noise, {still_db:.2f} dB without"
    )
    return {
        "sde_diversity_ratio": Figure(noisy / max(still, 1e-6), "x", "higher", note),
        "sde_background_loss_db": Figure(still_db - noisy_db, "dB", "lower", "without noise - with it"),
    }


def _spread(bench: Bench, preset: Preset) -> tuple[float, float]:
    """Mean standard deviation over seeds inside the zone, levels, and PSNR of the background, decibels."""
    inside, outside = [], []
    chosen = bench.cases("remove", bench.plan.spread)
    for number, case in enumerate(chosen):
        report(bench.progress, "seeds", number, len(chosen))
        bench.editor.set_image(case.picture, case.caption)
        seeds = range(bench.plan.seeds)
        result = bench.editor.edit([case.operation], preset=preset, seed=seeds, keep_outside=False)
        pictures = [np.asarray(image) for image in result.images]
        inside.append(float(np.stack(pictures).astype(float).std(0)[case.touched].mean()))
        outside.append(mean([measure(case, picture) for picture in pictures], "psnr_background"))
    return float(np.mean(inside)), float(np.mean(outside))
