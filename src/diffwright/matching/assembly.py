"""Between pictures and squares: what enters the networks for a pair, and the result at the pictures' own sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.matching import confidence as trust
from diffwright.matching.cascade import Cascade
from diffwright.matching.fields import flow_of_field, landing, resize_field, round_trip_error, size_of
from diffwright.matching.hypotheses import Hypothesis, Turned, upright_field, upright_reverse
from diffwright.matching.model import COARSE, MatchConfig
from diffwright.matching.output import MatchOutput

WIDE = 9
"""Side of the window, in coarse cells, that must show something for a match to be trusted."""

DOUBTFUL = 0.1
"""Mean confidence below which the result warns."""


@dataclass(frozen=True)
class Job:
    """One pair on its way: the pictures, A as a square, B as it was turned, and a field to start from."""

    image_a: np.ndarray
    image_b: np.ndarray
    square_a: Tensor
    guess: Hypothesis
    turned: Turned
    given: Tensor | None = None


def square(image: Tensor, size: int) -> Tensor:
    """Resize a picture to size x size, averaging where it shrinks.

    Shapes:
        (1, 3, H, W) -> (1, 3, size, size)
    """
    if size_of(image) == (size, size):
        return image
    return F.interpolate(
        image, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    ).clamp(-1, 1)


def batch(jobs: Sequence[Job]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Stack jobs whose turned pictures have one size.

    Shapes:
        -> A (B, 3, S, S), B (B, 3, H', W'), where B shows something: bool (B, 1, H', W'), or None for everywhere
    """
    a = torch.cat([job.square_a for job in jobs])
    b = torch.cat([job.turned.image for job in jobs])
    if all(job.turned.inside is None for job in jobs):
        return a, b, None
    everywhere = torch.ones_like(b[:1, :1], dtype=torch.bool)
    inside = [everywhere if job.turned.inside is None else job.turned.inside for job in jobs]
    return a, b, torch.cat(inside)


def judge(jobs: Sequence[Job], found: Cascade, config: MatchConfig) -> tuple[Tensor, Tensor]:
    """Say how far each cell of the field can be trusted, and how far it is occluded.

    Args:
        jobs: The pairs.
        found: What the cascade gave for them.
        config: Holds the coefficients of the confidence.

    Shapes:
        -> (B, 1, h, w), (B, 1, h, w), on the grid of the field, both 0 to 1
    """
    proof, gate, hidden = weigh(jobs, found, config)
    sure = trust.fuse(proof, config.confidence) * gate
    return sure.nan_to_num(0.0).clamp(0, 1), hidden


def weigh(jobs: Sequence[Job], found: Cascade, config: MatchConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Collect the evidence for the confidence, in pixels of B's square.

    Shapes:
        -> evidence (B, 5, h, w), gate (B, 1, h, w), occlusion (B, 1, h, w), on the grid of the field
    """
    a, b, inside = batch(jobs)
    height, width = size_of(found.field)
    zoom = torch.stack([job.turned.linear.det().abs().sqrt() for job in jobs]).to(a)[:, None, None, None]
    cell = zoom * config.size / width
    size_b = b.shape[-2] // COARSE, b.shape[-1] // COARSE
    coarse = resize_field(found.field.float(), (config.grid(1), config.grid(1)))

    def fine(values: Tensor) -> Tensor:
        return F.interpolate(values, size=(height, width), mode="bilinear", align_corners=False)

    error = found.log_b.float().clamp(-5, 6).exp() * cell
    if found.reverse is None:
        loop, hidden = error, trust.occluded(coarse, None, size_b)
    else:
        reverse = resize_field(found.reverse.float(), size_b)
        loop = fine(round_trip_error(coarse, reverse)[:, None] * COARSE * zoom)
        hidden = trust.occluded(coarse, reverse, size_b)
    proof = trust.evidence(
        error, found.spread.float() * cell, loop, fine(found.top.float()), fine(trust.contrast(a))
    )
    wide_a, wide_b = trust.contrast(a, None, WIDE), trust.contrast(b, inside, WIDE)
    gate = trust.gate(wide_a, wide_b, landing(coarse, size_b))
    return proof, fine(gate), fine(hidden[:, None].float())


def assemble(job: Job, found: Cascade, sure: Tensor, hidden: Tensor, keep_samples: bool) -> MatchOutput:
    """Turn the fields of one pair back and bring all to the size of A.

    Args:
        job: The pair.
        found: What the cascade gave for it alone.
        sure: Its confidence.
        hidden: Its occlusion.
        keep_samples: Whether the result holds all samples.

    Shapes:
        sure, hidden (1, 1, h, w)
    """
    size_a, size_b = job.image_a.shape[:2], job.image_b.shape[:2]
    linear = job.turned.linear

    def flow(field: Tensor) -> np.ndarray:
        return _array(flow_of_field(upright_field(field.float(), linear), size_a, size_b))

    def full(values: Tensor) -> np.ndarray:
        resized = F.interpolate(values.float(), size=size_a, mode="bilinear", align_corners=False)
        return resized[0, 0].cpu().numpy()

    reverse = samples = None
    if found.reverse is not None:
        side = round(found.reverse.shape[-1] * job.square_a.shape[-1] / job.turned.image.shape[-1])
        back = upright_reverse(found.reverse.float(), linear, side)
        reverse = _array(flow_of_field(back, size_b, size_a))
    if keep_samples:
        samples = np.stack([flow(found.samples[:, k]) for k in range(found.samples.shape[1])])
    certainty = full(sure)
    out = MatchOutput(
        flow=flow(found.field),
        confidence=certainty,
        occlusion=full(hidden) > 0.5,
        image_a=job.image_a,
        image_b=job.image_b,
        initial=flow(found.initial),
        reverse=reverse,
        samples=samples,
        rotation=job.guess.rotation,
        scale=job.guess.scale,
        warnings=_warnings(certainty),
    )
    figures = {"mean_confidence": float(certainty.mean()), "overlap": out.overlap}
    return replace(out, figures=figures, images=(out.warp(),), names=("warped",))


def _warnings(certainty: np.ndarray) -> list[str]:
    if certainty.mean() >= DOUBTFUL:
        return []
    return [
        f"the mean confidence is {certainty.mean():.2f}: the pictures hardly match, or show too little to match"
    ]


def _array(flow: Tensor) -> np.ndarray:
    """Flow (1, 2, H, W) as a float32 array (H, W, 2)."""
    return flow[0].permute(1, 2, 0).float().cpu().contiguous().numpy()
