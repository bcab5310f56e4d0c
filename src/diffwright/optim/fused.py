"""The fused implementation: one kernel a type, in C++ on the CPU and in Triton on CUDA."""

import ctypes

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from diffwright.optim.loop import Slots, gradient_of, single_tensor_diffgrad
from diffwright.optim.native import KernelRule, load_kernel
from diffwright.optim.rule import Friction, Rule, slope_and_shift

COLUMNS = 11


@torch._disable_dynamo
def fused_diffgrad(
    slots: Slots, rule: Rule, *, grad_scale: Tensor | None = None, found_inf: Tensor | None = None
) -> None:
    """Step every parameter by the diffGrad rule with one kernel for each device and type.

    Tensors whose elements do not lie densely in one order (slices, say) are stepped by the for-loop.

    Args:
        slots: Parameters, gradients and state; all but the gradients are updated in place.
        rule: Options of the group.
        grad_scale: Scale of a ``GradScaler``; the kernel divides by it and leaves the gradients scaled.
        found_inf: Non-zero if the scaler found an infinity; then nothing changes.

    Raises:
        RuntimeError: A device has no kernel, or the kernel cannot be had.
    """
    by_device: dict[torch.device, list[int]] = {}
    for i, param in enumerate(slots.params):
        if is_traceable_wrapper_subclass(param):
            raise RuntimeError(
                f"fused=True needs plain tensors, but a parameter is a {type(param).__name__}; use"
                " fused=False."
            )
        by_device.setdefault(param.device, []).append(i)
    for device, indices in by_device.items():
        chosen = slots if len(by_device) == 1 else slots.select(indices)
        if device.type == "cpu":
            _cpu(chosen, rule, grad_scale, found_inf)
        elif device.type == "cuda":
            with torch.cuda.device(device):
                triton_diffgrad(chosen, rule, _moved(grad_scale, device), _moved(found_inf, device))
        else:
            raise RuntimeError(
                f"fused=True has kernels for the CPU and for CUDA, but a parameter is on {device}; use"
                " fused=False there."
            )


def triton_diffgrad(slots: Slots, rule: Rule, grad_scale: Tensor | None, found_inf: Tensor | None) -> None:
    """Step parameters of one device with the Triton kernel.

    Args:
        slots: Parameters, gradients and state.
        rule: Options of the group.
        grad_scale: Scale of the gradients, on the device.
        found_inf: Non-zero if nothing must change, on the device.

    Raises:
        RuntimeError: Triton is not installed, or a parameter is not dense.
    """
    try:
        from diffwright.optim.triton_kernel import cuda_step
    except ImportError as error:
        raise RuntimeError(
            f"fused=True on CUDA needs Triton, which cannot be imported ({error}); install it (pip install"
            " triton) or use foreach=True."
        ) from error
    flat, others = split_dense(slots)
    if others:
        raise RuntimeError(
            f"fused=True on CUDA needs parameters that lie densely in memory, and one of shape"
            f" {tuple(slots.params[others[0]].shape)} does not; use foreach=True."
        )
    for indices in flat.values():
        cuda_step(slots, indices, rule, grad_scale=grad_scale, found_inf=found_inf)
        torch.autograd.graph.increment_version([slots.params[i] for i in indices])


def _moved(scalar: Tensor | None, device: torch.device) -> Tensor | None:
    return None if scalar is None else scalar.to(device, non_blocking=True)


def split_dense(slots: Slots) -> tuple[dict[tuple[torch.dtype, torch.dtype], list[int]], list[int]]:
    """Sort parameters into those a kernel can read as flat memory and the others.

    Args:
        slots: Parameters, gradients and state; a gradient in another layout than its dense parameter is
            replaced by a copy in that layout.

    Returns:
        Indices by (type of the parameter, type of its previous gradient), and the remaining indices.
    """
    flat: dict[tuple[torch.dtype, torch.dtype], list[int]] = {}
    others = []
    lists = [slots.exp_avgs, slots.exp_avg_sqs, slots.previous_grads]
    lists += [slots.max_exp_avg_sqs] if slots.max_exp_avg_sqs else []
    for i, (param, grad, *state) in enumerate(zip(slots.params, slots.grads, *lists, strict=True)):
        plain = param.is_contiguous() and all(tensor.is_contiguous() for tensor in state)
        if grad.dtype != param.dtype or not (plain or _same_dense_layout(param, state)):
            others.append(i)
            continue
        if not (grad.is_contiguous() if plain else grad.stride() == param.stride()):
            slots.grads[i] = torch.empty_like(param).copy_(grad)
        flat.setdefault((param.dtype, state[2].dtype), []).append(i)
    return flat, others


def _same_dense_layout(param: Tensor, state: list[Tensor]) -> bool:
    """Tell whether the tensors share strides and leave no gap in memory."""
    expected = 1
    for stride, size in sorted(zip(param.stride(), param.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return all(tensor.stride() == param.stride() for tensor in state)


def _cpu(slots: Slots, rule: Rule, grad_scale: Tensor | None, found_inf: Tensor | None) -> None:
    if found_inf is not None and found_inf.item() != 0:
        return
    factor = 1.0 if grad_scale is None else 1.0 / grad_scale.item()
    flat, others = split_dense(slots)
    for step in slots.steps:
        if step.dtype != torch.float32:  # counted before fused was switched on
            step.data = step.data.float()
    for (dtype, previous_dtype), indices in flat.items():
        _launch(slots, indices, rule, factor, (dtype, previous_dtype))
    if others:
        rest = slots.select(others)
        if factor != 1.0:
            rest.grads = [grad * factor for grad in rest.grads]
        single_tensor_diffgrad(rest, rule)


def _launch(
    slots: Slots, indices: list[int], rule: Rule, factor: float, types: tuple[torch.dtype, torch.dtype]
) -> None:
    friction = rule.friction
    assert isinstance(friction, Friction)
    table = _table(slots, indices)
    scalars = table.view(np.float64)
    scalars[:, 8], scalars[:, 9] = friction.slope, 0.0
    if friction.std_power is not None:
        for row, i in enumerate(indices):
            grad = slots.grads[i] if factor == 1.0 else slots.grads[i] * factor
            slope, shift = slope_and_shift(friction, gradient_of(slots.params[i], grad, rule))
            scalars[row, 8], scalars[row, 9] = float(slope), float(shift)
    kernel_rule = KernelRule(
        lr=float(rule.lr),
        beta1=float(rule.beta1),
        beta2=float(rule.beta2),
        eps=rule.eps,
        weight_decay=rule.weight_decay,
        grad_factor=-factor if rule.maximize else factor,
        gain=friction.gain,
        offset=friction.offset,
        decoupled=rule.decoupled,
        amsgrad=rule.amsgrad,
        reference_eps=rule.reference_eps,
        rectify=rule.rectify,
        is_signed=friction.signed,
        relative=friction.relative,
    )
    step = load_kernel(*types)
    step(len(indices), table.ctypes.data, ctypes.byref(kernel_rule), torch.get_num_threads())
    torch.autograd.graph.increment_version([slots.params[i] for i in indices])


def _table(slots: Slots, indices: list[int]) -> np.ndarray:
    """Return the rows of ``DiffgradTensor``: 8-byte fields in the order of the C struct."""
    columns = [slots.params, slots.exp_avgs, slots.exp_avg_sqs, slots.previous_grads]
    table = np.zeros((len(indices), COLUMNS), np.int64)
    table[:, 0] = [slots.params[i].numel() for i in indices]
    for number, column in enumerate(columns, start=1):
        table[:, number] = [column[i].data_ptr() for i in indices]
    if slots.max_exp_avg_sqs:
        table[:, 5] = [slots.max_exp_avg_sqs[i].data_ptr() for i in indices]
    table[:, 6] = [slots.grads[i].data_ptr() for i in indices]
    table[:, 7] = [slots.steps[i].data_ptr() for i in indices]
    table[:, 10] = [slots.taken[i] for i in indices]
    return table
