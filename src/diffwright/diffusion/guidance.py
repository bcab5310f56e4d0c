"""The denoiser as samplers see it: ε̂ with or without classifier-free guidance, in single precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffwright.diffusion.schedules import Schedule


class Denoiser:
    """A UNet with its schedule and its words.

    Args:
        unet: a UNet2DConditionModel; its own number format is used inside.
        schedule: the levels and what the model predicts.
        context: encoding of the prompt, or a tuple of it and further tokens as image-prompt processors take it.
        blank: the same for the empty prompt; needed where guidance is used.

    Shapes:
        context, blank: (1, T, D)
    """

    def __init__(self, unet: Any, schedule: Schedule, context: Any, blank: Any = None) -> None:
        self.unet, self.schedule, self.context, self.blank = unet, schedule, context, blank

    def __call__(self, z: Tensor, i: int, guidance: float = 1.0) -> Tensor:
        """ε̂ of latents told the timestep of step i.

        Args:
            z: latents (1, C, h, w).
            i: the step.
            guidance: scale s of ε̂ = ε(∅) + s (ε(c) − ε(∅)); 1 needs one evaluation, others two.

        Reference:
            Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, equation 6.
        """
        if guidance == 1.0 or self.blank is None:
            return self.schedule.epsilon(self.raw(z, i, self.context), z, i)
        both = self.raw(torch.cat([z, z]), i, _paired(self.blank, self.context))
        blank, told = self.schedule.epsilon(both, torch.cat([z, z]), i).chunk(2)
        return blank + guidance * (told - blank)

    def raw(self, z: Tensor, i: int, context: Any) -> Tensor:
        """What the UNet says, with its own prediction type; (B, C, h, w)."""
        parameter = next(self.unet.parameters())
        t = torch.tensor(self.schedule.timesteps[i], device=z.device)
        out = self.unet(z.to(parameter.dtype), t, encoder_hidden_states=context, return_dict=False)[0]
        return out.to(z.dtype)


def _paired(first: Any, second: Any) -> Any:
    """Stack two contexts along the batch, inside tuples and lists too."""
    if isinstance(first, Tensor):
        return torch.cat([first, second])
    return type(first)(_paired(a, b) for a, b in zip(first, second, strict=True))


def limited(g: Tensor, epsilon: Tensor, most: float | None) -> Tensor:
    """Shorten a gradient that is longer than ``most`` times ε̂; one with NaN or infinity is dropped.

    Args:
        g: gradient (1, C, h, w).
        epsilon: ε̂ of the same shape.
        most: largest ratio of their root mean squares over the places where g acts; None leaves it.
    """
    if not bool(g.isfinite().all()):
        return torch.zeros_like(g)
    if most is None:
        return g
    where = (g != 0).any(dim=1, keepdim=True)
    size = (g.square() * where).sum().sqrt()
    bound = most * (epsilon.square() * where).sum().sqrt()
    return g * (bound / size.clamp_min(1e-12)).clamp_max(1.0)
