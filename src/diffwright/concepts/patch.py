"""The change of one weight."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from diffwright.concepts.solve import Factors
from diffwright.weights.fingerprint import fingerprint


@dataclass(frozen=True)
class Patch:
    """The change of one weight.

    Attributes:
        site: name of the linear layer.
        factors: the change as ``up @ down``, float32.
        base: fingerprint of the weight that the change was computed for.
        path: path of the layer inside its component, for other programs.
    """

    site: str
    factors: Factors
    base: str
    path: str


def fingerprint_of(linear: nn.Linear) -> str:
    """Fingerprint a weight, rounded to half precision so that a float16 copy of the model passes as well."""
    return fingerprint({"weight": linear.weight.detach().to("cpu", torch.float16)})
