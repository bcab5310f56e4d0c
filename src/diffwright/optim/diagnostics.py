"""What the friction does to a model: its distribution and the learning rate that is left.

A friction whose quantiles are all 0.50 means that diffGrad is Adam at half the learning rate there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffwright.optim.diffgrad import DiffGrad
from diffwright.optim.loop import gradient_of
from diffwright.optim.rule import Friction, Rule, friction_coefficient, host_factors

SAMPLE = 1 << 20


@dataclass(frozen=True)
class FrictionStatistics:
    """The friction of one parameter group in one step.

    Attributes:
        group: Index of the group.
        elements: Weights that have a gradient.
        mean: Mean of ξ over them.
        quantiles: Probability -> quantile of ξ.
        above: Share of weights with ξ > 0.51.
        effective_lr: Learning rate times the mean of ξ.
    """

    group: int
    elements: int
    mean: float
    quantiles: dict[float, float]
    above: float
    effective_lr: float


@torch.no_grad()
def friction_statistics(
    optimizer: DiffGrad, quantiles: Sequence[float] = (0.05, 0.5, 0.95)
) -> list[FrictionStatistics]:
    """Compute the friction that the next ``step`` would apply; call it between backward and step.

    Quantiles come from at most about a million evenly spaced weights a group. Under a ``GradScaler`` call its
    ``unscale_`` first, or the friction is that of the scaled gradients.

    Args:
        optimizer: The optimizer; nothing of it changes.
        quantiles: Probabilities in [0, 1].

    Returns:
        One entry a group that has gradients.
    """
    found = []
    for index, group in enumerate(optimizer.param_groups):
        rule = optimizer._rule(group)
        scale = getattr(optimizer, "grad_scale", None)
        frictions = [
            _friction(param, optimizer.state.get(param) or {}, rule, scale)
            for param in group["params"]
            if param.grad is not None
        ]
        elements = sum(xi.numel() for xi in frictions)
        if not elements:
            continue
        mean = sum(float(xi.double().sum()) for xi in frictions) / elements
        stride = -(-elements // SAMPLE)
        sample = torch.cat([xi.flatten()[::stride].float().cpu() for xi in frictions]).numpy()
        levels = {q: float(np.quantile(sample, q)) for q in quantiles}
        above = float((sample > 0.51).mean())
        found.append(FrictionStatistics(index, elements, mean, levels, above, float(rule.lr) * mean))
    return found


@contextmanager
def record_friction(optimizer: DiffGrad, every: int = 1) -> Iterator[list[list[FrictionStatistics]]]:
    """Record :func:`friction_statistics` before the steps taken inside the context.

    Args:
        optimizer: The optimizer to watch.
        every: Record each ``every``-th step, from the first.

    Yields:
        A list that grows by one entry a recorded step.
    """
    rows: list[list[FrictionStatistics]] = []
    count = 0

    def before(watched: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal count
        count += 1
        if (count - 1) % every:
            return None
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            rows.append(friction_statistics(watched))
            return None

        def measured() -> Any:
            loss = closure()
            rows.append(friction_statistics(watched))
            return loss

        return (*args[:1], measured), {}

    handle = optimizer.register_step_pre_hook(before)
    try:
        yield rows
    finally:
        handle.remove()


def _friction(param: Tensor, state: dict[str, Any], rule: Rule, scale: Tensor | None) -> Tensor:
    assert param.grad is not None
    grad = param.grad if scale is None else param.grad / scale
    grad = gradient_of(param, grad, rule)
    previous = state.get("previous_grad", torch.zeros_like(grad))
    if grad.is_complex():
        grad = torch.view_as_real(grad)
        previous = torch.view_as_real(previous) if previous.is_complex() else previous
    denominator = grad
    if isinstance(rule.friction, Friction) and rule.friction.relative:
        denominator = _denominator(grad, state, rule)
    return friction_coefficient(rule.friction, previous.to(grad.dtype), grad, denominator)


def _denominator(grad: Tensor, state: dict[str, Any], rule: Rule) -> Tensor:
    """Return √v̂ + ε as the next step will compute it."""
    second = state.get("exp_avg_sq", torch.zeros_like(grad))
    second = torch.view_as_real(second) if second.is_complex() else second
    second = second * rule.beta2 + grad * grad * (1 - rule.beta2)
    if rule.amsgrad and "max_exp_avg_sq" in state:
        largest = state["max_exp_avg_sq"]
        second = torch.maximum(torch.view_as_real(largest) if largest.is_complex() else largest, second)
    factors = host_factors(float(state.get("step", 0)) + 1, rule)
    return second.sqrt() / factors.root + factors.eps
