"""A fine-tuning eraser, written from the equations of ESD, with an anchor so that it can also replace.

Gandikota et al., Erasing Concepts from Diffusion Models, ICCV 2023, equation 6. ESD's own anchor is the empty prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.bench.baselines.finetuning import Check, denoised, noise, scheduler_of, train
from diffwright.concepts.phrase import Phrase
from diffwright.diffusion.prompts import encode


def finetune_eraser(
    pipe: Any,
    source: str,
    target: str,
    templates: Sequence[str],
    *,
    learning_rate: float,
    checks: Sequence[int],
    eta: float = 1.0,
    guidance: float = 3.0,
    sampling_steps: int = 15,
    seed: int = 0,
) -> Iterator[Check]:
    """Train e_theta(x_t, c) towards e(x_t, a) - eta (e(x_t, c) - e(x_t, a)), e the frozen model.

    x_t is sampled by the model in training from the concept's prompt up to a random step, one picture a step, so no
    data is needed. What the network predicts, noise or velocity, makes no difference: both are linear in it.

    Args:
        pipe: a pipeline with one text encoder; it stays as it is.
        source: the concept c.
        target: the anchor a; empty for the empty prompt.
        templates: prompts with ``{}``, taken in turn.
        learning_rate: of Adam.
        checks: steps at which the weights are shown.
        eta: strength of the negative guidance.
        guidance: scale of the sampling.
        sampling_steps: denoising steps of a whole picture.
        seed: of the noise.

    Returns:
        A check for each of ``checks``, computed as it is asked for.
    """
    told = encode(pipe, [Phrase.of(template, source).prompt for template in templates])
    wanted = encode(pipe, [Phrase.of(text, target).prompt if target else "" for text in templates])
    blank = encode(pipe, [""])

    def loss(student: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        scheduler = scheduler_of(pipe, sampling_steps)
        at = step % len(templates)
        c, a = told[at : at + 1], wanted[at : at + 1]
        taken = int(torch.randint(sampling_steps, (), generator=generator))
        with torch.no_grad():
            latents = denoised(student, noise(pipe, 1, generator), (c, blank), scheduler, taken, guidance)
            t = scheduler.timesteps[taken]
            x = scheduler.scale_model_input(latents, t)
            e_c, e_a = pipe.unet(torch.cat([x, x]), t, encoder_hidden_states=torch.cat([c, a])).sample.chunk(
                2
            )
        return F.mse_loss(student(x, t, encoder_hidden_states=c).sample, e_a - eta * (e_c - e_a))

    return train(pipe, (source, target), loss, learning_rate=learning_rate, checks=checks, seed=seed)
