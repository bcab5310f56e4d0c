"""The fused implementation on CUDA: one Triton launch over every tensor of one type.

Step counts, a tensor learning rate, the loss scale and found_inf are read on the device, so a step with
``capturable=True`` can be captured in a CUDA graph. Importing this module needs Triton.
"""

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from diffwright.optim.loop import Slots, gradient_of
from diffwright.optim.rule import Friction, Rule, slope_and_shift
from diffwright.optim.triton_table import (
    BLOCK,
    COLUMNS,
    Plan,
    aligned,
    hyper_row,
    lr_on_device,
    pointer_rows,
)

TYPES = {
    torch.float32: tl.float32,
    torch.float64: tl.float64,
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
}
_plans: dict[tuple[object, ...], Plan] = {}


def cuda_step(
    slots: Slots,
    indices: list[int],
    rule: Rule,
    *,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
) -> None:
    """Step tensors of one device, one type and one type of previous gradient with at most two launches.

    Tensors that allow vector loads share one launch, the others another.

    Args:
        slots: Parameters, gradients and state, all dense.
        indices: Which of them.
        rule: Options of the group.
        grad_scale: Scale that the gradients carry, on the device.
        found_inf: Non-zero if the step must change nothing, on the device.
    """
    _count(slots, indices, found_inf)
    rows = pointer_rows(slots, indices)
    vectors = aligned(rows)
    for allowed in (True, False):
        if (vectors == allowed).any():
            chosen = [i for i, vector in zip(indices, vectors, strict=True) if vector == allowed]
            _launch(slots, chosen, rule, rows[vectors == allowed], allowed, grad_scale, found_inf)


def _launch(
    slots: Slots,
    indices: list[int],
    rule: Rule,
    rows: np.ndarray,
    vectors: bool,
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
) -> None:
    friction, param = rule.friction, slots.params[indices[0]]
    assert isinstance(friction, Friction)
    previous_dtype = slots.previous_grads[indices[0]].dtype
    key = (param.device, param.dtype, previous_dtype, vectors, tuple(rows[:, 0].tolist()))
    if key not in _plans:
        _plans[key] = Plan.make(rows, param.device)
    plan = _plans[key]
    capturing = param.is_cuda and torch.cuda.is_current_stream_capturing()
    content = np.concatenate([hyper_row(rule), rows])
    table = plan.upload(content, capturing=capturing, reserve=rule.capturable)
    statistics = _statistics(slots, indices, rule, friction, grad_scale)
    if len(plan.chunks) == 0:
        return
    launch = diffgrad_kernel[(len(plan.chunks),)]  # pyright: ignore[reportIndexIssue]
    launch(
        table,
        plan.chunks,
        rule.lr if lr_on_device(rule) else table,
        table if grad_scale is None else grad_scale,
        table if found_inf is None else found_inf,
        table if statistics is None else statistics,
        TYPE=TYPES[param.dtype],
        PREVIOUS_TYPE=TYPES[previous_dtype],
        MATH=tl.float64 if param.dtype == torch.float64 else tl.float32,
        PREVIOUS_MATH=tl.float64 if previous_dtype == torch.float64 else tl.float32,
        LR_TENSOR=lr_on_device(rule),
        SCALED=grad_scale is not None,
        GUARDED=found_inf is not None,
        STATISTICS=statistics is not None,
        DECOUPLED=rule.decoupled,
        AMSGRAD=rule.amsgrad,
        REFERENCE_EPS=rule.reference_eps,
        RECTIFY=rule.rectify,
        MAXIMIZE=rule.maximize,
        SIGNED=friction.signed,
        RELATIVE=friction.relative,
        ALIGNED=vectors,
        ROW=COLUMNS,
        SIZE=BLOCK,
    )


def _count(slots: Slots, indices: list[int], found_inf: Tensor | None) -> None:
    steps = [slots.steps[i] for i in indices]
    if found_inf is None:
        torch._foreach_add_(steps, 1)
    else:
        torch._foreach_add_(steps, (found_inf == 0).to(steps[0].dtype).reshape(()))


def _statistics(
    slots: Slots, indices: list[int], rule: Rule, friction: Friction, grad_scale: Tensor | None
) -> Tensor | None:
    """Return (N, 2) slopes and shifts for the frictions that depend on the statistics of a tensor."""
    if friction.std_power is None:
        return None
    pairs = []
    for i in indices:
        grad = slots.grads[i] if grad_scale is None else slots.grads[i] / grad_scale
        pairs += slope_and_shift(friction, gradient_of(slots.params[i], grad, rule))
    return torch.stack([torch.as_tensor(value).float() for value in pairs]).reshape(-1, 2)


@triton.jit
def _pointer(row, column, TYPE: tl.constexpr, ALIGNED: tl.constexpr):
    """Read an address from the table; a promise of 16-byte alignment lets the compiler load vectors."""
    pointer = tl.load(row + column).to(tl.pointer_type(TYPE))
    if ALIGNED:
        pointer = tl.multiple_of(pointer, 16)
    return pointer


@triton.jit
def _scalars(hyper, lr, step, REFERENCE_EPS: tl.constexpr, RECTIFY: tl.constexpr):
    """Return step size, factor of √v, ε, and the latter two as a relative friction reads them."""
    beta2 = tl.load(hyper + 2)
    power2 = tl.exp(step * tl.log(beta2))
    friction_root = 1 / tl.sqrt(1 - power2)
    step_size = lr / (1 - tl.exp(step * tl.log(tl.load(hyper + 1))))
    friction_eps = tl.load(hyper + 3)
    if REFERENCE_EPS:
        friction_eps = friction_eps * friction_root
    root = friction_root
    eps = friction_eps
    if RECTIFY:
        limit = 2 / (1 - beta2) - 1
        rho = limit - 2 * step * power2 / (1 - power2)
        trusted = rho > 5
        rho = tl.where(trusted, rho, 6.0)
        variance = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
        step_size = tl.where(trusted, step_size * tl.sqrt(variance), step_size)
        root = tl.where(trusted, root, 0.0)
        eps = tl.where(trusted, eps, 1.0)
    return step_size, root, eps, friction_root, friction_eps


@triton.jit
def _gradient(g, p, hyper, scale, SCALED: tl.constexpr, MAXIMIZE: tl.constexpr, DECOUPLED: tl.constexpr):
    """Return the gradient that the rule uses: unscaled, with the sign of maximize, with coupled decay."""
    if SCALED:
        g = g / tl.load(scale).to(g.dtype)
    if MAXIMIZE:
        g = -g
    if not DECOUPLED:
        g = g + p * tl.load(hyper + 4).to(g.dtype)
    return g


@triton.jit
def _damping(previous, g, denominator, slope, shift, SIGNED: tl.constexpr, RELATIVE: tl.constexpr):
    """Return 1 + exp(shift - slope D), so that the friction is offset + gain / damping."""
    difference = previous - g
    if not SIGNED:
        difference = tl.abs(difference)
    if RELATIVE:
        difference = difference / denominator
    return 1 + tl.exp(tl.minimum(tl.maximum(shift - slope * difference, -87.0), 87.0))


@triton.jit
def diffgrad_kernel(
    table,
    chunks,
    lr_pointer,
    scale,
    found_inf,
    statistics,
    TYPE: tl.constexpr,
    PREVIOUS_TYPE: tl.constexpr,
    MATH: tl.constexpr,
    PREVIOUS_MATH: tl.constexpr,
    LR_TENSOR: tl.constexpr,
    SCALED: tl.constexpr,
    GUARDED: tl.constexpr,
    STATISTICS: tl.constexpr,
    DECOUPLED: tl.constexpr,
    AMSGRAD: tl.constexpr,
    REFERENCE_EPS: tl.constexpr,
    RECTIFY: tl.constexpr,
    MAXIMIZE: tl.constexpr,
    SIGNED: tl.constexpr,
    RELATIVE: tl.constexpr,
    ALIGNED: tl.constexpr,
    ROW: tl.constexpr,
    SIZE: tl.constexpr,
):
    """Step one chunk of one tensor; ``triton_table`` describes table and chunks."""
    hyper = table.to(tl.pointer_type(tl.float64))
    lr = tl.load(lr_pointer).to(tl.float64) if LR_TENSOR else tl.load(hyper)
    program = tl.program_id(0)
    tensor = tl.load(chunks + 2 * program).to(tl.int64)
    row = table + (tensor + 1) * ROW
    step = tl.load(tl.load(row + 7).to(tl.pointer_type(tl.float32))).to(tl.float64)
    step_size, root, eps, friction_root, friction_eps = _scalars(hyper, lr, step, REFERENCE_EPS, RECTIFY)
    slope = tl.load(statistics + 2 * tensor) if STATISTICS else tl.load(hyper + 7)
    shift = tl.load(statistics + 2 * tensor + 1) if STATISTICS else 0.0 * slope

    offsets = tl.load(chunks + 2 * program + 1).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    numel = tl.load(row)
    if GUARDED:
        numel = tl.where(tl.load(found_inf) == 0, numel, 0)
    stored = numel * (1 - tl.load(row + 8))
    if ALIGNED:
        numel = tl.multiple_of(numel, 16)
        stored = tl.multiple_of(stored, 16)
    mask = offsets < numel
    params = _pointer(row, 1, TYPE, ALIGNED) + offsets
    exp_avgs = _pointer(row, 2, TYPE, ALIGNED) + offsets
    exp_avg_sqs = _pointer(row, 3, TYPE, ALIGNED) + offsets
    previous = _pointer(row, 4, PREVIOUS_TYPE, ALIGNED) + offsets
    p = tl.load(params, mask=mask, other=0).to(MATH)
    g = tl.load(_pointer(row, 6, TYPE, ALIGNED) + offsets, mask=mask, other=0).to(MATH)
    g = _gradient(g, p, hyper, scale, SCALED, MAXIMIZE, DECOUPLED)
    m = tl.load(exp_avgs, mask=mask, other=0).to(MATH)
    v = tl.load(exp_avg_sqs, mask=mask, other=0).to(MATH)
    m = m + (g - m) * (1 - tl.load(hyper + 1)).to(MATH)
    v = v * tl.load(hyper + 2).to(MATH) + g * g * (1 - tl.load(hyper + 2)).to(MATH)
    tl.store(exp_avgs, m.to(TYPE), mask=mask)
    tl.store(exp_avg_sqs, v.to(TYPE), mask=mask)
    if AMSGRAD:
        largest = _pointer(row, 5, TYPE, ALIGNED) + offsets
        old = tl.load(largest, mask=mask, other=0).to(MATH)
        v = tl.where((old > v) | (old != old), old, v)
        tl.store(largest, v.to(TYPE), mask=mask)
    size = tl.sqrt(v)
    denominator = size * friction_root.to(MATH) + friction_eps.to(MATH)
    q = tl.load(previous, mask=mask, other=0).to(PREVIOUS_MATH).to(MATH)
    damping = _damping(q, g, denominator, slope.to(MATH), shift.to(MATH), SIGNED, RELATIVE)
    friction_times = tl.load(hyper + 5).to(MATH) + tl.load(hyper + 6).to(MATH) * damping
    denominator = damping * (size * root.to(MATH) + eps.to(MATH))
    if DECOUPLED:
        p = p * (1 - lr * tl.load(hyper + 4)).to(MATH)
    p = p - step_size.to(MATH) * m * friction_times / denominator
    tl.store(params, p.to(TYPE), mask=mask)
    tl.store(previous, g.to(PREVIOUS_MATH).to(PREVIOUS_TYPE), mask=offsets < stored)
