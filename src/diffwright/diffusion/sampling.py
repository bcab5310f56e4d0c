"""Pictures from prompts: the stock pipeline call, one generator a picture, prompts encoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from diffwright.core.errors import ConfigError
from diffwright.core.images import to_u8
from diffwright.core.progress import Progress, report
from diffwright.core.seeding import generators
from diffwright.diffusion.backbones import require
from diffwright.diffusion.prompts import encode_pooled


def generate(
    pipe: Any,
    prompts: str | Sequence[str],
    *,
    seeds: int | Sequence[int],
    steps: int = 25,
    guidance: float | None = None,
    negative: str = "",
    batch: int = 32,
    half: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> np.ndarray:
    """Paint one picture for each pair of prompt and seed.

    A picture depends on its own prompt and seed only: a batch of one equals a batch of many within 1e-4.

    Args:
        pipe: a supported pipeline.
        prompts: one text, or one for each seed.
        seeds: one seed, or one for each prompt; a single prompt or seed is repeated.
        steps: denoising steps, at least 1.
        guidance: classifier-free guidance scale; 1 switches it off, None takes the layout's default.
        negative: what the guidance moves away from.
        batch: pictures that are painted at once.
        half: let matrix products and convolutions run in bfloat16; on a CPU that has it, nearly twice as fast.
        progress: is told the steps done; may cancel.
        options: passed on to the pipeline's call (``height``, ``guidance_rescale`` ...).

    Shapes:
        -> uint8 (B, H, W, 3); B pictures of H x W pixels.

    Raises:
        ConfigError: there is nothing to paint, or prompts, seeds and numbers do not fit together.
        UnsupportedBackbone: the layout is not supported.
        Cancelled: ``progress`` asked to stop.
    """
    backbone = require(pipe, "generate")
    prompts, seeds = _pairs(prompts, seeds)
    if steps < 1 or batch < 1:
        raise ConfigError(f"Got steps={steps} and batch={batch}; both must be at least 1.")
    scale = backbone.guidance if guidance is None else guidance
    starts = range(0, len(prompts), batch)
    unique = list(dict.fromkeys(prompts))
    rows = {prompt: row for row, prompt in enumerate(unique)}
    device = torch.device(pipe._execution_device).type
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=half):
        encodings, pooled = encode_pooled(pipe, unique)
        blank = encode_blank(pipe, negative)
    pictures = []
    for number, start in enumerate(starts):
        part = torch.tensor([rows[prompt] for prompt in prompts[start : start + batch]])
        pictures.append(
            paint(
                pipe,
                (encodings[part], None if pooled is None else pooled[part]),
                blank,
                seeds=seeds[start : start + batch],
                steps=steps,
                guidance=scale,
                half=half,
                on_step=_step_callback(progress, number, len(starts)),
                **options,
            )
        )
    return to_u8(torch.cat([picture.float().cpu() for picture in pictures]) * 2 - 1)


Encoded = tuple[torch.Tensor, torch.Tensor | None]
"""What ``encode_pooled`` gives: encodings (B, T, D), and pooled vectors (B, P) or None."""


def encode_blank(pipe: Any, negative: str = "") -> Encoded:
    """Encode what guidance moves away from; SDXL's convention is that an empty prompt is all zeros."""
    blank = encode_pooled(pipe, [negative])
    if not negative and blank[1] is not None and pipe.config.get("force_zeros_for_empty_prompt", False):
        return torch.zeros_like(blank[0]), torch.zeros_like(blank[1])
    return blank


@torch.no_grad()
def paint(
    pipe: Any,
    encoded: Encoded,
    blank: Encoded,
    *,
    seeds: Sequence[int],
    steps: int,
    guidance: float,
    half: bool = False,
    output_type: str = "pt",
    on_step: Callable[..., dict[str, Any]] | None = None,
    **options: Any,
) -> torch.Tensor:
    """Call the stock pipeline once on encoded prompts, one row each.

    Args:
        pipe: a supported pipeline.
        encoded: what the rows are conditioned on.
        blank: one row, what the guidance moves away from (see ``encode_blank``).
        seeds: of the noise, one for each row; rows of one seed share all noise.
        steps: denoising steps.
        guidance: classifier-free guidance scale; 1 switches it off.
        half: let matrix products and convolutions run in bfloat16.
        output_type: ``pt`` for pictures, ``latent`` for latents.
        on_step: the pipeline's ``callback_on_step_end``.
        options: passed on to the pipeline's call.

    Shapes:
        -> pictures (B, 3, H, W) in [0, 1], or latents (B, C, h, w)
    """
    inputs = {"prompt_embeds": encoded[0], "negative_prompt_embeds": blank[0].expand_as(encoded[0])}
    if encoded[1] is not None and blank[1] is not None:
        inputs |= {
            "pooled_prompt_embeds": encoded[1],
            "negative_pooled_prompt_embeds": blank[1].expand_as(encoded[1]),
        }
    device = torch.device(pipe._execution_device).type
    with _quiet(pipe), torch.autocast(device, torch.bfloat16, enabled=half):
        return pipe(
            **inputs,
            generator=generators(seeds),
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type=output_type,
            callback_on_step_end=on_step,
            **options,
        ).images


def _pairs(prompts: str | Sequence[str], seeds: int | Sequence[int]) -> tuple[list[str], list[int]]:
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    seeds = [seeds] if isinstance(seeds, int) else list(seeds)
    count = max(len(prompts), len(seeds))
    if len(prompts) not in (1, count) or len(seeds) not in (1, count) or not prompts or not seeds:
        raise ConfigError(
            f"Got {len(prompts)} prompts and {len(seeds)} seeds; give as many of each, or one of either."
        )
    return prompts * (count // len(prompts)), seeds * (count // len(seeds))


def _step_callback(progress: Progress | None, number: int, batches: int) -> Any:
    def on_step_end(pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        each = pipe.num_timesteps  # some schedulers take more steps than were asked for
        report(progress, "painting", number * each + step + 1, batches * each)
        return tensors

    return on_step_end


@contextmanager
def _quiet(pipe: Any) -> Iterator[None]:
    before = getattr(pipe, "_progress_bar_config", None)
    pipe.set_progress_bar_config(disable=True)
    try:
        yield
    finally:
        if before is None:
            del pipe._progress_bar_config
        else:
            pipe._progress_bar_config = before
