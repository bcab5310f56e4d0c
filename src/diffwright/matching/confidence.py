"""How far a match can be trusted: five kinds of evidence fused into one number, and what is occluded.

The evidence is a logarithm each: the error scale that the denoiser predicts, the spread of the samples, the distance
after going to B and back, the probability of the likeliest match, and the local contrast. A logistic function
weighs them; its coefficients live in the model's configuration and are fitted on pairs with known flow. Contrast
within a wide window multiplies the result, so that a blank picture is never matched with confidence.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.errors import InputError
from diffwright.matching.fields import inside, round_trip_error, sample
from diffwright.matching.model import COARSE

NAMES = ("error scale", "spread", "round trip", "likeliest match", "contrast")
FAINT = 0.015
"""Standard deviation of a picture in [-1, 1] below which there is hardly anything to match."""


def contrast(image: Tensor, shown: Tensor | None = None, window: int = 3) -> Tensor:
    """Standard deviation of a picture around each coarse cell.

    Args:
        image: Pictures in [-1, 1].
        shown: Where they show something; everywhere without it.
        window: Odd side of the neighbourhood in cells of 8 pixels.

    Shapes:
        image (B, 3, H, W), shown bool (B, 1, H, W) -> (B, 1, H/8, W/8)
    """
    weight = torch.ones_like(image[:, :1]) if shown is None else shown.to(image)
    moments = torch.cat([weight, image * weight, image.square() * weight], dim=1)
    local = F.avg_pool2d(moments, COARSE)
    local = F.avg_pool2d(local, window, stride=1, padding=window // 2, count_include_pad=False)
    count, mean, square = local.split((1, 3, 3), dim=1)
    count = count.clamp(min=1e-3)
    variance = square / count - (mean / count).square()
    return variance.clamp(min=0).mean(dim=1, keepdim=True).sqrt()


def evidence(error: Tensor, spread: Tensor, loop: Tensor, top: Tensor, local_contrast: Tensor) -> Tensor:
    """Stack the evidence for each cell.

    Args:
        error: Predicted error scale b, in pixels of the matched squares.
        spread: Of the samples, in the same pixels.
        loop: Distance after going to B and back, in the same pixels.
        top: Probability of the likeliest match, 0 to 1.
        local_contrast: What ``contrast`` gives, on the same grid.

    Shapes:
        each (B, 1, h, w) -> (B, 5, h, w)
    """
    logs = [
        error.clamp(0.05, 200).log(),
        (spread + 0.25).clamp(max=200).log(),
        (loop + 0.25).clamp(max=200).log(),
        (top + 1e-3).log(),
        (local_contrast + 0.005).log(),
    ]
    return torch.cat(logs, dim=1)


def fuse(found: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Weigh the evidence: probability that a match is right.

    Args:
        found: What ``evidence`` gives.
        coefficients: Constant, then one weight for each kind.

    Shapes:
        (B, 5, h, w) -> (B, 1, h, w)
    """
    constant, *weights = coefficients
    factors = found.new_tensor(weights)[:, None, None]
    return ((found * factors).sum(dim=1, keepdim=True) + constant).sigmoid()


def fit(found: Tensor, correct: Tensor, ridge: float = 1e-2, rounds: int = 30) -> tuple[float, ...]:
    """Fit the coefficients of ``fuse`` by logistic regression (Newton's method, steps halved until they help).

    Args:
        found: Evidence of many matches.
        correct: Which of them are within the wanted distance of the truth.
        ridge: Strength of the pull of the weights towards 0.
        rounds: Newton steps.

    Shapes:
        found (N, 5), correct bool (N,)

    Returns:
        Six numbers for ``MatchConfig.confidence``.

    Raises:
        InputError: all matches are right, or all are wrong.
    """
    if correct.all() or not correct.any():
        raise InputError("a confidence needs right and wrong matches to be fitted to; give other pairs")
    x = torch.cat([torch.ones_like(found[:, :1]), found], dim=1).double()
    y = correct.double()
    penalty = torch.eye(x.shape[1], dtype=x.dtype) * ridge * len(x) / 100
    penalty[0, 0] = 1e-9
    beta = x.new_zeros(x.shape[1])

    def loss(beta: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(x @ beta, y, reduction="sum") + beta @ penalty @ beta / 2

    for _ in range(rounds):
        p = (x @ beta).sigmoid()
        gradient = x.T @ (p - y) + penalty @ beta
        curvature = x.T @ (x * (p * (1 - p)).clamp(min=1e-6)[:, None]) + penalty
        step, before = torch.linalg.solve(curvature, gradient), loss(beta)
        for _ in range(30):
            if loss(beta - step) <= before:
                break
            step = step / 2
        beta = beta - step
    return tuple(beta.tolist())


def gate(wide_a: Tensor, wide_b: Tensor, place: Tensor) -> Tensor:
    """Near 0 where A around a cell, or B around where it lands, is blank; near 1 elsewhere.

    Args:
        wide_a: ``contrast`` of A in a wide window.
        wide_b: The same of B.
        place: Where each cell lands on B's grid.

    Shapes:
        wide_a (B, 1, h, w), wide_b (B, 1, h', w'), place (B, 2, h, w) -> (B, 1, h, w)
    """
    last = place.new_tensor([wide_b.shape[-1] - 1, wide_b.shape[-2] - 1])[:, None, None]
    there = sample(wide_b, place.clamp(min=0).minimum(last))
    return -torch.expm1(-(wide_a / FAINT).square()) * -torch.expm1(-(there / FAINT).square())


def occluded(field: Tensor, reverse: Tensor | None, size_b: tuple[int, int]) -> Tensor:
    """Tell which cells of A are hidden in B or outside it.

    Args:
        field: From A to B, in cells.
        reverse: From B to A, on B's grid; without it only what leaves B counts.
        size_b: (h, w) of B's grid.

    Shapes:
        field (B, 2, h, w), reverse (B, 2, h', w') -> bool (B, h, w)

    Reference:
        Sundaram et al., Dense Point Trajectories by GPU-Accelerated Large Displacement Optical Flow, ECCV 2010,
        Eq. 5, with a tolerance that suits a coarse grid.
    """
    gone = ~inside(field, size_b)
    if reverse is None:
        return gone
    tolerance = 0.75 + 0.1 * field.norm(dim=1)
    return gone | (round_trip_error(field, reverse) > tolerance)
