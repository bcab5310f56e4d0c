"""What a run is made from beside its settings, so that a resume with anything else is noticed."""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from diffwright.training.corpus import Renders
from diffwright.training.ema import named_tensors
from diffwright.training.task import Task
from diffwright.weights.fingerprint import fingerprint

_DIGITS = 12


def origin(task: Task, options: Any = None) -> dict[str, Any]:
    """Describe the options, the data, the frozen networks and the first weights of a recipe.

    A file or folder among the options is told by what the task read from it, wherever it lies: renders,
    tokenizers, and modules with tensors that are not trained, all of them attributes of the task. First weights
    count where they were read; the others follow from the seed.

    Args:
        task: the recipe, before its first step.
        options: what it was built from, a dataclass; None where there is none.

    Returns:
        Plain JSON values by name: those of the options, and fingerprints.
    """
    found: dict[str, Any] = dict(_plain(options)) if options is not None else {}
    trained = named_tensors(task.modules())
    begun = getattr(options, "init", None) is not None
    found["first weights"] = fingerprint(trained)[:_DIGITS] if begun else None
    known = {id(tensor) for tensor in trained.values()}
    for name, value in vars(task).items():
        if isinstance(value, nn.Module):
            frozen = {k: t for k, t in value.state_dict(keep_vars=True).items() if id(t) not in known}
            found |= {name: fingerprint(frozen)[:_DIGITS]} if frozen else {}
        elif isinstance(value, Renders):
            found[name] = f"{len(value)} pictures {value.cache.fingerprint()[:_DIGITS]}"
        elif hasattr(value, "get_vocab"):
            words = json.dumps(sorted(value.get_vocab().items()))
            found[name] = hashlib.sha256(words.encode()).hexdigest()[:_DIGITS]
    return found


def _plain(options: Any) -> Iterator[tuple[str, Any]]:
    kinds = typing.get_type_hints(type(options))
    for field in fields(options):
        if Path not in (kinds[field.name], *typing.get_args(kinds[field.name])):
            value = getattr(options, field.name)
            yield field.name, list(value) if isinstance(value, tuple) else value
