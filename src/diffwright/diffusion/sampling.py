"""Pictures from prompts: the stock pipeline call, one generator a picture, prompts encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    with torch.no_grad(), _quiet(pipe), torch.autocast(device, torch.bfloat16, enabled=half):
        encodings, pooled = encode_pooled(pipe, [*unique, negative])
        pictures = []
        for number, start in enumerate(starts):
            part = torch.tensor([rows[prompt] for prompt in prompts[start : start + batch]])
            blank = torch.full_like(part, len(unique))
            inputs = {"prompt_embeds": encodings[part], "negative_prompt_embeds": encodings[blank]}
            if pooled is not None:
                inputs |= {
                    "pooled_prompt_embeds": pooled[part],
                    "negative_pooled_prompt_embeds": pooled[blank],
                }
                inputs |= _zeroed(pipe, inputs) if not negative else {}
            pictures.append(
                pipe(
                    **inputs,
                    generator=generators(seeds[start : start + batch]),
                    num_inference_steps=steps,
                    guidance_scale=scale,
                    output_type="pt",
                    callback_on_step_end=_step_callback(progress, number, len(starts)),
                    **options,
                ).images
            )
    return to_u8(torch.cat([picture.float().cpu() for picture in pictures]) * 2 - 1)


def _pairs(prompts: str | Sequence[str], seeds: int | Sequence[int]) -> tuple[list[str], list[int]]:
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    seeds = [seeds] if isinstance(seeds, int) else list(seeds)
    count = max(len(prompts), len(seeds))
    if len(prompts) not in (1, count) or len(seeds) not in (1, count) or not prompts or not seeds:
        raise ConfigError(
            f"Got {len(prompts)} prompts and {len(seeds)} seeds; give as many of each, or one of either."
        )
    return prompts * (count // len(prompts)), seeds * (count // len(seeds))


def _zeroed(pipe: Any, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Follow SDXL's convention that the empty negative prompt is all zeros."""
    if not pipe.config.get("force_zeros_for_empty_prompt", False):
        return {}
    return {name: torch.zeros_like(value) for name, value in inputs.items() if name.startswith("negative")}


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
