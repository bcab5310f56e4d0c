"""Noise levels for inversion and sampling, in the symbols of DDIM, whatever scheduler the pipeline carries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diffwright.core.checks import one_of, whole


@dataclass(frozen=True)
class Schedule:
    """N steps from noise to picture; step i leads from level i to level i + 1.

    Level i < N has the noise of timestep ``timesteps[i]``; level N is the picture's own latents.

    Args:
        timesteps: what the model is told at each step, falling.
        alpha_bar: ᾱ of the N + 1 levels, rising.
        prediction: what the model gives, ``epsilon`` or ``v_prediction``.

    Reference:
        Song, Meng, Ermon, Denoising Diffusion Implicit Models, 2021, equations 12 and 16.
    """

    timesteps: tuple[int, ...]
    alpha_bar: tuple[float, ...]
    prediction: str = "epsilon"

    @classmethod
    def of(cls, scheduler: Any, steps: int) -> Schedule:
        """Space the levels of a scheduler evenly, shifted by one: 981, 961 ... 1 for 50 steps of 1000.

        This is the spacing of the published editors. It never asks for the pure noise at which a schedule with
        zero terminal signal begins, where no picture could be inverted.

        Args:
            scheduler: any diffusers scheduler with ``alphas_cumprod``.
            steps: N, 1 to a third of the number of training steps.

        Raises:
            ConfigError: another number of steps, or a prediction that is neither epsilon nor v.
        """
        config = scheduler.config
        prediction = config.get("prediction_type", "epsilon")
        one_of("prediction type", prediction, ("epsilon", "v_prediction"))
        levels = scheduler.alphas_cumprod.double().tolist()
        whole("steps", steps, 1, len(levels) // 3)
        ratio = len(levels) // steps
        timesteps = tuple(min(i * ratio + 1, len(levels) - 1) for i in reversed(range(steps)))
        last = 1.0 if config.get("set_alpha_to_one", True) else levels[0]
        return cls(timesteps, (*(levels[t] for t in timesteps), last), prediction)

    def __len__(self) -> int:
        return len(self.timesteps)

    def epsilon(self, output: Tensor, z: Tensor, i: int) -> Tensor:
        """ε̂ from what the model said of z when it was told the timestep of step i."""
        if self.prediction == "epsilon":
            return output
        a = self.alpha_bar[i]
        return math.sqrt(a) * output + math.sqrt(1 - a) * z

    def clean(self, z: Tensor, epsilon: Tensor, level: int) -> Tensor:
        """x̂0 of latents at a level."""
        a = self.alpha_bar[level]
        return (z - math.sqrt(1 - a) * epsilon) / math.sqrt(a)

    def noised(self, x0: Tensor, epsilon: Tensor, level: int) -> Tensor:
        """√ᾱ x0 + √(1 − ᾱ) ε at a level."""
        a = self.alpha_bar[level]
        return math.sqrt(a) * x0 + math.sqrt(1 - a) * epsilon

    def carried(self, z: Tensor, epsilon: Tensor, level: int, to: int) -> Tensor:
        """Deterministic DDIM step between any two levels, towards the picture or away from it."""
        return self.noised(self.clean(z, epsilon, level), epsilon, to)

    def sigma(self, i: int) -> float:
        """Standard deviation that DDPM adds in step i; DDIM's η scales it (equation 16)."""
        a, b = self.alpha_bar[i], self.alpha_bar[i + 1]
        return math.sqrt((1 - b) / (1 - a) * (1 - a / b))

    def step(
        self,
        z: Tensor,
        epsilon: Tensor,
        i: int,
        g: Tensor | float = 0.0,
        eta: Tensor | float = 0.0,
        noise: Tensor | float = 0.0,
    ) -> Tensor:
        """One step towards the picture, with guidance in x̂0 only and its own share of noise at every place.

        z' = √ᾱ' (z − √(1−ᾱ)(ε + g))/√ᾱ + √(1−ᾱ'−σ²) ε + σ n,  σ = η σ_DDPM

        Args:
            z: latents at level i.
            epsilon: ε̂ there.
            i: the step.
            g: gradient of the energies.
            eta: η, 0 to 1, at each place.
            noise: n.

        Shapes:
            all (B, C, h, w) or broadcast to it
        """
        b = self.alpha_bar[i + 1]
        sigma = eta * self.sigma(i)
        direction = (1 - b - sigma**2) ** 0.5
        return math.sqrt(b) * self.clean(z, epsilon + g, i) + direction * epsilon + sigma * noise
