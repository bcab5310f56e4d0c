"""How near an edited picture is to the truth: by zones, by the object that is there, by handles, by color."""

from __future__ import annotations

import numpy as np
import torch

from diffwright.bench.editing_cases import Case
from diffwright.core.errors import InputError
from diffwright.core.geometry import box_of
from diffwright.core.images import to_tensor
from diffwright.editing.operations import Drag
from diffwright.metrics.colors import ciede2000, lab
from diffwright.metrics.pictures import psnr, ssim

BEST_DB = 60.0  # a perfect zone counts as this, so that means stay finite
PATCH = 3  # radius of a handle's patch, pixels
SEARCH = 12  # how far from its target a handle is looked for, pixels
SSIM_SIDE = 11
CELL_PX = 4  # side of a latent cell of the pocket model


def measure(case: Case, result: np.ndarray) -> dict[str, float]:
    """Measure one edited picture.

    Args:
        case: the edit and its truth.
        result: uint8 (64, 64, 3).

    Returns:
        By name; a figure that a case does not have is missing. ``psnr_*`` in decibels, at most 60; ``rmse_touched``
        in levels over everything that the edit may change; ``iou``, ``residue`` and ``scale_error`` are shares;
        ``centroid_px`` and ``handle_px`` pixels, ``handle_cells`` latent cells; ``delta_e`` is CIEDE2000.

    Raises:
        InputError: the picture has another size.
    """
    if result.shape != case.truth.shape or result.dtype != np.uint8:
        raise InputError(
            f"a picture {result.dtype}{result.shape} was given for {case.name}; expected uint8{case.truth.shape}"
        )
    touched = case.touched
    found = {"rmse_touched": rmse(result, case.truth, touched)}
    a, b = to_tensor(result), to_tensor(case.truth)
    for name, zone in zones(case).items():
        if zone.any():
            value = float(psnr(a, b, torch.from_numpy(zone)))
            found[f"psnr_{name}"] = min(value, BEST_DB)
            y, x = _crop(zone)
            found[f"ssim_{name}"] = float(ssim(a[..., y, x], b[..., y, x]))
    if case.task == "replace":
        found["delta_e"] = float(ciede2000(lab(result), lab(case.truth))[case.destination].mean())
    elif case.task == "drag":
        found |= _handles(case, result)
    if case.task != "replace":
        found |= _object(case, result)
    return found


def zones(case: Case) -> dict[str, np.ndarray]:
    """Destination, vacated place, background and whole picture, bool (64, 64) each."""
    return {
        "destination": case.destination,
        "vacated": case.vacated,
        "background": ~case.touched,
        "whole": np.ones_like(case.source),
    }


def rmse(result: np.ndarray, truth: np.ndarray, zone: np.ndarray) -> float:
    """Root mean squared difference over a zone, levels."""
    error = result[zone].astype(np.float64) - truth[zone]
    return float(np.sqrt((error**2).mean()))


def object_mask(case: Case, result: np.ndarray) -> np.ndarray:
    """Where the object is, without a segmenter.

    A pixel of the two places shows the object when it is nearer to a picture with it than to the one without it.

    Returns:
        bool (64, 64)
    """
    with_it = np.where(case.destination[..., None], case.truth, case.picture)
    there = _distance(result, with_it) < _distance(result, case.empty)
    return there & (case.source | case.destination)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a.astype(np.int64) - b) ** 2).sum(-1)


def _object(case: Case, result: np.ndarray) -> dict[str, float]:
    mask, found = object_mask(case, result), {}
    if case.vacated.any():
        found["residue"] = float(mask[case.vacated].mean())
    if case.task == "remove":
        return found
    found["iou"] = float((mask & case.destination).sum() / max(1, (mask | case.destination).sum()))
    if mask.any():
        found["centroid_px"] = float(np.linalg.norm(_center(mask) - _center(case.destination)))
        found["scale_error"] = abs(float(np.sqrt(mask.sum() / case.destination.sum())) - 1)
    else:
        found["centroid_px"], found["scale_error"] = float(SEARCH), 1.0
    return found


def _center(mask: np.ndarray) -> np.ndarray:
    y, x = np.nonzero(mask)
    return np.array([x.mean(), y.mean()])


def _handles(case: Case, result: np.ndarray) -> dict[str, float]:
    """How far from its target the true patch of each handle is found, by normalised correlation."""
    assert isinstance(case.operation, Drag)
    away = [_found_at(result, case.truth, point) for point in case.operation.to]
    return {"handle_px": float(np.mean(away)), "handle_cells": float(np.mean(away)) / CELL_PX}


def _found_at(result: np.ndarray, truth: np.ndarray, point: tuple[float, float]) -> float:
    padded, wide = _padded(result), _padded(truth)
    x, y = (round(v) for v in point)
    wanted = _patch(wide, x, y)
    best, distance = -2.0, float(SEARCH)
    for dy in range(-SEARCH, SEARCH + 1):
        for dx in range(-SEARCH, SEARCH + 1):
            if not (0 <= x + dx < result.shape[1] and 0 <= y + dy < result.shape[0]):
                continue
            score = float((wanted * _patch(padded, x + dx, y + dy)).sum()) - 1e-9 * np.hypot(dx, dy)
            if score > best:
                best, distance = score, float(np.hypot(dx, dy))
    return distance


def _padded(picture: np.ndarray) -> np.ndarray:
    return np.pad(picture.astype(np.float64), ((PATCH, PATCH), (PATCH, PATCH), (0, 0)), mode="edge")


def _patch(padded: np.ndarray, x: int, y: int) -> np.ndarray:
    """Patch around a pixel of the unpadded picture, zero mean in each color, unit norm."""
    part = padded[y : y + 2 * PATCH + 1, x : x + 2 * PATCH + 1]
    part = part - part.mean((0, 1))
    return part / max(float(np.linalg.norm(part)), 1e-9)


def _crop(zone: np.ndarray) -> tuple[slice, slice]:
    """Box of a zone, widened to what SSIM needs."""
    x0, y0, x1, y1 = box_of(zone)
    spans = []
    for low, high, limit in ((y0, y1, zone.shape[0]), (x0, x1, zone.shape[1])):
        length = max(SSIM_SIDE, high - low)
        start = min(max(0, (low + high - length) // 2), limit - length)
        spans.append(slice(start, start + length))
    return spans[0], spans[1]


def wins(ours: list[dict[str, float]], theirs: list[dict[str, float]], tie: float = 1e-6) -> dict[str, float]:
    """Shares of cases in which one is nearer to the truth where something may change, and of ties."""
    gap = np.array([a["rmse_touched"] - b["rmse_touched"] for a, b in zip(ours, theirs, strict=True)])
    return {
        "win": float((gap < -tie).mean()),
        "tie": float((np.abs(gap) <= tie).mean()),
        "loss": float((gap > tie).mean()),
    }


def mean(rows: list[dict[str, float]], name: str) -> float:
    """Mean of a figure over the cases that have it; NaN where none has."""
    values = [row[name] for row in rows if name in row]
    return float(np.mean(values)) if values else float("nan")
