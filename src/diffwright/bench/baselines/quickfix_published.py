"""The concept edit as its paper released it, written from the equations to be measured against.

Full passes over all 77 positions for the source and the target of each template, every position from the
concept's last token on as a key (291 for two tokens and the four templates), single precision, one outer
product a key and an explicit inverse, the layer's bias left inside the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffwright.diffusion.hooks import taps
from diffwright.diffusion.prompts import first_eos, tokenize
from diffwright.diffusion.sites import Site, find


@torch.no_grad()
def published_edit(
    pipe: Any, source: str, target: str, templates: Sequence[str], *, lam: float = 0.01
) -> tuple[Tensor, int]:
    """Edit the attention output of the first text layer in place, the concept at the end of each prompt.

    Args:
        pipe: a pipeline with a CLIP text encoder.
        source: the concept to rewrite.
        target: what it becomes.
        templates: prompts that end in ``{}``.
        lam: ridge strength.

    Returns:
        The weight before the edit, and the number of keys.

    Shapes:
        -> weight (D, D), D the width of the encoder

    Reference:
        Basu et al., Localizing and Editing Knowledge in Text-to-Image Generative Models, ICLR 2024.
    """
    site = find(pipe, "te.0.attn.out")
    weight = site.linear.weight
    numerator = lam * weight
    gram = lam * torch.eye(weight.shape[1], device=weight.device)
    count = 0
    for template in templates:
        keys, last = _pass(pipe, site, template.format(source), inputs=True)
        values, last_target = _pass(pipe, site, template.format(target), inputs=False)
        for offset in range(len(keys) - last):
            key, value = keys[last + offset], values[min(last_target + offset, len(values) - 1)]
            numerator = numerator + torch.outer(value, key)
            gram = gram + torch.outer(key, key)
            count += 1
    before = weight.clone()
    weight.copy_(numerator @ torch.inverse(gram))
    return before, count


def _pass(pipe: Any, site: Site, prompt: str, *, inputs: bool) -> tuple[Tensor, int]:
    """Run the whole encoder; give what the layer reads or writes everywhere, and the last word's position."""
    ids, _ = tokenize(pipe.tokenizer, [prompt])
    with taps([site], inputs=inputs) as captured:
        pipe.text_encoder(ids.to(pipe.text_encoder.device))
    return captured[site.name][0][0], int(first_eos(pipe.tokenizer, ids)) - 1
