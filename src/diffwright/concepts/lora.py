"""An edit as a LoRA file: a closed-form change is a product of thin factors, which is what a LoRA is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from diffwright.concepts.patch import Patch
from diffwright.concepts.solve import Factors
from diffwright.core.atomic import write_bytes
from diffwright.core.checks import one_of, whole
from diffwright.core.errors import InputError

KEYS = ("kohya", "diffusers")


def write_lora(
    patches: Sequence[Patch], path: str | Path, *, keys: str = "kohya", rank: int | None = None
) -> Path:
    """Write an edit's patches as a LoRA file (see ``ConceptEdit.export_lora``)."""
    one_of("keys", keys, KEYS)
    if rank is not None:
        whole("rank", rank, 1, 10**6)
    changed = [patch for patch in patches if patch.factors.up.shape[1]]
    if not changed:
        raise InputError("The edit changes nothing, so there is no LoRA to write; see its warnings.")
    if rank is not None:
        changed, kept = _truncated(changed, rank)
        if kept < 1 - 1e-6:
            warnings.warn(f"Rank {rank} keeps {kept:.2%} of the squared change.", stacklevel=3)
    return write_bytes(path, save(lora_tensors(changed, keys), metadata={"format": "pt"}))


def lora_tensors(patches: list[Patch], keys: str) -> dict[str, Tensor]:
    """Name the factors as a LoRA; the scale of every site is alpha / rank = 1.

    All sites get one rank, the largest, padded with zeros: loaders keep one alpha for all of them.

    Args:
        patches: changes of at least one site.
        keys: one of ``KEYS``.

    Shapes:
        -> down (R, I), up (O, R) for each site, float32
    """
    rank = max(patch.factors.up.shape[1] for patch in patches)
    two_encoders = any(patch.site.startswith("te2.") for patch in patches)
    found: dict[str, Tensor] = {}
    for patch in patches:
        up, down = _padded(patch.factors, rank)
        owner, *_ = patch.site.split(".")
        path = patch.path if owner == "unet" else _clip_path(patch.path)
        if keys == "kohya":
            prefix = {"te": "te1" if two_encoders else "te"}.get(owner, owner)
            name = f"lora_{prefix}_{path.replace('.', '_')}"
            found |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
            found[f"{name}.alpha"] = torch.tensor(float(rank))
        else:
            prefix = {"te": "text_encoder", "te2": "text_encoder_2"}.get(owner, owner)
            found |= {f"{prefix}.{path}.lora_A.weight": down, f"{prefix}.{path}.lora_B.weight": up}
    return found


def _padded(factors: Factors, rank: int) -> tuple[Tensor, Tensor]:
    """Add zero directions up to a rank."""
    missing = rank - factors.up.shape[1]
    up = torch.nn.functional.pad(factors.up.float(), (0, missing))
    return up.contiguous(), torch.nn.functional.pad(factors.down.float(), (0, 0, 0, missing)).contiguous()


def _clip_path(path: str) -> str:
    """Give a text layer's path as published checkpoints spell it, whatever the installed version does."""
    return f"text_model.encoder.{path.split('encoder.', 1)[1]}"


def _truncated(patches: list[Patch], rank: int) -> tuple[list[Patch], float]:
    """Cut each site to a rank; give what is kept of the whole squared change."""
    found, kept, total = [], 0.0, 0.0
    for patch in patches:
        factors, share = patch.factors.truncated(rank)
        size = float(patch.factors.dense().square().sum())
        found.append(replace(patch, factors=factors))
        kept, total = kept + share * size, total + size
    return found, kept / total if total else 1.0
