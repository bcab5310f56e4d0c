"""Names of tensors in older published files, mapped to today's by explicit tables."""

from __future__ import annotations

from typing import TypeVar

VAE_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Attention layers of the autoencoder in files saved before diffusers 0.15, and their names now."""

CLIP_PREFIX = "text_model."
"""CLIP text files saved before transformers 5 have this in front of every tensor but the projection."""

CLIP_BUFFERS = ("embeddings.position_ids",)
"""Index buffers that old files store and that are computed now."""

T = TypeVar("T")


def rename_vae(tensors: dict[str, T]) -> dict[str, T]:
    """Give the tensors of an autoencoder their present names."""
    return {_vae_name(name): tensor for name, tensor in tensors.items()}


def rename_clip(tensors: dict[str, T], wanted: set[str]) -> dict[str, T]:
    """Give the tensors of a CLIP text encoder the names that the installed transformers uses.

    Args:
        tensors: from the file.
        wanted: names in the model to fill; they show whether it uses the prefix.
    """
    bare = {name.removeprefix(CLIP_PREFIX): tensor for name, tensor in tensors.items()}
    prefixed = {name for name in wanted if name.startswith(CLIP_PREFIX)}
    renamed = {}
    for name, tensor in bare.items():
        if name not in CLIP_BUFFERS:
            renamed[CLIP_PREFIX + name if CLIP_PREFIX + name in prefixed else name] = tensor
    return renamed


def _vae_name(name: str) -> str:
    if ".mid_block.attentions." not in name:
        return name
    head, _, tail = name.rpartition(".")
    stem, _, layer = head.rpartition(".")
    return f"{stem}.{VAE_ATTENTION.get(layer, layer)}.{tail}"
