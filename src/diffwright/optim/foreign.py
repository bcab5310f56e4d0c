"""Checkpoints of other diffGrad implementations, converted so that training goes on here.

Known are the authors' ``diffGrad_v2.py``, ``torch_optimizer`` (both keep the step count in the state) and
``pytorch_optimizer`` (keeps it in the group). All three place ε as the authors' code does.
"""

from collections.abc import Mapping
from typing import Any

import torch

from diffwright.optim.diffgrad import DiffGrad

_STATE_KEYS = ("exp_avg", "exp_avg_sq", "previous_grad")


def load_foreign_state(optimizer: DiffGrad, state_dict: Mapping[str, Any]) -> None:
    """Load the ``state_dict`` of another diffGrad into ours.

    Args:
        optimizer: Ours, over the same parameters in the same order and groups.
        state_dict: What the other implementation's ``state_dict()`` gave.

    Raises:
        ValueError: It is no diffGrad checkpoint, or it uses an option that ours lacks.
    """
    optimizer.load_state_dict(convert_state(optimizer, state_dict))


def convert_state(optimizer: DiffGrad, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the ``state_dict`` of another diffGrad to the layout of ours.

    Options that the checkpoint lacks are taken from ``optimizer``; lr, betas, eps and weight decay come from
    the checkpoint, and ``eps_mode`` becomes ``reference``.

    Args:
        optimizer: Ours, over the same parameters in the same order and groups.
        state_dict: The other implementation's; not changed.

    Returns:
        A dictionary for ``optimizer.load_state_dict``.

    Raises:
        ValueError: It is no diffGrad checkpoint, or it uses an option that ours lacks.
    """
    groups, state = state_dict["param_groups"], {}
    if len(groups) != len(optimizer.param_groups):
        raise ValueError(
            f"the checkpoint has {len(groups)} parameter groups and the optimizer"
            f" {len(optimizer.param_groups)}; make the optimizer with the same groups."
        )
    ours = optimizer.state_dict()["param_groups"]
    converted = [_group(theirs, mine) for theirs, mine in zip(groups, ours, strict=True)]
    for group in groups:
        for index in group["params"]:
            if index in state_dict["state"]:
                state[index] = _state(state_dict["state"][index], group)
    return {"state": state, "param_groups": converted}


def _group(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [name for name in ("adanorm", "adam_debias") if theirs.get(name)]
    if theirs.get("fixed_decay") and theirs["weight_decay"]:
        unknown.append("fixed_decay")
    if unknown:
        raise ValueError(
            f"the checkpoint was trained with {', '.join(unknown)}, which DiffGrad does not have."
        )
    group = {**mine, "params": list(theirs["params"]), "eps_mode": "reference"}
    names = {"weight_decouple": "decoupled_weight_decay", "ams_bound": "amsgrad"}
    kept = ("lr", "betas", "eps", "weight_decay", "rectify", "initial_lr")
    group |= {name: theirs[name] for name in kept if name in theirs}
    group |= {mine_name: theirs[name] for name, mine_name in names.items() if name in theirs}
    if "weight_decouple" not in theirs:
        group["decoupled_weight_decay"] = False
    group["betas"] = tuple(group["betas"])
    return group


def _state(theirs: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    missing = [key for key in _STATE_KEYS if key not in theirs]
    step = theirs.get("step", group.get("step"))
    if missing or step is None:
        missing += ["step"] if step is None else []
        raise ValueError(f"this is no diffGrad checkpoint: a parameter's state lacks {', '.join(missing)}.")
    state = {key: theirs[key].clone() for key in (*_STATE_KEYS, "max_exp_avg_sq") if key in theirs}
    return {"step": torch.tensor(float(step)), **state}
