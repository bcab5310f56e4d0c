"""The horizontal implementation: torch's foreach operations over all tensors of one device and type.

The friction is built inside the buffer of the previous gradient: the denominator is the only new tensor.
"""

import torch
from torch import Tensor
from torch.utils._foreach_utils import _group_tensors_by_device_and_dtype

from diffwright.optim.loop import Slots, on_device, scalar
from diffwright.optim.rule import (
    Friction,
    Rule,
    device_factors,
    friction_coefficient,
    host_factors,
    slope_and_shift,
)


def multi_tensor_diffgrad(slots: Slots, rule: Rule) -> None:
    """Step every parameter by the diffGrad rule with foreach operations.

    Args:
        slots: Parameters, gradients and state; all but the gradients are updated in place.
        rule: Options of the group; not differentiable.

    Raises:
        RuntimeError: A tensor learning rate without ``capturable``.
    """
    if isinstance(rule.lr, Tensor) and not rule.capturable:
        raise RuntimeError("lr as a Tensor is not supported for capturable=False and foreach=True")
    if not slots.params:
        return
    tensors: list[Tensor | None] = [*slots.params]
    groups = _group_tensors_by_device_and_dtype([tensors], with_indices=True)
    for _, indices in groups.values():
        _step_group(slots.select(indices), rule)


def _step_group(slots: Slots, rule: Rule) -> None:
    if not torch.compiler.is_compiling() and slots.steps[0].is_cpu:
        torch._foreach_add_(slots.steps, torch.tensor(1.0), alpha=1.0)
    else:
        torch._foreach_add_(slots.steps, 1)
    grads = _gradients(slots, rule)
    if rule.weight_decay != 0 and rule.decoupled:
        torch._foreach_mul_(slots.params, 1 - rule.lr * rule.weight_decay)
    _average(slots, grads, rule)
    step_sizes, roots, eps, adaptive = _factors(slots.steps, rule)
    denominators = torch._foreach_sqrt(slots.max_exp_avg_sqs if rule.amsgrad else slots.exp_avg_sqs)
    torch._foreach_div_(denominators, roots)
    torch._foreach_add_(denominators, eps)
    updates = _updates(slots, grads, list(denominators), rule)
    for denominator, trusted in zip(denominators, adaptive, strict=True):
        if isinstance(trusted, Tensor):
            denominator.copy_(torch.where(trusted, denominator, torch.ones_like(denominator)))
        elif not trusted:
            denominator.fill_(1.0)
    if isinstance(step_sizes[0], Tensor):
        torch._foreach_div_(denominators, step_sizes)
        torch._foreach_addcdiv_(slots.params, updates, denominators, value=-1.0)
    else:
        torch._foreach_addcdiv_(slots.params, updates, denominators, [-size for size in step_sizes])
    kept = [i for i, taken in enumerate(slots.taken) if not taken]
    if kept:
        torch._foreach_copy_([slots.previous_grads[i] for i in kept], [grads[i] for i in kept])


def _gradients(slots: Slots, rule: Rule) -> list[Tensor]:
    grads = list(torch._foreach_neg(slots.grads)) if rule.maximize else slots.grads
    if rule.weight_decay == 0 or rule.decoupled:
        return grads
    if rule.maximize:
        torch._foreach_add_(grads, slots.params, alpha=rule.weight_decay)
        return grads
    return list(torch._foreach_add(grads, slots.params, alpha=rule.weight_decay))


def _average(slots: Slots, grads: list[Tensor], rule: Rule) -> None:
    device = grads[0].device
    beta1, beta2 = (
        beta.to(device) if isinstance(beta, Tensor) and beta.dim() == 0 and not beta.is_cpu else scalar(beta)
        for beta in (rule.beta1, rule.beta2)
    )
    torch._foreach_lerp_(slots.exp_avgs, grads, 1 - beta1)  # pyright: ignore[reportArgumentType, reportCallIssue]
    torch._foreach_mul_(slots.exp_avg_sqs, beta2)
    if isinstance(beta2, Tensor):
        torch._foreach_addcmul_(slots.exp_avg_sqs, torch._foreach_mul(grads, 1 - beta2), grads)
    else:
        torch._foreach_addcmul_(slots.exp_avg_sqs, grads, grads, value=1 - beta2)
    if rule.amsgrad:
        torch._foreach_maximum_(slots.max_exp_avg_sqs, slots.exp_avg_sqs)


def _factors(steps: list[Tensor], rule: Rule) -> tuple[list, list, list, list]:
    """Return step sizes, roots, eps and trust, one a tensor: floats, or 0-dim tensors if captured."""
    if not on_device(rule):
        each = {step: host_factors(step, rule) for step in {float(step) for step in steps}}
        chosen = [each[float(step)] for step in steps]
        return tuple(list(column) for column in zip(*chosen, strict=True))  # pyright: ignore[reportReturnType]
    factors = device_factors(torch.stack(steps), rule)
    adaptive = factors.adaptive
    trust = list(adaptive.unbind()) if isinstance(adaptive, Tensor) else [True] * len(steps)
    columns = [list(column.unbind()) for column in factors[:3] if isinstance(column, Tensor)]
    return columns[0], columns[1], columns[2], trust


def _updates(slots: Slots, grads: list[Tensor], denominators: list[Tensor], rule: Rule) -> list[Tensor]:
    """Return ξ m, built inside the previous gradients where their type allows it."""
    friction, dtype = rule.friction, grads[0].dtype
    if not isinstance(friction, Friction):
        pairs = zip(slots.previous_grads, grads, denominators, strict=True)
        work = [friction_coefficient(friction, q.to(dtype), g, d) for q, g, d in pairs]
        torch._foreach_mul_(work, slots.exp_avgs)
        return work
    work = slots.previous_grads
    if work[0].dtype != dtype:
        work = [q.to(dtype) for q in work]
    torch._foreach_sub_(work, grads)
    if not friction.signed:
        torch._foreach_abs_(work)
    if friction.relative:
        torch._foreach_div_(work, denominators)
    if friction.std_power is not None:
        for difference, grad in zip(work, grads, strict=True):
            slope, shift = slope_and_shift(friction, grad)
            difference.mul_(slope).sub_(shift)
    elif friction.slope != 1.0:
        torch._foreach_mul_(work, friction.slope)
    torch._foreach_sigmoid_(work)
    if friction.gain != 1.0:
        torch._foreach_mul_(work, friction.gain)
    if friction.offset != 0.0:
        torch._foreach_add_(work, friction.offset)
    torch._foreach_mul_(work, slots.exp_avgs)
    return work
