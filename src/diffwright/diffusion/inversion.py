"""From a picture's latents to the noise that a sampler turns back into it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from diffwright.core.progress import Progress, report
from diffwright.diffusion.schedules import Schedule

Noise = Callable[[Tensor, int], Tensor]
"""``noise(z, i)``: ε̂ of latents when the model is told the timestep of step i."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The latents of a picture at all levels from ``start`` to the picture itself.

    Attributes:
        schedule: the levels.
        start: first level, the noisiest.
        latents: by level - start.
        residuals: what a DDIM step from level i must be given to land on level i + 1, by i - start; empty when
            the inversion did not look at each level with its own timestep.

    Shapes:
        latents, residuals: (1, C, h, w) each
    """

    schedule: Schedule
    start: int
    latents: tuple[Tensor, ...]
    residuals: tuple[Tensor, ...] = ()

    def at(self, level: int) -> Tensor:
        """Latents at a level."""
        return self.latents[level - self.start]

    def residual(self, i: int) -> Tensor | float:
        """What step i lacks; 0 where it is not known."""
        return self.residuals[i - self.start] if self.residuals else 0.0


@torch.no_grad()
def invert(
    noise: Noise,
    z0: Tensor,
    schedule: Schedule,
    *,
    start: int = 0,
    own_level: bool = True,
    visit: Callable[[int], AbstractContextManager[object]] = lambda _: nullcontext(),
    progress: Progress | None = None,
) -> Trajectory:
    """Invert DDIM from a picture's latents.

    With ``own_level`` the model sees each latent with the timestep of its own noise, as sampling will. So what it
    computes there can be reused exactly, and what each sampling step misses is known and can be added: sampling
    then returns the very latents. Otherwise the model sees the cleaner latent with the timestep of the next level,
    as published, and only approximates it.

    Args:
        noise: the model.
        z0: the picture's latents.
        schedule: the levels.
        start: first level wanted, 0 for all; must be below the number of steps.
        own_level: which convention.
        visit: context around the one evaluation whose states belong to step i.
        progress: is told the evaluations done; may cancel.

    Shapes:
        z0 (1, C, h, w)
    """
    z, last = z0, len(schedule)
    latents, residuals, total = [z0], [], last - start + own_level
    if own_level:
        report(progress, "inverting", 0, total)
        z = schedule.carried(z0, noise(z0, last - 1), last, last - 1)
    for count, i in enumerate(reversed(range(start, last))):
        report(progress, "inverting", count + own_level, total)
        with visit(i):
            epsilon = noise(z, i)
        if own_level:
            residuals.append(latents[-1] - schedule.carried(z, epsilon, i, i + 1))
            latents.append(z)
            z = schedule.carried(z, epsilon, i, i - 1) if i > start else z
        else:
            z = schedule.carried(z, epsilon, i + 1, i)
            latents.append(z)
    report(progress, "inverting", total, total)
    return Trajectory(schedule, start, tuple(reversed(latents)), tuple(reversed(residuals)))
