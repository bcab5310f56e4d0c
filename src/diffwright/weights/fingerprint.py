"""A short name for exact weights: sha256 over tensor bytes in canonical order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def fingerprint(weights: Any) -> str:
    """Hash names, types, shapes and bytes of all weights, whatever their order and device.

    Args:
        weights: a module, a mapping of names to tensors, or a diffusers pipeline (all its networks).

    Returns:
        64 hexadecimal digits; equal exactly when every tensor is bit for bit equal.

    Example:
        >>> import torch
        >>> fingerprint({"a": torch.zeros(2)}) == fingerprint({"a": torch.zeros(2)})
        True
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(_tensors(weights)):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _tensors(weights: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(weights, Mapping):
        yield from weights.items()
    elif hasattr(weights, "state_dict"):
        yield from weights.state_dict().items()
    else:
        for part, module in weights.components.items():
            if hasattr(module, "state_dict"):
                for name, tensor in module.state_dict().items():
                    yield f"{part}.{name}", tensor


def _bytes(tensor: torch.Tensor) -> memoryview:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())  # pyright: ignore[reportArgumentType]
