"""From features to fields: initial field, stage 1, stage 2, and the way back from B to A.

Fields are in cells and lead to B as it was turned; ``matcher.py`` turns them back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.matching.cost import local_cost, local_cost_of_features, matchability
from diffwright.matching.diffusion import spread
from diffwright.matching.fields import resize_field, size_of
from diffwright.matching.model import MatchModel
from diffwright.matching.nets import Features
from diffwright.matching.stages import (
    MatchOptions,
    OnField,
    StageOutput,
    Volume,
    initial_field,
    run_stage1,
    run_stage2,
    volume,
)

LEAST_GAIN = 0.01
"""Cosine by which an earlier field must be supported better to come back."""

BENEFIT = 0.02
"""A given field is kept where its similarity is at most this much below that of the own one."""


@dataclass(frozen=True)
class Cascade:
    """What a pair gave.

    Attributes:
        field: From A to B on the finest grid that was run, in its cells.
        log_b: Logarithm of its expected error, in the same cells.
        samples: The K samples it was averaged from.
        spread: Distance between samples, over both stages, in the same cells.
        initial: The field that entered stage 1, in coarse cells.
        coarse: The field on the coarse grid, in coarse cells.
        top: Probability of the likeliest match, on the coarse grid.
        reverse: From B to A, on the grid of the turned B, in cells of its grid; None if not asked for.

    Shapes (B pairs, K samples):
        field (B, 2, h, w), log_b and spread (B, 1, h, w), samples (B, K, 2, h, w), top (B, 1, h/4, w/4)
    """

    field: Tensor
    log_b: Tensor
    samples: Tensor
    spread: Tensor
    initial: Tensor
    coarse: Tensor
    top: Tensor
    reverse: Tensor | None = None

    def row(self, number: int) -> Cascade:
        """Give the same of one pair alone."""
        return replace(
            self,
            **{
                name: values[number : number + 1] for name, values in vars(self).items() if values is not None
            },
        )


@torch.no_grad()
def run(
    model: MatchModel,
    a: Features,
    b: Features,
    generators: Sequence[torch.Generator],
    options: MatchOptions,
    given: Tensor | None = None,
    on_field: OnField | None = None,
) -> Cascade:
    """Match pairs of features, both ways if the options say so.

    Args:
        model: Any number of stages; the options' stages beyond them are not run.
        a: Features of A.
        b: Features of B, turned or not.
        generators: One CPU generator for each pair.
        options: What to switch.
        given: A field of another matcher to start from, on the fine grid, NaN where unknown.
        on_field: Is told after each step of the forward pass.
    """
    pair = volume(model, a, b)
    found = _one_way(model, a, b, pair, generators, options, given, on_field)
    if options.reverse == "off":
        return found
    stages = options.stages if options.reverse == "full" else min(options.stages, 1)
    back = _one_way(model, b, a, pair.reversed(), generators, options.with_stages(stages))
    return replace(found, reverse=back.field)


def _one_way(
    model: MatchModel,
    a: Features,
    b: Features,
    pair: Volume,
    generators: Sequence[torch.Generator],
    options: MatchOptions,
    given: Tensor | None = None,
    on_field: OnField | None = None,
) -> Cascade:
    stages = min(options.stages, model.config.stages)
    start = initial_field(pair, options.initial)
    if given is not None:
        start = _merged(start, resize_field(given, size_of(start)), lambda field: _support1(pair, field))
    top = matchability(pair.chance)[0]
    if stages == 0:
        zero = torch.zeros_like(start[:, :1])
        return Cascade(start, zero, start[:, None], zero, start, start, top)
    first = run_stage1(model, pair, generators, options, start, on_field)
    spread1 = spread(first.samples)
    fine_a, fine_b = a.fine, b.fine
    if stages == 1 or fine_a is None or fine_b is None:
        return Cascade(first.field, first.log_b, first.samples, spread1, start, first.field, top)
    fine = resize_field(first.field, size_of(fine_a))
    if given is not None:
        fine = _merged(fine, given, lambda field: _support2(fine_a, fine_b, field))
    second = run_stage2(model, a, b, fine, generators, options, on_field)
    field = second.field
    if options.check:
        field = _best_supported(fine_a, fine_b, field, (resize_field(start, size_of(fine_a)), fine))
    zoom = fine_a.shape[-1] / start.shape[-1]
    both = (_resized(spread1 * zoom, fine_a).square() + spread(second.samples).square()).sqrt()
    return Cascade(field, _both(first, second, zoom), second.samples, both, start, first.field, top)


def _both(first: StageOutput, second: StageOutput, zoom: float) -> Tensor:
    """Error scale of stage 2, which sees only its window, held up by a part of stage 1's."""
    below = _resized(first.log_b.exp() * zoom, second.log_b)
    return (second.log_b.exp() + 0.5 * below).log()


def _merged(own: Tensor, given: Tensor, support: Callable[[Tensor], Tensor]) -> Tensor:
    """Take the given field where it is known and the features support it as well as the own one."""
    known = given.isfinite().all(dim=1, keepdim=True)
    filled = torch.where(known, given, own)
    return torch.where(known & (support(filled) >= support(own) - BENEFIT), filled, own)


def _best_supported(a: Tensor, b: Tensor, field: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Put another field in a field's place wherever the fine features support that one better."""
    support = _support2(a, b, field)
    for other in others:
        theirs = _support2(a, b, other)
        better = theirs > support + LEAST_GAIN
        field, support = torch.where(better, other, field), torch.where(better, theirs, support)
    return field


def _support1(pair: Volume, field: Tensor) -> Tensor:
    """Largest cosine next to where a field leads, (B, 1, h, w)."""
    return local_cost(pair.cost, field, 1).amax(dim=1, keepdim=True)


def _support2(a: Tensor, b: Tensor, field: Tensor) -> Tensor:
    """Cosine of fine features where a field leads, over 5 x 5 cells, (B, 1, h, w)."""
    exact = local_cost_of_features(a, b, field, 0)
    return F.avg_pool2d(exact, 5, stride=1, padding=2, count_include_pad=False)


def _resized(values: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(values, size=size_of(like), mode="bilinear", align_corners=False)
