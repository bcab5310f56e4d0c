"""Looking into a model and changing what passes through it, always undone when the block ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from diffwright.diffusion.sites import Site


def _tensor(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def taps(sites: Iterable[Site], *, inputs: bool = False) -> Iterator[dict[str, list[Tensor]]]:
    """Record what the sites give while the block runs.

    Args:
        sites: the places to listen at.
        inputs: record what goes in (its first argument) instead of what comes out.

    Yields:
        A dictionary from site names to the detached tensors, one for each call of the module in order.
    """
    captured: dict[str, list[Tensor]] = {}
    with ExitStack() as stack:
        for site in sites:
            calls = captured.setdefault(site.name, [])
            if inputs:
                handle = site.module.register_forward_pre_hook(_input_tap(calls), with_kwargs=True)
            else:
                handle = site.module.register_forward_hook(_output_tap(calls))
            stack.callback(handle.remove)
        yield captured


def _input_tap(calls: list[Tensor]) -> Callable[..., None]:
    def hook(_module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        calls.append((args[0] if args else next(iter(kwargs.values()))).detach())

    return hook


def _output_tap(calls: list[Tensor]) -> Callable[..., None]:
    def hook(_module: nn.Module, _args: tuple, output: Any) -> None:
        calls.append(_tensor(output).detach())

    return hook


@contextmanager
def replaced(site: Site, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Pass the output of a site through a function while the block runs.

    Args:
        site: the place.
        change: gets the output tensor, gives the tensor that the rest of the model reads. Modules that return
            tuples keep their other entries.
    """

    def hook(_module: nn.Module, _args: tuple, output: Any) -> Any:
        new = change(_tensor(output))
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = site.module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def swapped(owner: nn.Module, path: str, module: nn.Module) -> Iterator[None]:
    """Put another module at a path while the block runs.

    Args:
        owner: the model that holds it.
        path: dotted path inside the owner.
        module: what stands there inside the block.
    """
    original = owner.get_submodule(path)
    owner.set_submodule(path, module)
    try:
        yield
    finally:
        owner.set_submodule(path, original)


class _Reached(Exception):
    """The forward pass arrived at the site; the rest of it is not needed."""


def input_of(site: Site, run: Callable[[], Any]) -> Tensor:
    """Run a model only as far as a site and give what arrives there.

    Args:
        site: the place; its first positional argument is returned.
        run: calls the model; it is left as soon as the site is reached.

    Raises:
        RuntimeError: the call ended without reaching the site.
    """
    arrived: list[Tensor] = []

    def stop(_module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        arrived.append((args[0] if args else next(iter(kwargs.values()))).detach())
        raise _Reached

    handle = site.module.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        run()
    except _Reached:
        return arrived[0]
    finally:
        handle.remove()
    raise RuntimeError(f"The model ran to its end without passing {site.name}.")
