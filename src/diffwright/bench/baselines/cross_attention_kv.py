"""Closed-form edit of all cross-attention keys and values, written from the equations of UCE and TIME.

UCE (Gandikota et al., Unified Concept Editing in Diffusion Models, WACV 2024) takes the concept's last token and
holds further concepts; TIME (Orgad et al., Editing Implicit Assumptions in Text-to-Image Diffusion Models, ICCV
2023) aligns all later tokens and holds none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffwright.bench.baselines.weights import Weights
from diffwright.concepts.phrase import Phrase
from diffwright.diffusion.prompts import encode, token_span
from diffwright.diffusion.sites import sites


@torch.no_grad()
def cross_attention_edit(
    pipe: Any,
    source: str,
    target: str,
    templates: Sequence[str],
    preserve: Sequence[str] = (),
    *,
    lam: float = 0.5,
    aligned: bool = False,
) -> Weights:
    """Solve W = (lam W' + sum v c^T + sum_p W' p p^T) (lam I + sum c c^T + sum_p p p^T)^-1, v = W' c*.

    Args:
        pipe: a pipeline with a UNet2DConditionModel.
        source: the concept to rewrite, read as c.
        target: what it becomes, read as c*.
        templates: prompts with ``{}``.
        preserve: concepts read as p, which stay (UCE).
        lam: 0.5 in UCE, 0.1 in TIME.
        aligned: take every token from the concept's last one on (TIME); the last one alone without it (UCE).
    """
    read = [_rows(pipe, template, source, aligned) for template in templates]
    wanted = [_rows(pipe, template, target, aligned) for template in templates]
    length = min(map(len, (*read, *wanted)))
    c, c_star = (torch.cat([rows[:length] for rows in both]) for both in (read, wanted))  # (N, D) each
    p = torch.cat(
        [c[:0], *(_rows(pipe, template, word, False) for template in templates for word in preserve)]
    )
    eye = torch.eye(c.shape[1], dtype=c.dtype, device=c.device)
    gram = lam * eye + c.T @ c + p.T @ p
    values = {}
    for site in sites(pipe, ["attn2.k", "attn2.v"]):
        weight = site.linear.weight.double()
        numerator = weight @ (lam * eye + c_star.T @ c + p.T @ p)
        values[f"unet.{site.path}.weight"] = torch.linalg.solve(gram, numerator.T).T.to(site.linear.weight)
    return Weights([(source, target)], values)


def _rows(pipe: Any, template: str, concept: str, aligned: bool) -> Tensor:
    phrase = Phrase.of(template, concept)
    _, last = token_span(pipe.tokenizer, phrase.prompt, phrase.start, phrase.stop)
    encoding = encode(pipe, [phrase.prompt])[0].double()
    return encoding[last:] if aligned else encoding[last : last + 1]
