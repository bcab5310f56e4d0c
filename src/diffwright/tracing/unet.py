"""Causal tracing of the UNet: rows in lock step, one of them clean, each other one with a layer of its own restored.

At every denoising step one call of the UNet computes all rows; when it reaches a layer, the clean row's output
is copied into the row that restores this layer. So the clean run is computed once for many layers, and nothing
is stored between steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from diffwright.core.checks import one_of, whole
from diffwright.core.errors import ConfigError
from diffwright.core.images import to_u8
from diffwright.diffusion.backbones import require
from diffwright.diffusion.hooks import replaced
from diffwright.diffusion.sampling import Encoded, encode_blank, paint
from diffwright.diffusion.sites import Site

BRANCHES = ("both", "cond")
LEVELS = (1 / 6, 3 / 6, 5 / 6)
"""Where along the clean trajectory the denoiser's prediction is compared."""


@dataclass(frozen=True)
class Sampling:
    """How pictures are painted during a trace.

    Args:
        steps: denoising steps, at least 1.
        guidance: classifier-free guidance scale; 1 switches it off, None takes the layout's default.
        between: first step that is restored and the one after the last, counted from 0 by calls of the UNet
            (a second-order sampler makes two a step); None for all, as in the paper.
        branches: ``both`` restores the branches with and without text, ``cond`` the one with text only.
        rows: most UNet rows computed at once, guidance included; None chooses by the size of the latents.
        half: let matrix products and convolutions run in bfloat16.

    Raises:
        ConfigError: a number is out of range.
    """

    steps: int = 20
    guidance: float | None = None
    between: tuple[int, int] | None = None
    branches: str = "both"
    rows: int | None = None
    half: bool = False

    def __post_init__(self) -> None:
        whole("steps", self.steps, 1, 1000)
        one_of("branches", self.branches, BRANCHES)
        if self.rows is not None:
            whole("rows", self.rows, 4, 10**6)
        if self.between is not None and not 0 <= self.between[0] < self.between[1]:
            raise ConfigError(
                f"between is {self.between}; give a first step and one after the last, like 0 5."
            )

    def check_calls(self, calls: int) -> None:
        """Check that what is to be restored happens at all.

        Args:
            calls: of the UNet in one run.

        Raises:
            ConfigError: ``between`` begins after the last of them.
        """
        if self.between is not None and self.between[0] >= calls:
            raise ConfigError(
                f"between is {self.between}, but the UNet is called {calls} times; begin at {calls - 1} at most."
            )

    def scale(self, pipe: Any) -> float:
        """Give the guidance scale for a pipeline."""
        return require(pipe, "trace").guidance if self.guidance is None else self.guidance

    def targets(self, pipe: Any) -> int:
        """Say how many rows fit beside the clean one."""
        size = pipe.unet.config.sample_size
        cells = size * size if isinstance(size, int) else size[0] * size[1]
        rows = self.rows or min(96, max(4, 2**16 // cells))
        return rows // (2 if self.scale(pipe) > 1 else 1) - 1


class Painted(NamedTuple):
    """What the rows ended in: pictures uint8 (B, H, W, 3) and latents (B, C, h, w)."""

    pictures: np.ndarray
    latents: Tensor


def lock_step(
    pipe: Any,
    encoded: Encoded,
    sites: Sequence[Site | None],
    *,
    seed: int,
    sampling: Sampling,
    on_step: Callable[[int, int], None] | None = None,
) -> Painted:
    """Paint one clean row and any number of others that start from the same noise.

    Args:
        pipe: a supported pipeline.
        encoded: conditions of all rows, the clean one first.
        sites: for each row but the clean one the layer whose output is copied from there, or None.
        seed: of the latent noise and of all noise that the scheduler adds; shared by all rows.
        sampling: how it is painted.
        on_step: is told the steps done and all steps.

    Returns:
        Pictures and latents, row by row.

    Reference:
        Basu et al., Localizing and Editing Knowledge in Text-to-Image Generative Models, ICLR 2024: clean,
        corrupted and restored configurations under classifier-free guidance.
    """
    latents: list[Tensor] = []

    def after(pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        latents[:] = [tensors["latents"]]
        if step == 0:
            sampling.check_calls(len(pipeline.scheduler.timesteps))
        if on_step is not None:
            on_step(step + 1, pipeline.num_timesteps)
        return tensors

    with restoring(pipe.unet, sites, between=sampling.between, branches=sampling.branches):
        pictures = paint(
            pipe,
            encoded,
            encode_blank(pipe),
            seeds=[seed] * (len(sites) + 1),
            steps=sampling.steps,
            guidance=sampling.scale(pipe),
            half=sampling.half,
            on_step=after,
        )
    return Painted(to_u8(pictures.float().cpu() * 2 - 1), latents[0].float())


@contextmanager
def restoring(
    unet: nn.Module,
    sites: Sequence[Site | None],
    *,
    between: tuple[int, int] | None = None,
    branches: str = "both",
) -> Iterator[None]:
    """Copy layer outputs of the clean row into other rows while the block runs.

    Args:
        unet: whose calls carry the rows, once, or twice under guidance (without text first).
        sites: for each row but the clean one, which is row 0, the layer that is copied, or None.
        between: calls of the UNet in which this is done, counted from 0; all without it.
        branches: see :class:`Sampling`.
    """
    count, calls = len(sites) + 1, -1

    def begin(_module: nn.Module, _args: tuple) -> None:
        nonlocal calls
        calls += 1

    def copy_into(row: int) -> Callable[[Tensor], Tensor]:
        def change(output: Tensor) -> Tensor:
            if between is None or between[0] <= calls < between[1]:
                starts = range(0, len(output), count)
                for start in starts if branches == "both" else starts[-1:]:
                    output[start + row] = output[start]
            return output

        return change

    with ExitStack() as stack:
        stack.callback(unet.register_forward_pre_hook(begin).remove)
        for row, site in enumerate(sites, 1):
            if site is not None:
                stack.enter_context(replaced(site, copy_into(row)))
        yield


@dataclass(frozen=True)
class Probe:
    """A noisy latent of the clean trajectory, at which predictions are compared.

    Attributes:
        sample: what the UNet reads, (1, C, h, w).
        timestep: its time.
        time_ids: SDXL's sizes, (1, 6), or None.
    """

    sample: Tensor
    timestep: Any
    time_ids: Tensor | None


def probes(pipe: Any, clean: Encoded, *, seed: int, sampling: Sampling) -> list[Probe]:
    """Paint the clean row alone and keep what the UNet reads at a few steps.

    Args:
        pipe: a supported pipeline.
        clean: one row.
        seed: of the noise.
        sampling: how it is painted.
    """
    read: list[Probe] = []

    def keep(_module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        added = kwargs.get("added_cond_kwargs") or {}
        times = added["time_ids"][-1:] if "time_ids" in added else None
        read.append(Probe(args[0][-1:].clone(), args[1], times))

    handle = pipe.unet.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        lock_step(pipe, clean, [], seed=seed, sampling=sampling)
    finally:
        handle.remove()
    return [read[int(level * len(read))] for level in LEVELS]


@torch.no_grad()
def predict(pipe: Any, probe: Probe, encoded: Encoded, sites: Sequence[Site | None], half: bool) -> Tensor:
    """Predict once from one noisy latent under many conditions, the clean one first.

    Args:
        pipe: a supported pipeline.
        probe: the noisy latent.
        encoded: conditions of all rows.
        sites: see :func:`lock_step`.
        half: see :class:`Sampling`.

    Shapes:
        -> (B, C, h, w), whatever the UNet predicts
    """
    rows, pooled = encoded
    added = None
    if probe.time_ids is not None:
        added = {"text_embeds": pooled, "time_ids": probe.time_ids.expand(len(rows), -1)}
    with restoring(pipe.unet, sites), torch.autocast(rows.device.type, torch.bfloat16, enabled=half):
        return pipe.unet(
            probe.sample.expand(len(rows), -1, -1, -1),
            probe.timestep,
            encoder_hidden_states=rows,
            added_cond_kwargs=added,
            return_dict=False,
        )[0].float()
