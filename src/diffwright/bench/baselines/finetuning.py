"""What the training baselines share: a copy of the UNet, its cross-attention trained by Adam, and a fair clock."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffwright.bench.baselines.weights import Weights

Loss = Callable[[nn.Module, int, torch.Generator], Tensor]
"""Gives the loss of the trained UNet at a step, with noise from a generator."""


class Check(NamedTuple):
    """The state of a training.

    Attributes:
        step: optimizer steps done.
        seconds: spent in training, not counting the time between checks.
        weights: the trained weights.
    """

    step: int
    seconds: float
    weights: Weights


def train(
    pipe: Any,
    pair: tuple[str, str],
    loss: Loss,
    *,
    learning_rate: float,
    checks: Sequence[int],
    started: float = 0.0,
    seed: int = 0,
) -> Iterator[Check]:
    """Train the cross-attention of a copy of the UNet; the clock stands still while a check is looked at.

    Args:
        pipe: the pipeline, which stays as it is.
        pair: source and target, in words.
        loss: what is minimised.
        learning_rate: of Adam.
        checks: steps, rising, at which the training pauses.
        started: seconds spent before the first step.
        seed: of the noise.
    """
    student = copy.deepcopy(pipe.unet)
    trained = {name: value for name, value in student.named_parameters() if "attn2" in name}
    for name, value in student.named_parameters():
        value.requires_grad_(name in trained)
    optimizer = torch.optim.Adam(trained.values(), lr=learning_rate)
    generator, seconds, step = torch.Generator().manual_seed(seed), started, 0
    for check in checks:
        start = time.perf_counter()
        while step < check:
            optimizer.zero_grad()
            loss(student, step, generator).backward()
            optimizer.step()
            step += 1
        seconds += time.perf_counter() - start
        values = {f"unet.{name}": value.detach().clone() for name, value in trained.items()}
        yield Check(step, seconds, Weights([pair], values))


def scheduler_of(pipe: Any, steps: int) -> Any:
    """Give a scheduler like the pipeline's, set to a number of steps."""
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    scheduler.set_timesteps(steps)
    return scheduler


def noise(pipe: Any, count: int, generator: torch.Generator) -> Tensor:
    """Draw start latents (count, C, h, w) of unit variance."""
    size = pipe.unet.config.sample_size
    return torch.randn(count, pipe.unet.config.in_channels, size, size, generator=generator)


def denoised(
    unet: nn.Module,
    latents: Tensor,
    encodings: tuple[Tensor, Tensor],
    scheduler: Any,
    steps: int,
    guidance: float,
) -> Tensor:
    """Take the first steps of sampling, with classifier-free guidance.

    Args:
        unet: the denoiser.
        latents: of unit variance.
        encodings: of the prompts and of the empty prompt.
        scheduler: set to its number of steps.
        steps: how many of them are taken.
        guidance: scale.

    Shapes:
        latents (B, C, h, w), encodings (B, T, D) each -> (B, C, h, w)
    """
    latents = latents * scheduler.init_noise_sigma
    both = torch.cat([encodings[1], encodings[0]])
    for t in scheduler.timesteps[:steps]:
        read = scheduler.scale_model_input(torch.cat([latents, latents]), t)
        blank, told = unet(read, t, encoder_hidden_states=both).sample.chunk(2)
        latents = scheduler.step(blank + guidance * (told - blank), t, latents).prev_sample
    return latents
