"""The optimizer of a run, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diffwright.training.settings import Settings


def build(settings: Settings, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    """Make the optimizer; weights with two or more dimensions are decayed, biases and gains are not.

    Args:
        settings: which optimizer, its rate, betas and decay.
        parameters: the trained parameters by name.
    """
    decayed = [p for p in parameters.values() if p.ndim >= 2]
    plain = [p for p in parameters.values() if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "diffgrad":
        from diffwright.optim.diffgrad import DiffGradW

        return DiffGradW(groups, lr=settings.lr, betas=settings.betas)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=True)


def state_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Take the state apart for a checkpoint.

    Args:
        optimizer: the optimizer of `parameters`.
        parameters: the trained parameters by name.

    Returns:
        Tensors as `parameter/key`, and what is no tensor under the same names, fit for JSON.
    """
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            into = tensors if isinstance(value, Tensor) else scalars
            into[f"{name}/{key}"] = value
    return tensors, scalars


def restore(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
    scalars: Mapping[str, Any],
) -> None:
    """Put a state from a checkpoint back.

    A tensor shaped like its parameter takes over the parameter's memory layout, because fused kernels walk
    through both in memory order without looking.

    Args:
        optimizer: a fresh optimizer of `parameters`.
        parameters: the trained parameters by name.
        tensors: as `state_tensors` gave them.
        scalars: as `state_tensors` gave them.
    """
    state = optimizer.state
    for name, value in {**scalars, **tensors}.items():
        owner, _, key = name.rpartition("/")
        parameter = parameters[owner]
        if isinstance(value, Tensor):
            if value.shape == parameter.shape and value.ndim:
                value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            elif optimizer.defaults.get("fused") or optimizer.defaults.get("capturable"):
                value = value.to(parameter.device)
        state[parameter][key] = value
