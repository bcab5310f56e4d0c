"""Named tensors of the trained modules, and their exponential average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def named_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Parameters and saved buffers as `module.name`; a tensor under two names comes once.

    Args:
        modules: the trained modules by name.

    Returns:
        The tensors themselves, not copies.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, module in modules.items():
        for key, tensor in module.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                found[f"{name}.{key}"] = tensor
    return found


class Average:
    """Exponential average of all floating tensors of the trained modules.

    The half-life is `half_life` samples, but never more than a twentieth of the samples seen, so that the
    first random weights are soon forgotten.

    Reference:
        Karras et al., Analyzing and Improving the Training Dynamics of Diffusion Models (2024), section 3.

    Args:
        modules: the trained modules; the average begins at their present weights.
        half_life: in samples; 0 makes the average equal to the weights.
    """

    def __init__(self, modules: Mapping[str, nn.Module], half_life: int) -> None:
        self.half_life = half_life
        floating = {k: v for k, v in named_tensors(modules).items() if v.is_floating_point()}
        self._live = list(floating.values())
        self.tensors = {name: tensor.detach().clone() for name, tensor in floating.items()}
        self._average = list(self.tensors.values())

    @torch.no_grad()
    def update(self, samples: int, added: int) -> None:
        """Take in the weights after a step.

        Args:
            samples: samples seen, those of this step included.
            added: samples of this step.
        """
        half_life = min(self.half_life, samples / 20)
        weight = 1 - 0.5 ** (added / half_life) if half_life > 0 else 1.0
        torch._foreach_lerp_(self._average, [tensor.detach() for tensor in self._live], weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the modules, and the trained ones back at the end."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for live, average in zip(self._live, self._average, strict=True):
            live.data, average.data = average.data, live.data
