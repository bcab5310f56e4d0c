"""What is computed once for a picture and used by every edit of it: latents, trajectory, bank, features."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffwright.core.progress import Progress
from diffwright.diffusion.features import Taps, features, tapped
from diffwright.diffusion.guidance import Denoiser
from diffwright.diffusion.inversion import Trajectory, invert
from diffwright.diffusion.sites import Site
from diffwright.editing.bank import States, recorded
from diffwright.editing.frame import Frame
from diffwright.editing.presets import Preset

KEPT = 4  # inversions; a picture and its references, at two places or presets


@dataclass(eq=False)
class Inverted:
    """A picture as the sampler needs it.

    Attributes:
        trajectory: its latents at all levels.
        denoiser: the model with the picture's words.
        bank: by step, what the self-attentions read.
        taps: by step, its features; filled on demand where the inversion did not give them.
    """

    trajectory: Trajectory
    denoiser: Denoiser
    bank: dict[int, States] = field(default_factory=dict)
    taps: dict[int, Taps] = field(default_factory=dict)

    @property
    def grid(self) -> tuple[int, int]:
        """Its tap grid, twice as fine as its latents."""
        height, width = self.trajectory.latents[-1].shape[-2:]
        return 2 * height, 2 * width

    @torch.no_grad()
    def taps_at(self, i: int) -> Taps:
        """Features of the picture at the level of step i, computed at most once."""
        if i not in self.taps:
            z = self.trajectory.at(i)
            coarse, fine = features(
                self.denoiser.unet, lambda: self.denoiser.raw(z, i, self.denoiser.context)
            )
            self.taps[i] = coarse.detach(), fine.detach()
        return self.taps[i]


def invert_picture(
    z0: Tensor,
    denoiser: Denoiser,
    preset: Preset,
    attentions: Sequence[Site],
    progress: Progress | None = None,
) -> Inverted:
    """Invert a picture and keep what the steps of a preset may ask for.

    Args:
        z0: its latents (1, C, h, w).
        denoiser: the model with the picture's words.
        preset: levels, convention, and which steps are guided or look at the bank.
        attentions: what the bank records.
        progress: is told the evaluations done; may cancel.
    """
    guided = {step.i for step in preset.steps_taken() if step.guided and preset.own_level}
    bank: dict[int, States] = {}
    taps: dict[int, Taps] = {}

    @contextmanager
    def visit(i: int) -> Iterator[None]:
        with ExitStack() as stack:
            seen = stack.enter_context(tapped(denoiser.unet)) if i in guided else []
            if preset.bank:
                bank[i] = stack.enter_context(recorded(attentions))
            yield
        if seen:
            taps[i] = seen[0].detach().clone(), seen[1].detach().clone()

    trajectory = invert(
        denoiser,
        z0,
        denoiser.schedule,
        start=preset.first,
        own_level=preset.own_level,
        visit=visit,
        progress=progress,
    )
    return Inverted(trajectory, denoiser, bank, taps)


@dataclass(frozen=True, eq=False)
class Coded:
    """A picture through the autoencoder.

    Attributes:
        seen: what the model sees of it, (1, 3, H, W) in [-1, 1].
        latents: (1, C, h, w), scaled as the UNet reads them.
        decoded: the round trip, (1, 3, H, W).
    """

    seen: Tensor
    latents: Tensor
    decoded: Tensor


class Cache:
    """The last few results by what they depend on; the oldest goes first."""

    def __init__(self, size: int = KEPT) -> None:
        self._size, self._entries = size, OrderedDict[Any, Any]()

    def get(self, key: Any) -> Any:
        """The result under a key, or None."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: Any, value: Any) -> Any:
        """Keep a result and give it back."""
        self._entries[key] = value
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


class Coder:
    """The autoencoder, with the conventions of the pipeline.

    Args:
        vae: an AutoencoderKL.
    """

    def __init__(self, vae: Any) -> None:
        self.vae = vae
        self.scale = vae.config.scaling_factor
        self.shift = getattr(vae.config, "shift_factor", None) or 0.0

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """Mean latents of a picture in [-1, 1], float32: (1, 3, H, W) -> (1, C, h, w)."""
        parameter = next(self.vae.parameters())
        mean = self.vae.encode(image.to(parameter)).latent_dist.mean.float()
        return (mean - self.shift) * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Picture of latents, float32 on the CPU, not clamped: (1, C, h, w) -> (1, 3, H, W)."""
        parameter = next(self.vae.parameters())
        return self.vae.decode((latents / self.scale + self.shift).to(parameter)).sample.float().cpu()

    def code(self, picture: np.ndarray, frame: Frame) -> Coded:
        """Encode and decode what a frame shows of a picture, uint8 (H, W, 3)."""
        seen = frame.seen(picture)
        latents = self.encode(seen)
        return Coded(seen, latents, self.decode(latents))
