"""The diffGrad rule: its options, its frictions and the scalars that a step count fixes.

One step, for gradient g and stored previous gradient q (zero at first), in the paper's symbols:

    m ← β1 m + (1 - β1) g,  v ← β2 v + (1 - β2) g²,  m̂ = m / (1 - β1ᵗ),  v̂ = v / (1 - β2ᵗ)
    ξ = σ(|q - g|)                                   the friction
    θ ← θ - α ξ m̂ / (√v̂ + ε),  q ← g

Reference: Dubey et al., "diffGrad: An Optimization Method for Convolutional Neural Networks", eq. 15-20.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

FrictionFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Friction:
    """A friction of the form ξ = offset + gain · σ(slope · D - shift).

    Attributes:
        signed: D is q - g if true, |q - g| otherwise.
        gain: Factor of the sigmoid.
        offset: What is added to it.
        slope: Factor of D, where ``std_power`` is None.
        std_power: If given, slope = s ** std_power and shift = μ, the standard deviation (of the population)
            and the mean of |g| over the tensor.
        relative: D is divided by √v̂ + ε, which makes ξ blind to the scale of the loss.
    """

    signed: bool = False
    gain: float = 1.0
    offset: float = 0.0
    slope: float = 1.0
    std_power: float | None = None
    relative: bool = False


FRICTIONS: dict[str, Friction] = {
    "abs": Friction(),
    "signed": Friction(signed=True),
    "wide": Friction(gain=9.0, offset=-4.0, slope=0.5),
    "mean_std": Friction(std_power=1.0),
    "mean_variance": Friction(std_power=2.0),
    "mean_root_std": Friction(std_power=0.5),
    "scale_free": Friction(relative=True),
}
"""``abs`` is the paper's; the next five are its ablations DFC1 to DFC5; ``scale_free`` is ours."""

ABLATION_NAMES: dict[str, str] = dict(
    zip(("dfc0", "dfc1", "dfc2", "dfc3", "dfc4", "dfc5"), list(FRICTIONS)[:6], strict=True)
)


@dataclass(frozen=True)
class Rule:
    """The options of one parameter group, as the implementations read them.

    Attributes:
        lr: Step size α, a float or a tensor with one element.
        beta1: Decay of the mean of the gradient.
        beta2: Decay of the mean of its square.
        eps: Added to the denominator.
        weight_decay: Factor λ of the decay.
        decoupled: Decay the weights directly (AdamW) instead of through the gradient.
        amsgrad: Divide by the largest v so far.
        friction: A named friction, or a function (previous gradient, gradient) -> ξ.
        reference_eps: Place ε as the authors' code does: √v + ε, with the bias correction outside.
        rectify: Scale the step by the variance rectification of RAdam.
        maximize: Ascend instead of descend.
        capturable: Keep every scalar on the device.
        differentiable: Let autograd run through the step.
    """

    lr: float | Tensor
    beta1: float | Tensor
    beta2: float | Tensor
    eps: float
    weight_decay: float = 0.0
    decoupled: bool = False
    amsgrad: bool = False
    friction: Friction | FrictionFunction = FRICTIONS["abs"]
    reference_eps: bool = False
    rectify: bool = False
    maximize: bool = False
    capturable: bool = False
    differentiable: bool = False


class Factors(NamedTuple):
    """Scalars of a step: θ ← θ - step_size · ξ m / (√v / root + eps), or / 1 where not ``adaptive``."""

    step_size: float | Tensor
    root: float | Tensor
    eps: float | Tensor
    adaptive: bool | Tensor


def host_factors(step: float, rule: Rule) -> Factors:
    """Compute the scalars of step number ``step`` as Python floats.

    Args:
        step: Number of this step, from 1.
        rule: Options of the group.

    Returns:
        The scalars; ``adaptive`` is false where RAdam would not trust the variance yet (ρ_t <= 5).

    Reference:
        Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", algorithm 2.
    """
    lr, beta1, beta2 = (float(x) for x in (rule.lr, rule.beta1, rule.beta2))
    root = (1 - beta2**step) ** 0.5
    step_size = lr / (1 - beta1**step)
    eps = rule.eps / root if rule.reference_eps else rule.eps
    if not rule.rectify:
        return Factors(step_size, root, eps, True)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * step * beta2**step / (1 - beta2**step)
    if rho <= 5:
        return Factors(step_size, root, eps, False)
    variance = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    return Factors(step_size * variance**0.5, root, eps, True)


def device_factors(step: Tensor, rule: Rule) -> Factors:
    """Compute the scalars of a step without leaving the device, for graphs and for autograd.

    Args:
        step: Step numbers after this step.
        rule: Options of the group.

    Shapes:
        step (N,) or () -> every tensor of the result has that shape.

    Returns:
        The scalars as tensors; ``adaptive`` is a bool tensor if the rule rectifies.
    """
    log1, log2 = _log(rule.beta1), _log(rule.beta2)
    correction1, correction2 = -torch.expm1(step * log1), -torch.expm1(step * log2)
    root = correction2.sqrt()
    step_size = rule.lr / correction1
    eps = rule.eps / root if rule.reference_eps else torch.full_like(root, rule.eps)
    if not rule.rectify:
        return Factors(step_size, root, eps, True)
    rho_inf = 2 / (1 - rule.beta2) - 1
    rho = rho_inf - 2 * step * torch.exp(step * log2) / correction2
    adaptive = rho > 5
    safe = torch.where(adaptive, rho, torch.full_like(rho, 6.0))
    variance = (safe - 4) * (safe - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * safe)
    step_size = torch.where(adaptive, step_size * variance.sqrt(), step_size)
    return Factors(step_size, root, eps, adaptive)


def _log(beta: float | Tensor) -> float | Tensor:
    """Return log β: 1 - βᵗ is computed as -expm1(t log β), which float32 can hold; 1 - 0.999 it cannot."""
    if isinstance(beta, Tensor):
        return beta.log()
    return math.log(beta) if beta > 0 else -math.inf


def slope_and_shift(friction: Friction, grad: Tensor) -> tuple[float | Tensor, float | Tensor]:
    """Return slope and shift of a friction: constants, or statistics of |g| for DFC3 to DFC5.

    Args:
        friction: The friction.
        grad: The gradient that the step uses, of any shape.

    Returns:
        Two floats, or two 0-dim tensors.
    """
    if friction.std_power is None:
        return friction.slope, 0.0
    std, mean = torch.std_mean(grad.abs(), correction=0)
    return std if friction.std_power == 1.0 else std**friction.std_power, mean


def friction_coefficient(
    friction: Friction | FrictionFunction, previous: Tensor, grad: Tensor, denominator: Tensor
) -> Tensor:
    """Compute the friction ξ of every element.

    Args:
        friction: A named friction or a function of the two gradients.
        previous: Gradient that the last step used; zero before the first step.
        grad: Gradient that this step uses.
        denominator: √v̂ + ε of this step; only a relative friction reads it.

    Shapes:
        All tensors and the result have the shape of the parameter.

    Returns:
        ξ, a new tensor.
    """
    if not isinstance(friction, Friction):
        return friction(previous, grad)
    difference = previous - grad
    if not friction.signed:
        difference = difference.abs()
    if friction.relative:
        difference = difference / denominator
    slope, shift = slope_and_shift(friction, grad)
    xi = torch.sigmoid(difference * slope - shift if friction != FRICTIONS["abs"] else difference)
    if friction.gain == 1.0 and friction.offset == 0.0:
        return xi
    return friction.offset + friction.gain * xi
