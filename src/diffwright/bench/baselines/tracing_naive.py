"""Causal tracing as one writes it first: one hooked full run for each state, to be measured against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from diffwright.diffusion.hooks import replaced, taps
from diffwright.diffusion.prompts import encode_pooled
from diffwright.diffusion.sampling import Encoded, encode_blank, paint
from diffwright.diffusion.sites import Site, find
from diffwright.tracing.corruption import Reading, noised
from diffwright.tracing.states import State


@torch.no_grad()
def text_runs(
    pipe: Any, prompt: str, readings: Sequence[Reading], noise: Sequence[Tensor], states: Sequence[State]
) -> Iterator[Encoded]:
    """Encode the corrupted prompt anew for each state, all layers and all positions.

    Args:
        pipe: a supported pipeline.
        prompt: the text.
        readings: the prompt as each text encoder reads it.
        noise: of each encoder, (1, T, D).
        states: what is restored.

    Yields:
        The pipeline's own encoding, one row, for each state in turn.
    """
    places = {state: _layers(pipe, state) for state in states}
    with taps(dict.fromkeys(site for several in places.values() for site in several)) as clean:
        encode_pooled(pipe, [prompt])
    for state in states:
        with ExitStack() as stack:
            for reading, added in zip(readings, noise, strict=True):
                stack.enter_context(noised(reading, added))
            for site in places[state]:
                # First of all hooks: transformers reads hidden states by hooks of its own.
                hook = _put(clean[site.name][0], state.token)
                stack.callback(site.module.register_forward_hook(hook, prepend=True).remove)
            yield encode_pooled(pipe, [prompt])


def _layers(pipe: Any, state: State) -> list[Site]:
    prefix, _, kind = state.site.split(".")
    return [find(pipe, f"{prefix}.{state.layer + n}.{kind}") for n in range(state.window)]


def _put(clean: Tensor, token: int | None) -> Any:
    def hook(_module: Any, _args: tuple, output: Any) -> Any:
        changed = (output[0] if isinstance(output, tuple) else output).clone()
        changed[:, token] = clean[:, token]
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return hook


def unet_runs(
    pipe: Any,
    clean: Encoded,
    corrupted: Encoded,
    sites: Sequence[Site],
    *,
    seed: int,
    steps: int,
    guidance: float,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Paint a clean, a corrupted and a restored picture of its own for each layer, storing activations between.

    Args:
        pipe: a supported pipeline.
        clean: conditions of the clean run, one row.
        corrupted: of the corrupted one.
        sites: the layers.
        seed: of the noise.
        steps: denoising steps.
        guidance: classifier-free guidance scale.

    Yields:
        Latents (1, C, h, w) of the clean, the corrupted and the restored run, for each layer in turn.
    """

    def painted(encoded: Encoded) -> Tensor:
        return paint(
            pipe,
            encoded,
            encode_blank(pipe),
            seeds=[seed],
            steps=steps,
            guidance=guidance,
            output_type="latent",
        )

    for site in sites:
        with taps([site]) as stored:
            first = painted(clean)
        second = painted(corrupted)
        calls = iter(stored[site.name])
        with replaced(site, lambda _, calls=calls: next(calls)):
            yield first, second, painted(corrupted)
