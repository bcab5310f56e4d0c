"""The optimizers: :class:`DiffGrad` (coupled decay, as in the paper) and :class:`DiffGradW` (decoupled)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import (
    Optimizer,
    ParamsT,
    _default_to_fused_or_foreach,
    _device_dtype_check_for_fused,
    _get_capturable_supported_devices,
    _get_scalar_dtype,
    _to_scalar,
    _use_grad_for_differentiable,
)

from diffwright.optim.foreach import multi_tensor_diffgrad as _multi_tensor_diffgrad
from diffwright.optim.fused import fused_diffgrad as _fused_diffgrad
from diffwright.optim.loop import Slots
from diffwright.optim.loop import single_tensor_diffgrad as _single_tensor_diffgrad
from diffwright.optim.options import OLDER_GROUPS, check_options, resolve_friction
from diffwright.optim.rule import FrictionFunction, Rule
from diffwright.optim.sharing import owns_gradient


class DiffGrad(Optimizer):
    r"""Adam whose step is damped where the gradient hardly changes: θ ← θ - α ξ m̂ / (√v̂ + ε), ξ = σ(\|Δg\|).

    The friction ξ lies in [0.5, 1): where gradients are small, as on most networks, it is 0.5 nearly
    everywhere and the optimizer is close to Adam at half the learning rate; ``diffwright.optim.diagnostics``
    shows it.

    ``p.grad`` is never written. A parameter without a gradient keeps its whole state, so its next Δg spans
    the gap. With ``maximize`` or coupled decay the stored previous gradient is the one the rule used. Complex
    parameters are stepped as pairs of real numbers. Sparse gradients are refused.

    Args:
        params: Parameters, named parameters, or parameter groups.
        lr: Step size α >= 0, a float or a tensor with one element.
        betas: Decay of the means of g and g², each in [0, 1); two floats or two tensors.
        eps: ε >= 0, added to the denominator.
        weight_decay: λ >= 0; added to the gradient as λ θ, or applied to the weights if decoupled.
        decoupled_weight_decay: Shrink the weights by 1 - α λ instead (as AdamW).
        amsgrad: Divide by the largest v so far.
        friction: ``abs`` (the paper's), its ablations ``signed``, ``wide``, ``mean_std``, ``mean_variance``,
            ``mean_root_std`` (also ``dfc1`` to ``dfc5``), ``scale_free`` (ours: Δg relative to √v̂ + ε), or a
            function (previous gradient, gradient) -> ξ. A function is kept out of checkpoints: pass it again.
        eps_mode: ``paper`` (as torch's Adam) or ``reference`` (as the authors' code: √v + ε, then corrected).
        rectify: Scale the step by RAdam's variance rectification; the friction stays.
        prev_grad_dtype: ``torch.bfloat16`` stores the previous gradient in half the memory; None in full.
        share_grad: Keep the gradient tensor itself as previous gradient where the optimizer can prove to be
            its only owner, and set ``p.grad`` to None then; it copies wherever it cannot.
        maximize: Ascend.
        foreach: Use torch's foreach operations; None chooses as torch does (on accelerators).
        fused: Use one kernel: C++ on the CPU (built on first use), Triton on CUDA. None means no.
        capturable: Keep step counts on the device, for CUDA graphs.
        differentiable: Let autograd run through ``step``.

    Raises:
        ValueError: An option is out of range.
        RuntimeError: Options exclude each other, or a fused kernel cannot be had (the reason is given).

    Reference:
        Dubey et al., "diffGrad: An Optimization Method for Convolutional Neural Networks", IEEE TNNLS 2020.

    Example:
        >>> layer = torch.nn.Linear(4, 1)
        >>> optimizer = DiffGrad(layer.parameters(), lr=1e-2)
        >>> layer(torch.ones(2, 4)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = False,
        amsgrad: bool = False,
        friction: str | FrictionFunction = "abs",
        eps_mode: str = "paper",
        rectify: bool = False,
        prev_grad_dtype: torch.dtype | None = None,
        share_grad: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        self._friction_function = friction if callable(friction) else None
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "amsgrad": amsgrad,
            "friction": "custom" if callable(friction) else friction,
            "eps_mode": eps_mode,
            "rectify": rectify,
            "prev_grad_dtype": prev_grad_dtype,
            "share_grad": share_grad,
            "maximize": maximize,
            "foreach": foreach,
            "fused": fused,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        check_options(defaults, self._friction_function)
        defaults["betas"] = tuple(_to_scalar(beta) for beta in betas)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, its options checked as those of the constructor are.

        Args:
            param_group: ``params``, and options that differ from the optimizer's own.

        Raises:
            ValueError: An option is out of range.
            RuntimeError: Two options exclude each other.
        """
        group = {**self.defaults, **param_group}
        if callable(group["friction"]):
            raise ValueError(
                "A friction function holds for the whole optimizer; pass it to the constructor, or make another"
                " optimizer for this group."
            )
        check_options(group, self._friction_function)
        super().add_param_group(param_group)

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Whether ``GradScaler`` may hand the scale and found_inf to ``step`` instead of unscaling itself."""
        return all(group["fused"] for group in self.param_groups)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_friction_function": self._friction_function}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for key, value in OLDER_GROUPS.items():
                group.setdefault(key, value)
            for param in group["params"]:
                if self.state.get(param):
                    _restore_types(self.state[param], param, group)

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Perform one step.

        Args:
            closure: Evaluates the model again and returns the loss.

        Returns:
            What the closure returned, or None.

        Raises:
            RuntimeError: A gradient is sparse, or a parameter does not suit ``fused`` or ``capturable``.
        """
        check = getattr(self, "_accelerator_graph_capture_health_check", None)
        (check or self._cuda_graph_capture_health_check)()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            slots = Slots()
            self._init_group(group, slots)
            if slots.params:
                self._update(group, slots)
        return loss

    def _init_group(self, group: dict[str, Any], slots: Slots) -> None:
        for param in group["params"]:
            if param.grad is None:
                continue
            slots.taken.append(bool(group["share_grad"]) and self._may_take(param, group))
            grad = param.grad
            if grad.is_sparse:
                raise RuntimeError(
                    f"{type(self).__name__} does not support sparse gradients, and one of shape"
                    f" {tuple(grad.shape)} is; use torch.optim.SparseAdam for such parameters."
                )
            state = self.state[param]
            if not state:
                _new_state(state, param, group)
            slots.params.append(param)
            slots.grads.append(grad)
            slots.steps.append(state["step"])
            slots.exp_avgs.append(state["exp_avg"])
            slots.exp_avg_sqs.append(state["exp_avg_sq"])
            slots.previous_grads.append(state["previous_grad"])
            if group["amsgrad"]:
                slots.max_exp_avg_sqs.append(state["max_exp_avg_sq"])

    def _update(self, group: dict[str, Any], slots: Slots) -> None:
        if group["capturable"] and not torch.compiler.is_compiling():
            _check_capturable(slots)
        foreach, fused = _implementation(group, slots)
        rule = self._rule(group)
        if fused:
            scale, found_inf = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
            _fused_diffgrad(slots, rule, grad_scale=scale, found_inf=found_inf)
        elif foreach:
            _multi_tensor_diffgrad(slots, rule)
        else:
            _single_tensor_diffgrad(slots, rule)
        for param, grad, taken in zip(slots.params, slots.grads, slots.taken, strict=True):
            if taken:
                self.state[param]["previous_grad"] = grad
                param.grad = None

    def _may_take(self, param: Tensor, group: dict[str, Any]) -> bool:
        """Tell whether the gradient may become the stored one: used as it is, and out of others' reach."""
        changed = group["maximize"] or (group["weight_decay"] != 0 and not group["decoupled_weight_decay"])
        scaled = getattr(self, "grad_scale", None) is not None or getattr(self, "found_inf", None) is not None
        converted = group["prev_grad_dtype"] not in (None, param.dtype)
        captured = group["capturable"] or group["differentiable"] or torch.compiler.is_compiling()
        return not (changed or scaled or converted or captured) and owns_gradient(param)

    def _rule(self, group: dict[str, Any]) -> Rule:
        beta1, beta2 = group["betas"]
        return Rule(
            lr=_to_scalar(group["lr"]),
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            decoupled=group["decoupled_weight_decay"],
            amsgrad=group["amsgrad"],
            friction=resolve_friction(group["friction"], self._friction_function),
            reference_eps=group["eps_mode"] == "reference",
            rectify=group["rectify"],
            maximize=group["maximize"],
            capturable=group["capturable"],
            differentiable=group["differentiable"],
        )


class DiffGradW(DiffGrad):
    """:class:`DiffGrad` with decoupled weight decay: a drop-in for ``torch.optim.AdamW``.

    Args:
        params: As for :class:`DiffGrad`.
        lr: As for :class:`DiffGrad`.
        betas: As for :class:`DiffGrad`.
        eps: As for :class:`DiffGrad`.
        weight_decay: λ >= 0; the weights shrink by 1 - α λ each step.
        **options: The keyword options of :class:`DiffGrad`, except ``decoupled_weight_decay``.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        **options: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, decoupled_weight_decay=True, **options)


def _new_state(state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
    on_device = group["capturable"] or group["fused"]
    if group["fused"]:
        _device_dtype_check_for_fused(param)
    dtype = _get_scalar_dtype(is_fused=on_device)
    state["step"] = torch.zeros((), dtype=dtype, device=param.device if on_device else "cpu")
    for key in ("exp_avg", "exp_avg_sq", "previous_grad", *(("max_exp_avg_sq",) if group["amsgrad"] else ())):
        state[key] = torch.zeros_like(param, memory_format=torch.preserve_format)
    state["previous_grad"] = _as_previous(state["previous_grad"], param, group)


def _as_previous(previous: Tensor, param: Tensor, group: dict[str, Any]) -> Tensor:
    """Convert a previous gradient to the stored type; low precision stores complex numbers as real pairs."""
    dtype = group["prev_grad_dtype"] or param.dtype
    if previous.is_complex() and not dtype.is_complex:
        previous = torch.view_as_real(previous)
    elif dtype.is_complex and not previous.is_complex():
        return torch.view_as_complex(previous.to(dtype.to_real()).contiguous())
    return previous.to(dtype)


def _restore_types(state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
    """Undo what ``load_state_dict`` and old checkpoints do to the types of step and previous gradient."""
    on_device = group["capturable"] or group["fused"]
    if not torch.is_tensor(state["step"]):
        dtype = _get_scalar_dtype(is_fused=on_device)
        state["step"] = torch.tensor(
            float(state["step"]), dtype=dtype, device=param.device if on_device else "cpu"
        )
    if "previous_grad" in state:
        state["previous_grad"] = _as_previous(state["previous_grad"], param, group)
    if group["amsgrad"] and "max_exp_avg_sq" not in state:
        state["max_exp_avg_sq"] = state["exp_avg_sq"].clone()


def _implementation(group: dict[str, Any], slots: Slots) -> tuple[bool, bool]:
    """Return (foreach, fused), filling in None as torch's Adam does."""
    foreach, fused = group["foreach"], group["fused"]
    if foreach is None and fused is None:
        _, foreach = _default_to_fused_or_foreach(slots.params, group["differentiable"], use_fused=False)
        if foreach and isinstance(group["lr"], Tensor) and not group["capturable"]:
            foreach = False
    return bool(foreach), bool(fused)


def _check_capturable(slots: Slots) -> None:
    supported = _get_capturable_supported_devices()
    for param, step in zip(slots.params, slots.steps, strict=True):
        if param.device.type not in supported or step.device.type != param.device.type:
            raise RuntimeError(
                f"capturable=True needs parameters and step counts on one of {supported}, but a parameter"
                f" is on {param.device} and its step count on {step.device}; move them, or leave it False."
            )
