"""The diffusion of fields: cosine schedule, noising, DDIM with x0 prediction, and averages over samples.

Reference:
    Nam et al., Diffusion Model for Dense Matching, ICLR 2024, section 4; schedule of Nichol & Dhariwal, Improved
    Denoising Diffusion Probabilistic Models, ICML 2021, Eq. 17; sampler of Song et al., DDIM, ICLR 2021, Eq. 12.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffwright.core.checks import whole

OFFSET = 0.008
LARGEST_BETA = 0.999


@dataclass(frozen=True)
class Level:
    """One noise level.

    Attributes:
        time: From 0 (no noise) to 1 (only noise); what the network is told.
        alpha_bar: Share of the variance that is still the field.
    """

    time: float
    alpha_bar: float


Denoise = Callable[[Tensor, Level, Tensor | None], Tensor]
"""``denoise(x_t, level, previous_x0)`` gives x0; ``previous_x0`` is None in the first step."""

OnStep = Callable[[int, Level, Tensor, Tensor], None]
"""``on_step(step, level, x_t, x0)`` is told after each step."""


def table(steps: int) -> list[Level]:
    """Give the cosine schedule of a number of steps, from little noise to only noise.

    Args:
        steps: T, 1 to 1000.

    Raises:
        ConfigError: it is no such number.

    Example:
        >>> [round(level.alpha_bar, 4) for level in table(5)]
        [0.8987, 0.6475, 0.3408, 0.094, 0.0001]
    """
    whole("steps", steps, 1, 1000)
    curve = [math.cos((t / steps + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2 for t in range(steps + 1)]
    alpha_bar, levels = 1.0, []
    for t in range(steps):
        alpha_bar *= 1 - min(1 - curve[t + 1] / curve[t], LARGEST_BETA)
        levels.append(Level((t + 1) / steps, alpha_bar))
    return levels


def levels(steps: int, trained: int) -> list[Level]:
    """Choose the levels of a sampling run, from only noise to little.

    Fewer steps than the network was trained with take a part of its levels, always the noisiest; more steps take
    a finer schedule, whose times lie between the trained ones.

    Args:
        steps: of the run.
        trained: T of the training.
    """
    whole("steps", steps, 1, 1000)
    if steps > trained:
        return table(steps)[::-1]
    known = table(trained)
    return [known[math.ceil(trained - i * trained / steps) - 1] for i in range(steps)]


def q_sample(x0: Tensor, alpha_bar: Tensor | float, noise: Tensor) -> Tensor:
    """Noise x0: ``sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise``.

    Args:
        x0: Fields in the diffused variable.
        alpha_bar: One number, or one for each field.
        noise: Standard normal.

    Shapes:
        x0, noise (B, 2, h, w), alpha_bar () or (B,) -> (B, 2, h, w)
    """
    kept = torch.as_tensor(alpha_bar, dtype=x0.dtype, device=x0.device).reshape(-1, 1, 1, 1)
    return kept.sqrt() * x0 + (1 - kept).sqrt() * noise


@torch.no_grad()
def ddim(denoise: Denoise, x: Tensor, run: Sequence[Level], on_step: OnStep | None = None) -> Tensor:
    """Sample with DDIM, eta = 0, from a network that predicts x0.

    Args:
        denoise: The network with its conditions.
        x: Standard normal noise to start from.
        run: What ``levels`` gives.
        on_step: Is told after each step.

    Shapes:
        x (N, 2, h, w) -> (N, 2, h, w)

    Returns:
        The last prediction of x0.
    """
    x0 = None
    for step, level in enumerate(run):
        x0 = denoise(x, level, x0)
        a = level.alpha_bar
        a_next = run[step + 1].alpha_bar if step + 1 < len(run) else 1.0
        eps = (x - math.sqrt(a) * x0) / math.sqrt(1 - a)
        x = math.sqrt(a_next) * x0 + math.sqrt(1 - a_next) * eps
        if on_step is not None:
            on_step(step, level, x, x0)
    return x


def initial_noise(
    generators: Sequence[torch.Generator], samples: int, size: tuple[int, int], like: Tensor
) -> Tensor:
    """Draw the noise of K samples for each pair, from the pair's own CPU generator.

    Shapes:
        -> (B * K, 2, h, w), the samples of a pair next to each other
    """
    draws = [torch.randn((samples, 2, *size), generator=generator) for generator in generators]
    return torch.cat(draws).to(like)


def robust_average(samples: Tensor, log_b: Tensor, rounds: int = 8) -> Tensor:
    """Average K fields cell by cell: their geometric median, weighted by the confidence of each.

    One sample that fell into another mode is nearly ignored, where the mean would mix both.

    Args:
        samples: Fields in cells.
        log_b: Their logarithmic error scales, in cells.
        rounds: Iterations of Weiszfeld's algorithm.

    Shapes:
        samples (B, K, 2, h, w), log_b (B, K, 1, h, w) -> (B, 2, h, w)
    """
    trust = (-log_b).softmax(dim=1)
    center = (trust * samples).sum(dim=1)
    for _ in range(rounds if samples.shape[1] > 2 else 0):
        distance = (samples - center[:, None]).norm(dim=2, keepdim=True)
        weight = trust / distance.clamp(min=0.05)
        center = (weight * samples).sum(dim=1) / weight.sum(dim=1)
    return center


def spread(samples: Tensor) -> Tensor:
    """Root mean square distance of the samples from their mean, in cells; 0 for one sample.

    Shapes:
        (B, K, 2, h, w) -> (B, 1, h, w)
    """
    return samples.var(dim=1, correction=0).sum(dim=1, keepdim=True).sqrt()
