"""Fit a finished matcher's confidence to pairs with known flow: what counts as evidence, and how much."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from diffwright.core.errors import InputError
from diffwright.core.seeding import generators
from diffwright.matching.assembly import Job, weigh
from diffwright.matching.cascade import run
from diffwright.matching.confidence import fit
from diffwright.matching.fields import flow_of_field
from diffwright.matching.hypotheses import UPRIGHT, Turned
from diffwright.matching.model import MatchModel
from diffwright.matching.stages import MatchOptions
from diffwright.training.pairs.figures import moved
from diffwright.training.pairs.stream import Lesson

WITHIN = 3.0
"""Pixels of the matched square up to which a match counts as right."""
EVERY = 4  # pixels from one match to the next that is fitted to, both ways


def calibrated(model: MatchModel, fixed: Mapping[str, Sequence[Lesson]]) -> tuple[float, ...]:
    """Fit the coefficients of the confidence.

    A point of A that is not visible in B has no right match.

    Args:
        model: A complete matching model, in evaluation mode.
        fixed: Pairs that never trained, by any names; every second batch of each is used.

    Returns:
        Six numbers for ``MatchConfig.confidence``; the model's own where all matches are right, or all wrong.
    """
    device = model.features.log_scale.device
    chosen = moved([lesson for lessons in fixed.values() for lesson in lessons[::2]], device)
    parts = [evidence_of(model, lesson) for lesson in chosen]
    found, correct = (torch.cat(values).cpu() for values in zip(*parts, strict=True))
    try:
        return fit(found, correct)
    except InputError:
        return model.config.confidence


@torch.no_grad()
def evidence_of(model: MatchModel, lesson: Lesson) -> tuple[Tensor, Tensor]:
    """Match a batch and collect evidence and outcome of a part of its points.

    Shapes:
        -> evidence (N, 5), right or not (N,)
    """
    a, b = model.features(lesson.image_a), model.features(lesson.image_b, lesson.inside)
    found = run(model, a, b, generators(range(len(lesson.flow))), MatchOptions())
    proof, _, _ = weigh(list(_jobs(lesson)), found, model.config)
    size = lesson.flow.shape[-2:]
    error = (flow_of_field(found.field.float(), size) - lesson.flow).norm(dim=1)  # type: ignore[arg-type]
    right = lesson.visible & (error <= WITHIN)
    proof = torch.nn.functional.interpolate(proof, size=size, mode="bilinear", align_corners=False)
    return _some(proof).movedim(1, -1).flatten(0, 2), _some(right).flatten()


def _jobs(lesson: Lesson) -> Iterable[Job]:
    blank, linear = np.zeros((*lesson.flow.shape[-2:], 3), np.uint8), torch.eye(2, dtype=torch.float64)
    for i in range(len(lesson.flow)):
        inside = None if lesson.inside is None else lesson.inside[i : i + 1]
        turned = Turned(lesson.image_b[i : i + 1], inside, linear)
        yield Job(blank, blank, lesson.image_a[i : i + 1], UPRIGHT, turned)


def _some(values: Tensor) -> Tensor:
    return values[..., EVERY // 2 :: EVERY, EVERY // 2 :: EVERY]
