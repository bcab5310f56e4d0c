"""Cases of torch's optimizer suite about the step itself: direction, implementations, types, errors."""

import gc
import inspect
import re
import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.lr_scheduler import ReduceLROnPlateau

from diffwright.bench.optim_case import Case, all_inputs

LOW_PRECISION = {torch.bfloat16: 5e-3, torch.float16: 5e-3}


def close(found: Any, expected: Any, tolerance: float | None = None) -> None:
    """Assert that two (lists of) tensors agree, at torch's tolerance for their type or at ``tolerance``."""
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance, check_device=False)


def line(device: str, *, strided: bool = False) -> tuple[Parameter, Parameter, Tensor]:
    """Return weight (10, 5), bias (10) and input (5), as slices of larger tensors if ``strided``."""
    weight, bias = torch.randn(10, 5, 2, device=device), torch.randn(10, 2, device=device)
    if not strided:
        return (
            Parameter(weight[..., 0].clone()),
            Parameter(bias[..., 0].clone()),
            torch.randn(5, device=device),
        )
    return Parameter(weight[..., 0]), Parameter(bias[..., 0]), torch.randn(5, device=device)


def loss_closure(optimizer: Any, weight: Tensor, bias: Tensor, inputs: Tensor) -> Callable[[], Tensor]:
    """Return a closure that evaluates |W x + b|² and its gradients."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (weight.mv(inputs) + bias.to(weight.device)).pow(2).sum()
        loss.backward()
        return loss

    return closure


def goes_right_direction(optimizer: Any, closure: Callable[[], Tensor], schedulers: list[Any]) -> None:
    """Assert that 20 steps lower the loss, or raise it if the first group maximizes."""
    first = closure().item()
    for _ in range(20):
        loss = optimizer.step(closure)
        for scheduler in schedulers:
            scheduler.step(loss) if isinstance(scheduler, ReduceLROnPlateau) else scheduler.step()
    last = closure().item()
    assert last > first if optimizer.param_groups[0]["maximize"] else last < first, (first, last)


def infos_do_not_specify_cliquey(info: Any, device: str) -> None:
    """The inputs leave the choice of implementation to the tests."""
    for each in info.optim_inputs_func(device=device):
        assert not {"foreach", "fused", "differentiable"} & {key for key, on in each.kwargs.items() if on}


def errors(info: Any, device: str) -> None:
    """Every input that torch expects to be refused is refused with torch's type and wording."""
    for case in info.optim_error_inputs_func(device=device, dtype=torch.float32):
        given = case.optimizer_error_input
        params = [torch.zeros(1)] if given.params is None else given.params
        message = refusal(
            lambda given=given, params=params: info.optim_cls(params, **given.kwargs), case.error_type
        )
        assert re.search(case.error_regex, message), (given.desc, message)


def refusal(call: Callable[[], Any], error_type: type[Exception]) -> str:
    """Return the message of the error or warning that a call gives, or an empty one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call()
        except error_type as error:
            return str(error)
    return ""


def forloop_direction(info: Any, device: str, *, second_device: str | None = None) -> None:
    """The for-loop lowers a loss, contiguous and strided, with and without schedulers."""
    for strided in (False, True):
        for schedulers in ([], *info.scheduler_inputs):
            for each in info.optim_inputs_func(device=device):
                weight, bias, inputs = line(device, strided=strided)
                if second_device is not None:
                    bias = Parameter(bias.detach().to(second_device))
                optimizer = info.optim_cls([weight, bias], **{**each.kwargs, "foreach": False})
                made = [make(optimizer) for make in schedulers]
                goes_right_direction(optimizer, loss_closure(optimizer, weight, bias, inputs), made)


def forloop_direction_multigpu(info: Any, device: str) -> None:
    """The same with parameters on two devices."""
    forloop_direction(info, "cuda:0", second_device="cuda:1")


def group_scheduler_direction(info: Any, device: str) -> None:
    """A scheduler drives two groups with learning rates of their own."""
    for schedulers in info.scheduler_inputs:
        weight, bias, inputs = line(device)
        optimizer = info.optim_cls([{"params": [weight]}, {"params": [bias], "lr": 0.01}])
        made = [make(optimizer) for make in schedulers]
        goes_right_direction(optimizer, loss_closure(optimizer, weight, bias, inputs), made)


def tensor_lr(info: Any, device: str) -> None:
    """A learning rate as a tensor gives the steps of the same float (here ``step`` is really called)."""
    for kwargs in all_inputs(info, device):
        weight, bias, inputs = line(device)
        copies = [Parameter(weight.detach().clone()), Parameter(bias.detach().clone())]
        optimizer = info.optim_cls([weight, bias], **{**kwargs, "lr": 1e-3})
        other = info.optim_cls(copies, **{**kwargs, "lr": torch.tensor(1e-3)})
        for _ in range(5):
            optimizer.step(loss_closure(optimizer, weight, bias, inputs))
            other.step(loss_closure(other, copies[0], copies[1], inputs))
            close(copies, [weight, bias])
        assert not torch.equal(weight, torch.zeros_like(weight))


def complex_params(info: Any, device: str) -> None:
    """Complex parameters step as their real and imaginary parts, beside real ones."""
    for kwargs in all_inputs(info, device, skip=("differentiable", "fused")):
        made = [torch.randn(10, 5, dtype=torch.complex64, device=device), torch.randn(10, 5, device=device)]
        both = [param.requires_grad_() for param in made]
        parts = [real_parts(param) for param in both]
        optimizers = [info.optim_cls(params, **kwargs) for params in (both, parts)]
        for _ in range(3):
            for param, part in zip(both, parts, strict=True):
                part.grad = torch.randn_like(part)
                param.grad = torch.view_as_complex(part.grad) if param.is_complex() else part.grad.clone()
            for optimizer in optimizers:
                optimizer.step()
            close([real_parts(param) for param in both], parts)


def complex_2d(info: Any, device: str) -> None:
    """A complex parameter follows two real ones on the Rosenbrock function.

    Frictions with statistics over the tensor are left out: they differ where a tensor is split.
    """
    for kwargs in all_inputs(info, device, skip=("differentiable", "fused")):
        if kwargs.get("friction") == "mean_std":
            continue
        whole = torch.randn(2, dtype=torch.complex64, device=device).requires_grad_()
        real, imag = (part.detach().clone().requires_grad_() for part in (whole.real, whole.imag))
        optimizers = [info.optim_cls([whole], **kwargs), info.optim_cls([real, imag], **kwargs)]
        for _ in range(3):
            for optimizer, point in zip(optimizers, (whole, torch.complex(real, imag)), strict=True):
                optimizer.zero_grad()
                x, y = point
                ((1 - x) ** 2 + 100 * (y - x**2) ** 2).abs().backward()
            assert whole.grad is not None
            close([whole.grad.real, whole.grad.imag], [real.grad, imag.grad])
            for optimizer in optimizers:
                optimizer.step()
            close([whole.real, whole.imag], [real, imag])
            with torch.no_grad():
                real.copy_(whole.real)
                imag.copy_(whole.imag)


def real_parts(param: Tensor) -> Tensor:
    """Return a leaf with the real pairs of a complex tensor, or a copy of a real one."""
    real = torch.view_as_real(param) if param.is_complex() else param
    return real.detach().clone().requires_grad_()


def compare(info: Any, devices: tuple[str, str], dtype: torch.dtype, changes: tuple[dict, dict]) -> None:
    """Train two equal models for 7 steps and compare parameters and all state after each.

    Gradients are missing in step 2, a layer is frozen in steps 3 and 4, and one parameter has no dimension.
    """
    tolerance = LOW_PRECISION.get(dtype)
    for each in info.optim_inputs_func(device=devices[0], dtype=dtype):
        runs = []
        for device, change in zip(devices, changes, strict=True):
            torch.manual_seed(1)
            layers = [torch.nn.Linear(2, 3), torch.nn.Sigmoid(), torch.nn.Linear(3, 1), torch.nn.Sigmoid()]
            model = torch.nn.Sequential(*layers).to(dtype=dtype, device=device)
            scalar = torch.ones((), dtype=dtype, device=device).requires_grad_()
            params = [*model.parameters(), scalar]
            runs.append((model, scalar, params, info.optim_cls(params, **{**each.kwargs, **change})))
        for step in range(7):
            for model, scalar, params, optimizer in runs:
                optimizer.zero_grad()
                model[2].requires_grad_(step not in (3, 4))
                if step != 2:
                    inputs = torch.arange(1, 7, device=params[0].device).reshape(3, 2) / 10
                    (model(inputs.to(dtype)).sum() * scalar).backward()
                optimizer.step()
            match_runs(runs, tolerance)


def match_runs(runs: list[Any], tolerance: float | None) -> None:
    """Assert that two runs agree in parameters and state, then level them so that errors cannot add up."""
    (_, _, first, one), (_, _, second, two) = runs
    for a, b in zip(first, second, strict=True):
        close(b.detach(), a.detach(), tolerance)
        with torch.no_grad():
            b.copy_(a)
        assert set(one.state[a]) == set(two.state[b])
        for key, value in one.state[a].items():
            close(two.state[b][key], value.to(two.state[b][key].dtype), tolerance)
            two.state[b][key].copy_(value)


def foreach_matches_forloop(info: Any, device: str) -> None:
    """Foreach equals the for-loop in float64, state included."""
    compare(info, (device, device), torch.float64, ({"foreach": False}, {"foreach": True}))


def fused_matches_forloop(info: Any, device: str) -> None:
    """Fused equals the for-loop in four types, state included."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        compare(info, (device, device), dtype, ({"fused": False}, {"fused": True}))


def fused_cpu_matches_cuda(info: Any, device: str) -> None:
    """The two fused kernels agree."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        compare(info, ("cpu", "cuda"), dtype, ({"fused": True}, {"fused": True}))


def mixed_device_dtype(info: Any, device: str) -> None:
    """One optimizer over four types on two devices."""
    types = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    for implementation in ("foreach", "fused"):
        for each in info.optim_inputs_func(device="cuda"):
            made = [torch.rand(2, 3, dtype=dtype, device=f"cuda:{i}") for i in (0, 1) for dtype in types]
            grads, paths = [torch.rand_like(param) for param in made], []
            for on in (False, True):
                params = [param.clone().requires_grad_() for param in made]
                for param, grad in zip(params, grads, strict=True):
                    param.grad = grad.clone()
                optimizer = info.optim_cls(params, **{**each.kwargs, implementation: on})
                optimizer.step()
                paths.append([param.detach() for param in params])
            for a, b in zip(*paths, strict=True):
                close(b, a, 5e-3 if a.dtype in LOW_PRECISION else 1e-5)


def default_dtype_with_foreach(info: Any, device: str) -> None:
    """The default type of torch decides the type of the step count only where it is float64."""
    before = torch.get_default_dtype()
    for dtype in (torch.float64, torch.float16):
        try:
            torch.set_default_dtype(dtype)
            compare(info, (device, device), torch.float64, ({"foreach": False}, {"foreach": True}))
            param = torch.ones(2, dtype=torch.float64, device=device).requires_grad_()
            optimizer = info.optim_cls([param], foreach=True)
            param.grad = torch.ones_like(param)
            optimizer.step()
            expected = torch.float64 if dtype == torch.float64 else torch.float32
            assert optimizer.state[param]["step"].dtype == expected
        finally:
            torch.set_default_dtype(before)


def peak_memory_foreach(info: Any, device: str) -> None:
    """Foreach needs at most one intermediate more than the for-loop, three if capturable."""
    for each in info.optim_inputs_func(device=device):
        peaks = []
        for foreach in (False, True):
            params = [torch.rand(16, 8, device=device) for _ in range(10)]
            optimizer = info.optim_cls(params, **{**deepcopy(each.kwargs), "foreach": foreach})
            for param in params:
                param.grad = torch.rand_like(param)
            optimizer.step()
            gc.collect()
            torch.cuda.reset_peak_memory_stats()
            optimizer.step()
            peaks.append(torch.cuda.max_memory_allocated())
        allowed = 3 if each.kwargs.get("capturable") else 1
        assert peaks[1] <= peaks[0] + allowed * 10 * 512, (each.kwargs, peaks)


def large_tensor(implementation: str) -> Callable[[Any, str], None]:
    """Return the case of one parameter with 2^32 elements."""

    def run(info: Any, device: str) -> None:
        for each in info.optim_inputs_func(device=device):
            param = torch.ones(2**32, device=device, dtype=torch.float16)
            param.grad = torch.zeros_like(param)
            info.optim_cls([param], **{**each.kwargs, implementation: True}).step()

    return run


def fused_error_on_meta(info: Any, device: str) -> None:
    """Fused refuses parameters without data, and works once they have data."""
    with torch.device("meta"):
        model = torch.nn.Linear(2, 3)
    optimizer = info.optim_cls(model.parameters(), fused=True)
    for param in model.parameters():
        param.grad = torch.rand_like(param)
    message = refusal(optimizer.step, RuntimeError)
    assert "`fused=True` requires all the params to be floating point Tensors" in message
    optimizer.zero_grad(set_to_none=True)
    model.to_empty(device=device)
    for param in model.parameters():
        param.grad = torch.rand_like(param)
    optimizer.step()


def fused_foundinf(info: Any, device: str) -> None:
    """A step with found_inf changes neither parameters nor state."""
    for each in info.optim_inputs_func(device=device):
        for scale in (None, torch.ones(1, device=device)):
            params = [torch.ones(1, device=device) for _ in range(5)]
            for param in params:
                param.grad = torch.ones_like(param)
            optimizer = info.optim_cls(params, **{**each.kwargs, "fused": True})
            optimizer.grad_scale, optimizer.found_inf = scale, torch.ones((), device=device)
            optimizer.step()
            close(params, [torch.ones_like(param) for param in params])
            for state in optimizer.state.values():
                assert all(not value.any() for value in state.values())


def group_option(name: str, value: float) -> Callable[[Any, str], None]:
    """Return the case of an option that differs between two groups."""

    def run(info: Any, device: str) -> None:
        for kwargs in all_inputs(info, device):
            weight, bias, inputs = line(device)
            idle = Parameter(torch.randn(2, device=device))
            before = idle.detach().clone()
            groups = [{"params": [weight, bias], **{"lr": 1e-3, **kwargs}}, {"params": [idle], name: value}]
            optimizer = info.optim_cls(groups)
            closure = loss_closure(optimizer, weight, bias, inputs)

            def with_idle(closure: Callable[[], Tensor] = closure, idle: Parameter = idle) -> Tensor:
                loss = closure()
                idle.grad = torch.zeros_like(idle) if name == "weight_decay" else torch.rand_like(idle)
                return loss

            goes_right_direction(optimizer, with_idle, [])
            close(idle.detach(), before)

    return run


def noop_without_grad(info: Any, device: str) -> None:
    """Parameters without gradients stay, and the closure still runs."""
    for kwargs in all_inputs(info, device, skip=()):
        params = [torch.randn(2, 3, device=device) for _ in range(2)]
        before = [param.clone() for param in params]
        assert info.optim_cls(params, **kwargs).step(lambda: torch.ones(1)) == 1
        close(params, before)


def noop_zero_grads(info: Any, device: str) -> None:
    """Zero gradients move nothing without decay."""
    for kwargs in all_inputs(info, device, skip=()):
        if kwargs.get("weight_decay"):
            continue
        kwargs = {**kwargs, "lr": 1e-5} if info.name == "DiffGradW" else kwargs
        param = torch.randn(5, 1, device=device).requires_grad_()
        param = param.clone() if kwargs.get("differentiable") else param
        before = param.detach().clone()
        optimizer = info.optim_cls([param], **kwargs)
        param.grad = torch.zeros_like(param)
        optimizer.step()
        close(param.detach(), before)


def changed_to_foreach(info: Any, device: str) -> None:
    """On CUDA the default is foreach."""
    model = torch.nn.Linear(5, 5, device=device)
    for each in info.optim_inputs_func(device=device):
        optimizer = info.optim_cls(model.parameters(), **each.kwargs)
        optimizer.zero_grad()
        model(torch.rand(2, 5, device=device)).sum().backward()
        with patch.object(inspect.getmodule(info.optim_cls), "_multi_tensor_diffgrad") as called:
            optimizer.step()
        assert called.called


STEP_CASES = [
    Case("test_optim_infos_do_not_specify_global_cliquey_kwargs", infos_do_not_specify_cliquey),
    Case("test_errors", errors),
    Case("test_forloop_goes_right_direction", forloop_direction),
    Case("test_forloop_goes_right_direction_multigpu", forloop_direction_multigpu, needs="two cuda devices"),
    Case("test_param_group_with_lrscheduler_goes_right_direction", group_scheduler_direction),
    Case("test_tensor_lr", tensor_lr),
    Case("test_rosenbrock_sparse", None, reason="sparse gradients are refused, as by Adam"),
    Case("test_complex", complex_params),
    Case("test_complex_2d", complex_2d),
    Case("test_foreach_matches_forloop", foreach_matches_forloop),
    Case("test_mixed_device_dtype", mixed_device_dtype, needs="two cuda devices"),
    Case("test_set_default_dtype_works_with_foreach", default_dtype_with_foreach),
    Case("test_foreach_large_tensor", large_tensor("foreach"), needs="72 GB on cuda"),
    Case("test_peak_memory_foreach", peak_memory_foreach, needs="cuda"),
    Case("test_fused_matches_forloop", fused_matches_forloop),
    Case("test_fused_error_on_params_on_meta", fused_error_on_meta),
    Case("test_fused_large_tensor", large_tensor("fused"), needs="64 GB"),
    Case("test_fused_does_not_step_if_foundinf", fused_foundinf),
    Case("test_param_groups_weight_decay", group_option("weight_decay", 0.0)),
    Case("test_param_groups_lr", group_option("lr", 1e-28)),
    Case("test_step_is_noop_when_params_have_no_grad", noop_without_grad),
    Case("test_step_is_noop_for_zero_grads", noop_zero_grads),
    Case(
        "test_second_order_optims_return_consistent_types",
        None,
        reason="for optimizers whose step requires a closure",
    ),
    Case("test_fused_cpu_matches_cuda", fused_cpu_matches_cuda, needs="cuda"),
    Case("test_defaults_changed_to_foreach", changed_to_foreach, needs="cuda"),
]
