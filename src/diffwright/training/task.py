"""What a recipe gives to the training loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Task(Protocol):
    """One recipe: its modules, data, loss, evaluation and export.

    Frozen helper networks live inside the task, which moves them to `generator.device` itself. They, the renders and
    the tokenizer are attributes of it: a resume is refused when they are not those that the run began with.
    """

    name: str

    def modules(self) -> dict[str, nn.Module]:
        """Give the trained modules by name, the same objects at every call."""
        ...

    def batch(self, indices: Tensor) -> Any:
        """Build a batch from sample numbers.

        It runs in a background thread, on the CPU, and must be a pure function of the numbers, without the
        global random state, so that a resume is exact. Tensors in it, also in tuples, lists and dicts, are
        moved to the device afterwards.

        Args:
            indices: int64 sample numbers, (B,), counted up without end; the task shuffles.
        """
        ...

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Give the loss of a batch and figures for the log.

        Args:
            modules: the trained modules on the device.
            batch: what `batch` returned, on the device.
            generator: on the device, seeded from (seed, step, rank).

        Returns:
            A scalar loss, and scalars whose means go into the log (tensors need no `.item()`).
        """
        ...

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Measure the averaged weights, in evaluation mode and without gradients."""
        ...

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Write the finished model with the averaged weights into an empty directory."""
        ...
