"""The plainest edit of all: the source's word embeddings are overwritten by the target's."""

from __future__ import annotations

from typing import Any

import torch

from diffwright.bench.baselines.weights import Weights


@torch.no_grad()
def token_embedding_edit(pipe: Any, source: str, target: str) -> Weights:
    """Give the last token of the source the embedding of the target's last one, and so on to the front.

    Where the source has more tokens, its first ones take the target's first. Every word that shares a token with
    the source changes with it.

    Args:
        pipe: a pipeline with one CLIP text encoder.
        source: the concept to rewrite.
        target: what it becomes.
    """
    old, new = (pipe.tokenizer(words, add_special_tokens=False)["input_ids"] for words in (source, target))
    name, weight = next(
        (name, value) for name, value in pipe.text_encoder.named_parameters() if "token_embedding" in name
    )
    changed = weight.detach().clone()
    for back in range(1, len(old) + 1):
        changed[old[-back]] = weight[new[-min(back, len(new))]]
    return Weights([(source, target)], {f"text_encoder.{name}": changed})
