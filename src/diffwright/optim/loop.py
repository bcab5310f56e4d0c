"""The reference implementation: one parameter after another, readable, differentiable."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffwright.optim.rule import Factors, Rule, device_factors, friction_coefficient, host_factors


@dataclass
class Slots:
    """Parameters with a gradient and their state, as parallel lists.

    Attributes:
        params: Parameters θ.
        grads: Their gradients g; never written.
        exp_avgs: m.
        exp_avg_sqs: v.
        previous_grads: q, what the last step used as gradient.
        max_exp_avg_sqs: Largest v so far; empty without amsgrad.
        steps: Step counts, one tensor a parameter.
        taken: Whether the gradient itself becomes the next q, so that nothing is copied.
    """

    params: list[Tensor] = field(default_factory=list)
    grads: list[Tensor] = field(default_factory=list)
    exp_avgs: list[Tensor] = field(default_factory=list)
    exp_avg_sqs: list[Tensor] = field(default_factory=list)
    previous_grads: list[Tensor] = field(default_factory=list)
    max_exp_avg_sqs: list[Tensor] = field(default_factory=list)
    steps: list[Tensor] = field(default_factory=list)
    taken: list[bool] = field(default_factory=list)

    def select(self, indices: list[int]) -> "Slots":
        """Return the slots of some parameters, with every complex tensor viewed as real pairs."""
        return Slots(
            params=[_real(self.params[i]) for i in indices],
            grads=[_real(self.grads[i]) for i in indices],
            exp_avgs=[_real(self.exp_avgs[i]) for i in indices],
            exp_avg_sqs=[_real(self.exp_avg_sqs[i]) for i in indices],
            previous_grads=[_real(self.previous_grads[i]) for i in indices],
            max_exp_avg_sqs=[_real(self.max_exp_avg_sqs[i]) for i in indices if self.max_exp_avg_sqs],
            steps=[self.steps[i] for i in indices],
            taken=[self.taken[i] for i in indices],
        )


def single_tensor_diffgrad(slots: Slots, rule: Rule) -> None:
    """Step every parameter by the diffGrad rule, in a plain loop.

    Args:
        slots: Parameters, gradients and state; all but the gradients are updated in place.
        rule: Options of the group.
    """
    for i in range(len(slots.params)):
        _step_one(slots.select([i]), rule)


def gradient_of(param: Tensor, grad: Tensor, rule: Rule) -> Tensor:
    """Return the gradient that the rule uses, with the sign of ``maximize`` and coupled decay.

    Args:
        param: The parameter.
        grad: Its gradient; not written.
        rule: Options of the group.

    Shapes:
        param, grad and the result share one shape.

    Returns:
        ``grad`` itself if nothing changes it, a new tensor otherwise.
    """
    if rule.maximize:
        grad = -grad
    if rule.weight_decay != 0 and not rule.decoupled:
        grad = grad.add(param, alpha=rule.weight_decay)
    return grad


def scalar(value: float | Tensor) -> float | Tensor:
    """Return a Python number for a tensor with one element, unless a compiler is tracing."""
    if isinstance(value, Tensor) and not torch.compiler.is_compiling():
        return value.item()
    return value


def on_device(rule: Rule) -> bool:
    """Tell whether the scalars of a step must stay tensors."""
    return rule.capturable or rule.differentiable or torch.compiler.is_compiling()


def _step_one(slot: Slots, rule: Rule) -> None:
    param, m, v, q = slot.params[0], slot.exp_avgs[0], slot.exp_avg_sqs[0], slot.previous_grads[0]
    step = slot.steps[0]
    step += 1
    lr = rule.lr if on_device(rule) else scalar(rule.lr)
    grad = gradient_of(param, slot.grads[0], rule)
    if rule.weight_decay != 0 and rule.decoupled:
        param.mul_(1 - lr * rule.weight_decay)
    m.lerp_(grad, _as_weight(1 - rule.beta1, m))
    if isinstance(rule.beta2, Tensor):
        v.lerp_(grad.square(), _as_weight(1 - rule.beta2, v))
    else:
        v.mul_(rule.beta2).addcmul_(grad, grad, value=1 - rule.beta2)
    second = v
    if rule.amsgrad:
        largest = slot.max_exp_avg_sqs[0]
        second = (
            torch.maximum(largest.clone(), v.clone()) if rule.differentiable else torch.maximum(largest, v)
        )
        largest.copy_(second)
    if on_device(rule):
        factors = device_factors(step.clone() if rule.differentiable else step, rule)
    else:
        factors = host_factors(float(step), rule)
    _move(param, m, second, q, grad, factors, rule)
    if not slot.taken[0]:
        q.copy_(grad)


def _move(
    param: Tensor, m: Tensor, second: Tensor, q: Tensor, grad: Tensor, factors: Factors, rule: Rule
) -> None:
    """Apply θ ← θ - step_size · ξ m / (√v / root + eps)."""
    if rule.differentiable:
        m, q = m.clone(), q.clone()
    denominator = second.sqrt() / factors.root + factors.eps
    xi = friction_coefficient(rule.friction, q.to(grad.dtype), grad, denominator)
    if factors.adaptive is False:
        denominator = torch.ones_like(denominator)
    elif isinstance(factors.adaptive, Tensor):
        denominator = torch.where(factors.adaptive, denominator, torch.ones_like(denominator))
    if isinstance(factors.step_size, Tensor):
        param.addcmul_(m * xi / denominator, -factors.step_size.to(param.dtype))
    else:
        param.addcdiv_(m * xi, denominator, value=-factors.step_size)


def _as_weight(value: float | Tensor, like: Tensor) -> float | Tensor:
    return value.to(dtype=like.dtype, device=like.device) if isinstance(value, Tensor) else value


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if torch.is_complex(tensor) else tensor
