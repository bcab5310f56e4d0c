"""Checks of the options of a parameter group, in the wording of torch's own optimizers."""

from typing import Any

import torch
from torch import Tensor

from diffwright.optim.rule import ABLATION_NAMES, FRICTIONS, Friction, FrictionFunction

OLDER_GROUPS: dict[str, Any] = {
    "decoupled_weight_decay": False,
    "amsgrad": False,
    "friction": "abs",
    "eps_mode": "paper",
    "rectify": False,
    "prev_grad_dtype": None,
    "share_grad": False,
    "maximize": False,
    "foreach": None,
    "fused": None,
    "capturable": False,
    "differentiable": False,
}
"""What a checkpoint that lacks an option means by it."""


def check_options(group: dict[str, Any], function: FrictionFunction | None) -> None:
    """Check the options of a group.

    Args:
        group: Option name -> value, as in ``optimizer.param_groups``.
        function: The friction function, where ``group["friction"]`` is ``custom``.

    Raises:
        ValueError: A value is out of range.
        RuntimeError: Two options exclude each other.
    """
    _check_numbers(group)
    _check_tensors(group)
    resolve_friction(group["friction"], function)
    if group["eps_mode"] not in ("paper", "reference"):
        raise ValueError(f"Invalid eps_mode: {group['eps_mode']!r}; it is 'paper' or 'reference'.")
    if group["prev_grad_dtype"] not in (None, torch.bfloat16):
        raise ValueError(
            f"Invalid prev_grad_dtype: {group['prev_grad_dtype']}; it is torch.bfloat16, or None for the type"
            " of the parameter."
        )
    if not group["fused"]:
        return
    if group["differentiable"]:
        raise RuntimeError("`fused` does not support `differentiable`; set one of them to False.")
    if group["foreach"]:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together; set one of them to False.")
    if group["friction"] == "custom":
        raise RuntimeError(
            "`fused` does not support a friction function; name a friction or set fused=False."
        )


def resolve_friction(name: str, function: FrictionFunction | None) -> Friction | FrictionFunction:
    """Return the friction that a name stands for.

    Args:
        name: A key of ``FRICTIONS``, ``dfc0`` to ``dfc5``, or ``custom``.
        function: What ``custom`` stands for.

    Returns:
        The friction.

    Raises:
        ValueError: The name is unknown, or ``custom`` without a function.
    """
    if name == "custom":
        if function is None:
            raise ValueError(
                "This checkpoint was made with a friction function; pass the function as friction= again."
            )
        return function
    key = ABLATION_NAMES.get(name, name)
    if key not in FRICTIONS:
        known = ", ".join([*FRICTIONS, *ABLATION_NAMES])
        raise ValueError(f"Invalid friction: {name!r}; it is a function or one of {known}.")
    return FRICTIONS[key]


def _check_numbers(group: dict[str, Any]) -> None:
    lr, betas = group["lr"], group["betas"]
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element, not of shape {tuple(lr.shape)}.")
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}; it must be at least 0.")
    if not group["eps"] >= 0.0:
        raise ValueError(f"Invalid epsilon value: {group['eps']}; it must be at least 0.")
    if not group["weight_decay"] >= 0.0:
        raise ValueError(f"Invalid weight_decay value: {group['weight_decay']}; it must be at least 0.")
    for index, beta in enumerate(betas):
        if isinstance(beta, Tensor) and beta.numel() != 1:
            raise ValueError(f"Tensor betas[{index}] must be 1-element, not of shape {tuple(beta.shape)}.")
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {beta}; it must lie in [0, 1).")


def _check_tensors(group: dict[str, Any]) -> None:
    """Refuse what foreach cannot do with tensors as hyperparameters."""
    beta_is_tensor = [isinstance(beta, Tensor) for beta in group["betas"]]
    if beta_is_tensor[0] != beta_is_tensor[1]:
        raise ValueError("betas must be either both floats or both Tensors.")
    if not group["foreach"] or group["capturable"]:
        return
    if isinstance(group["lr"], Tensor):
        raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
    if beta_is_tensor[0]:
        raise ValueError("betas[0] as a Tensor is not supported for capturable=False and foreach=True")
