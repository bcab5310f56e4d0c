"""Other weights for parts of a pipeline: what every baseline makes, put on for a while and taken off bit by bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """New values of some parameters of a pipeline.

    Attributes:
        pairs: source and target of each concept, in words.
        values: by ``component.path.parameter``, such as ``unet.mid_block.attentions.0.proj_in.weight``.
    """

    pairs: Sequence[tuple[str, str]]
    values: Mapping[str, Tensor]

    @contextmanager
    def applied(self, pipe: Any) -> Iterator[None]:
        """Use the new values while the block runs."""
        before = {name: parameter(pipe, name).detach().clone() for name in self.values}
        try:
            _write(pipe, self.values)
            yield
        finally:
            _write(pipe, before)


def parameter(pipe: Any, name: str) -> Tensor:
    """Give the parameter of a pipeline by its full name."""
    component, _, path = name.partition(".")
    return getattr(pipe, component).get_parameter(path)


@torch.no_grad()
def _write(pipe: Any, values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        parameter(pipe, name).copy_(value)
