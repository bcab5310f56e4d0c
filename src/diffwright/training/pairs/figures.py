"""Learning curves of the matching recipes: errors of fields on fixed pairs, in pixels."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from diffwright.matching.fields import flow_of_field
from diffwright.metrics.flow import aepe, pck
from diffwright.training.pairs.losses import truth_in_cells
from diffwright.training.pairs.stream import Lesson

Fields = Callable[[Lesson], dict[str, Tensor]]
"""Gives fields (B, 2, h, w) in cells by a name that ends the names of their figures."""


def measured(
    fixed: Mapping[str, Sequence[Lesson]], fields: Fields, device: torch.device | str
) -> dict[str, float]:
    """Average the errors of fields over the pairs of each set.

    Args:
        fixed: Batches of pairs by what begins the names of their figures.
        fields: What is measured.
        device: Where to compute.

    Returns:
        ``aepe`` and ``pck5`` of every field on every set, over visible pixels.
    """
    rows: dict[str, list[Tensor]] = {}
    for begin, lessons in fixed.items():
        for lesson in moved(lessons, device):
            for end, field in fields(lesson).items():
                flow = flow_of_field(field.float(), lesson.flow.shape[-2:])  # type: ignore[arg-type]
                pair = (flow, lesson.flow, lesson.visible)
                rows.setdefault(f"{begin}aepe{end}", []).append(aepe(*pair))
                rows.setdefault(f"{begin}pck5{end}", []).append(pck(*pair, 5.0))
    return {name: float(torch.cat(values).nanmean()) for name, values in rows.items()}


def residual_scale(
    lessons: Sequence[Lesson],
    starts: Callable[[Lesson], Tensor],
    device: torch.device | str = "cpu",
    knee: float | None = None,
) -> float:
    """Root mean square of what a stage has to add to the field that enters it, in cells of its grid.

    Args:
        lessons: Pairs to measure on.
        starts: Gives the field (B, 2, h, w) that enters.
        device: Where to compute.
        knee: Take the asinh of the difference over so many cells first; cells themselves without it.

    Returns:
        Cells or their asinh, at least 0.25.
    """
    total, count = 0.0, 0
    for lesson in moved(lessons, device):
        start = starts(lesson)
        truth, seen = truth_in_cells(lesson.flow, lesson.visible, lesson.flow.shape[-1] // start.shape[-1])
        apart = truth - start if knee is None else ((truth - start) / knee).asinh()
        total += float((apart.square().mean(1) * seen).sum())
        count += int(seen.sum())
    return max(0.25, (total / max(count, 1)) ** 0.5)


def moved(lessons: Sequence[Lesson], device: torch.device | str) -> Iterator[Lesson]:
    """Give batches one after the other on a device."""
    for a, b, inside, flow, visible in lessons:
        shown = None if inside is None else inside.to(device)
        yield Lesson(a.to(device), b.to(device), shown, flow.to(device), visible.to(device))
