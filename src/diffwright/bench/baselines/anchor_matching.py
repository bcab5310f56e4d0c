"""Anchor matching by training, written from the equations of Concept Ablation (its model-based variant).

Kumari et al., Ablating Concepts in Text-to-Image Diffusion Models, ICCV 2023, equation 6. The frozen model gives the
goal; where the network in training gives it itself, a regulariser must keep the anchor from drifting along.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.bench.baselines.finetuning import Check, denoised, noise, scheduler_of, train
from diffwright.concepts.phrase import Phrase
from diffwright.diffusion.prompts import encode


def anchor_matching(
    pipe: Any,
    source: str,
    target: str,
    templates: Sequence[str],
    *,
    learning_rate: float,
    checks: Sequence[int],
    pictures: int = 16,
    batch: int = 4,
    guidance: float = 3.0,
    sampling_steps: int = 15,
    seed: int = 0,
) -> Iterator[Check]:
    """Train e_theta(x_t, c) towards e(x_t, a), e the frozen model, x noised pictures of a.

    The pictures are painted by the model itself first; the clock includes them.

    Args:
        pipe: a pipeline with one text encoder; it stays as it is.
        source: the concept c.
        target: the anchor a.
        templates: prompts with ``{}``, taken in turn.
        learning_rate: of Adam.
        checks: steps at which the weights are shown.
        pictures: painted from the anchor's prompts.
        batch: pictures a step.
        guidance: scale of the sampling.
        sampling_steps: denoising steps of a picture.
        seed: of the noise.

    Returns:
        A check for each of ``checks``, computed as it is asked for.
    """
    start = time.perf_counter()
    prompts = [templates[number % len(templates)] for number in range(pictures)]
    told = encode(pipe, [Phrase.of(template, source).prompt for template in prompts])
    anchor = encode(pipe, [Phrase.of(template, target).prompt for template in prompts])
    blank = encode(pipe, [""]).expand_as(anchor)
    scheduler = scheduler_of(pipe, sampling_steps)
    with torch.no_grad():
        latents = noise(pipe, pictures, torch.Generator().manual_seed(seed))
        latents = denoised(pipe.unet, latents, (anchor, blank), scheduler, sampling_steps, guidance)

    def loss(student: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        part = torch.randint(pictures, (batch,), generator=generator)
        t = scheduler.timesteps[torch.randint(sampling_steps, (batch,), generator=generator)]
        x = scheduler.add_noise(latents[part], noise(pipe, batch, generator), t)
        with torch.no_grad():
            goal = pipe.unet(x, t, encoder_hidden_states=anchor[part]).sample
        return F.mse_loss(student(x, t, encoder_hidden_states=told[part]).sample, goal)

    seconds = time.perf_counter() - start
    return train(
        pipe, (source, target), loss, learning_rate=learning_rate, checks=checks, started=seconds, seed=seed
    )
