"""Cases of torch's optimizer suite about state dictionaries, hooks, copies and printing."""

import io
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from diffwright.bench.optim_case import Case, all_inputs
from diffwright.bench.optim_cases_step import close, line, loss_closure


def plain(value: Any) -> Any:
    """Return nested state with every tensor as (type, list), so that == compares it, without names."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.tolist()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key != "param_names"}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def named(params: list[Parameter], on: bool) -> list[Any]:
    """Return parameters, with names if ``on``."""
    return [(f"name{i}", param) for i, param in enumerate(params)] if on else params


def stepped(info: Any, kwargs: dict[str, Any], *, with_names: bool = False, steps: int = 3) -> Any:
    """Return an optimizer over two parameters after some steps."""
    params = [Parameter(torch.randn(2, 3)) for _ in range(2)]
    optimizer = info.optim_cls(named(params, with_names), **kwargs)
    for _ in range(steps):
        for param in params:
            param.grad = torch.rand_like(param)
        optimizer.step()
    return optimizer


def every_input(check: Callable[[Any, dict[str, Any]], None], *, differentiable: bool = False) -> Any:
    """Return a case that runs ``check(info, kwargs)`` for every input and implementation."""

    def run(info: Any, device: str) -> None:
        for kwargs in all_inputs(info, device, skip=() if differentiable else ("differentiable",)):
            check(info, kwargs)

    return run


def printable(info: Any, kwargs: dict[str, Any]) -> None:
    """The optimizer has a representation with its name and options."""
    text = repr(info.optim_cls([Parameter(torch.ones(2))], **kwargs))
    assert text.startswith(info.name)
    assert "friction" in text


def deterministic(info: Any, kwargs: dict[str, Any]) -> None:
    """A loaded copy takes the same steps and gives the same state dictionary, named or not."""
    for first_named in (False, True):
        for second_named in (False, True):
            weight, bias, inputs = line("cpu")
            optimizer = info.optim_cls(named([weight, bias], first_named), **kwargs)
            for _ in range(10):
                optimizer.step(loss_closure(optimizer, weight, bias, inputs))
            copies = [Parameter(weight.detach().clone()), Parameter(bias.detach().clone())]
            other = info.optim_cls(named(copies, second_named), **kwargs)
            other.load_state_dict(deepcopy(optimizer.state_dict()))
            for _ in range(10):
                optimizer.step(loss_closure(optimizer, weight, bias, inputs))
                other.step(loss_closure(other, copies[0], copies[1], inputs))
                close(copies, [weight, bias])
            assert plain(optimizer.state_dict()) == plain(other.state_dict())
            other.param_groups.extend(other.param_groups)
            groups = [each.state_dict()["param_groups"][-1] for each in (optimizer, other)]
            assert plain(groups[0]) == plain(groups[1])


def older_state_dict(info: Any, kwargs: dict[str, Any]) -> None:
    """A checkpoint that lacks the newer options loads and steps."""
    optimizer = stepped(info, kwargs)
    state = deepcopy(optimizer.state_dict())
    for group in state["param_groups"]:
        for flag in info.not_og_supported_flags:
            group.pop(flag, None)
    optimizer.load_state_dict(state)
    optimizer.step()


def from_to_named(info: Any, kwargs: dict[str, Any]) -> None:
    """Checkpoints pass between named and unnamed optimizers; a name known on one side is kept."""
    for first_named in (False, True):
        for second_named in (False, True):
            first = stepped(info, kwargs, with_names=first_named)
            second = stepped(info, kwargs, with_names=second_named)
            second.load_state_dict(deepcopy(first.state_dict()))
            second.step()
            if first_named or second_named:
                assert second.state_dict()["param_groups"][0]["param_names"] == ["name0", "name1"]


def weights_only(info: Any, kwargs: dict[str, Any]) -> None:
    """A checkpoint survives saving, and loads with ``weights_only=True``."""
    for with_names in (False, True):
        state = stepped(info, kwargs, with_names=with_names).state_dict()
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        assert plain(torch.load(file, weights_only=True)) == plain(state)


def nontensor_step(info: Any, kwargs: dict[str, Any]) -> None:
    """A checkpoint with a step count that is no tensor loads and steps."""
    optimizer = stepped(info, kwargs)
    state = deepcopy(optimizer.state_dict())
    for each in state["state"].values():
        each["step"] = each["step"].item()
    optimizer.load_state_dict(state)
    optimizer.step()


def to_cuda(info: Any, device: str) -> None:
    """A CPU checkpoint loads onto CUDA and gives the same steps."""
    for kwargs in all_inputs(info, "cpu"):
        optimizer = stepped(info, kwargs)
        params = optimizer.param_groups[0]["params"]
        moved = [Parameter(param.detach().to("cuda")) for param in params]
        other = info.optim_cls(moved, **kwargs)
        other.load_state_dict(deepcopy(optimizer.state_dict()))
        for state in other.state.values():
            assert state["step"].is_cuda == bool(kwargs.get("fused") or kwargs.get("capturable"))
        for _ in range(5):
            for param, twin in zip(params, moved, strict=True):
                param.grad = torch.rand_like(param)
                twin.grad = param.grad.to("cuda")
            optimizer.step()
            other.step()
            close(moved, params)


def cpu_state_to_device(info: Any, device: str) -> None:
    """A CPU checkpoint whose flags say fused or capturable loads onto CUDA."""
    for flag in ("fused", "capturable"):
        for each in info.optim_inputs_func(device="cpu"):
            optimizer = stepped(info, each.kwargs)
            state = deepcopy(optimizer.state_dict())
            state["param_groups"][0][flag] = True
            moved = [Parameter(param.detach().to(device)) for param in optimizer.param_groups[0]["params"]]
            other = info.optim_cls(moved, **{**each.kwargs, flag: True})
            other.load_state_dict(state)
            for param in moved:
                param.grad = torch.rand_like(param)
            other.step()


def state_dict_hooks(*, before: bool, after: bool) -> Callable[[Any, dict[str, Any]], None]:
    """Return the case of hooks around ``state_dict``."""

    def check(info: Any, kwargs: dict[str, Any]) -> None:
        optimizer = info.optim_cls([Parameter(torch.ones(2))], **kwargs)
        if before:
            optimizer.register_state_dict_pre_hook(lambda watched: watched.state.update(test=1))
        if after:
            optimizer.register_state_dict_post_hook(
                lambda watched, made: {**made, "seen": made["state"].pop("test", 0)}
            )
        state = optimizer.state_dict()
        assert state.get("seen", None) == (int(before) if after else None)
        assert ("test" in state["state"]) == (before and not after)

    return check


def load_pre_hook_and_prepend(info: Any, kwargs: dict[str, Any]) -> None:
    """Hooks before loading may change the dictionary; one put first is overruled by the later."""
    optimizer = info.optim_cls([Parameter(torch.ones(2))], **kwargs)
    state = optimizer.state_dict()

    def in_place(watched: Any, given: dict[str, Any]) -> None:
        given["param_groups"][0]["lr"] = 0.002

    optimizer.register_load_state_dict_pre_hook(in_place)
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.002
    optimizer.register_load_state_dict_pre_hook(_with_lr_003, prepend=True)
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.002


def load_hooks(*, before: bool) -> Callable[[Any, dict[str, Any]], None]:
    """Return the case of a hook after loading, with or without one before."""

    def check(info: Any, kwargs: dict[str, Any]) -> None:
        optimizer = info.optim_cls([Parameter(torch.ones(2))], **kwargs)
        seen = []
        if before:
            optimizer.register_load_state_dict_pre_hook(_with_lr_003)
        optimizer.register_load_state_dict_post_hook(
            lambda watched: seen.append(watched.param_groups[0]["lr"] == 0.003)
        )
        optimizer.load_state_dict(optimizer.state_dict())
        assert seen == [before]

    return check


def _with_lr_003(watched: Any, given: dict[str, Any]) -> dict[str, Any]:
    changed = deepcopy(given)
    changed["param_groups"][0]["lr"] = 0.003
    return changed


def step_hook(kind: str) -> Callable[[Any, dict[str, Any]], None]:
    """Return the case of a hook before or after ``step`` and its removal."""

    def check(info: Any, kwargs: dict[str, Any]) -> None:
        optimizer, calls = info.optim_cls([Parameter(torch.ones(2))], **kwargs), []
        handle = getattr(optimizer, f"register_step_{kind}_hook")(lambda *given: calls.append(1))
        optimizer.step()
        optimizer.step()
        handle.remove()
        optimizer.step()
        assert len(calls) == 2

    return check


def all_hooks(info: Any, kwargs: dict[str, Any]) -> None:
    """Global and local hooks run in torch's order, on every optimizer, until removed."""
    params, calls = [Parameter(torch.ones(2))], []
    optimizers = [info.optim_cls(params, **kwargs), torch.optim.SGD(params)]

    def note(what: int) -> Callable[..., None]:
        return lambda *given: calls.append(what)

    handles = [register_optimizer_step_pre_hook(note(0)), register_optimizer_step_post_hook(note(5))]
    for optimizer in optimizers:
        handles += [optimizer.register_step_pre_hook(note(1)), optimizer.register_step_post_hook(note(2))]
    for optimizer in (*optimizers, optimizers[0]):
        optimizer.step()
    for handle in handles:
        handle.remove()
    optimizers[0].step()
    assert calls == [0, 1, 2, 5] * 3


def deepcopies(info: Any, kwargs: dict[str, Any]) -> None:
    """A deep copy has every public attribute."""
    optimizer = stepped(info, kwargs)
    public = [
        {name for name in vars(each) if not name.startswith("_")} for each in (optimizer, deepcopy(optimizer))
    ]
    assert public[0] == public[1]


def non_empty_state(info: Any, kwargs: dict[str, Any]) -> None:
    """Every stepped parameter has state."""
    assert all(len(state) > 0 for state in stepped(info, kwargs, steps=1).state.values())


STATE_CASES = [
    Case("test_cpu_load_state_dict", cpu_state_to_device, needs="cuda"),
    Case("test_optimizer_can_be_printed", every_input(printable, differentiable=True)),
    Case("test_state_dict_deterministic", every_input(deterministic)),
    Case("test_can_load_older_state_dict", every_input(older_state_dict)),
    Case("test_can_load_from_to_named_state_dict", every_input(from_to_named)),
    Case("test_save_load_equality_with_weights_only", every_input(weights_only)),
    Case("test_load_nontensor_step", every_input(nontensor_step)),
    Case("test_state_dict_with_cuda_params", to_cuda, needs="cuda"),
    Case(
        "test_state_dict_pre_hook",
        every_input(state_dict_hooks(before=True, after=False), differentiable=True),
    ),
    Case(
        "test_state_dict_post_hook",
        every_input(state_dict_hooks(before=False, after=True), differentiable=True),
    ),
    Case(
        "test_state_dict_pre_post_hook",
        every_input(state_dict_hooks(before=True, after=True), differentiable=True),
    ),
    Case(
        "test_load_state_dict_pre_hook_and_prepend",
        every_input(load_pre_hook_and_prepend, differentiable=True),
    ),
    Case("test_load_state_dict_post_hook", every_input(load_hooks(before=False), differentiable=True)),
    Case("test_load_state_dict_pre_post_hook", every_input(load_hooks(before=True), differentiable=True)),
    Case("test_step_post_hook", every_input(step_hook("post"), differentiable=True)),
    Case("test_step_pre_hook", every_input(step_hook("pre"), differentiable=True)),
    Case("test_step_all_hooks", every_input(all_hooks, differentiable=True)),
    Case("test_deepcopy_copies_all_public_attrs", every_input(deepcopies)),
    Case("test_non_empty_state", every_input(non_empty_state)),
]
