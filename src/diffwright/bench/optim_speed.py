"""Time and memory of a step, ours beside torch's fused Adam and the two diffGrads on PyPI."""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from diffwright.bench.harness import Figure, interleaved
from diffwright.bench.optim_nets import resnet50, shapes_of
from diffwright.core.errors import MissingExtra
from diffwright.core.progress import Progress, report
from diffwright.optim.diffgrad import DiffGrad

TINY_TENSORS, TINY_ELEMENTS = 2_000, 64


def stepper(
    make: Callable[[list[Tensor]], Any], shapes: Iterable[Any], device: str = "cpu"
) -> Callable[[], Any]:
    """Return ``step`` of an optimizer over new random parameters with random gradients.

    Args:
        make: Makes the optimizer.
        shapes: Shapes of the parameters.
        device: Where they are.
    """
    generator = torch.Generator(device).manual_seed(0)
    params = []
    for shape in shapes:
        param = torch.randn(shape, generator=generator, device=device).requires_grad_()
        param.grad = torch.randn(shape, generator=generator, device=device) * 0.01
        params.append(param)
    return make(params).step


def cpu_figures(quick: bool, progress: Progress | None = None) -> dict[str, Figure]:
    """Time steps on the CPU in interleaved rounds.

    Args:
        quick: A ResNet-50 of an eighth of the width and few rounds.
        progress: Is told the parts done.

    Returns:
        ``cpu_step_ms``, ``cpu_step_ratio_adam``, ``cpu_speedup_pytorch_optimizer``,
        ``cpu_speedup_torch_optimizer`` and ``tiny_tensors_ratio``.

    Raises:
        MissingExtra: The bench extra is not installed.
    """
    theirs = {name: _diffgrad_of(name) for name in ("pytorch_optimizer", "torch_optimizer")}
    makers = {
        "ours": lambda params: DiffGrad(params, fused=True),
        "adam": lambda params: torch.optim.Adam(params, fused=True),
        **theirs,
    }
    report(progress, "timing ResNet-50 shapes", 0, 2)
    shapes = shapes_of(resnet50, width=8 if quick else 64)
    times = interleaved({name: stepper(make, shapes) for name, make in makers.items()}, 3 if quick else 25)
    report(progress, "timing tiny tensors", 1, 2)
    tiny = {name: stepper(makers[name], [TINY_ELEMENTS] * TINY_TENSORS) for name in ("ours", "adam")}
    small = interleaved(tiny, 3 if quick else 50)
    what = "ResNet-50 shapes, an eighth of the width" if quick else "ResNet-50 shapes"
    what += f", fp32, {torch.get_num_threads()} threads, median of interleaved rounds"
    return {
        "cpu_step_ms": Figure(times["ours"], "ms", "lower", what),
        "cpu_step_ratio_adam": Figure(times["ours"] / times["adam"], "", "lower", f"{what}; goal 1.10"),
        "cpu_speedup_pytorch_optimizer": Figure(
            times["pytorch_optimizer"] / times["ours"], "times", "higher", f"{what}; goal 3"
        ),
        "cpu_speedup_torch_optimizer": Figure(
            times["torch_optimizer"] / times["ours"], "times", "higher", f"{what}; goal 6"
        ),
        "tiny_tensors_ratio": Figure(
            small["ours"] / small["adam"],
            "",
            "lower",
            "2,000 tensors of 64 elements, over torch's fused Adam",
        ),
    }


def memory_figures() -> dict[str, Figure]:
    """Measure the state of a step in bytes a parameter, without the step counts.

    Returns:
        ``state_bytes_per_parameter`` and the same with a bfloat16 previous gradient.
    """
    found = {}
    for suffix, dtype in (("", None), ("_bf16", torch.bfloat16)):
        param = torch.zeros(1 << 16, requires_grad=True)
        param.grad = torch.zeros_like(param)
        optimizer = DiffGrad([param], prev_grad_dtype=dtype)
        optimizer.step()
        state = [value for key, value in optimizer.state[param].items() if key != "step"]
        size = sum(value.numel() * value.element_size() for value in state) / param.numel()
        note = "previous gradient in bfloat16" if dtype else "fp32; Adam has 8"
        found[f"state_bytes_per_parameter{suffix}"] = Figure(size, "bytes", "lower", note)
    return found


def gpu_figures(quick: bool) -> dict[str, Figure]:
    """Time steps on CUDA; empty without a device.

    Args:
        quick: Few rounds.

    Returns:
        ``gpu_step_ratio_adam_fp32``, ``gpu_step_ratio_adam_bf16`` and ``gpu_bandwidth_share``.
    """
    if not torch.cuda.is_available():
        return {}
    shapes, rounds = shapes_of(resnet50), 10 if quick else 200
    makers = {
        "adam": lambda params: torch.optim.Adam(params, fused=True),
        "fp32": lambda params: DiffGrad(params, fused=True),
        "bf16": lambda params: DiffGrad(params, fused=True, prev_grad_dtype=torch.bfloat16),
    }
    steps = {name: stepper(make, shapes, "cuda") for name, make in makers.items()}
    times = interleaved(steps, rounds)
    elements = 100_000_000
    big = stepper(makers["fp32"], [(elements,)], "cuda")
    source, target = (torch.zeros(elements, device="cuda") for _ in range(2))
    raw = interleaved({"step": big, "copy": lambda: target.copy_(source)}, rounds)
    share = (36 / raw["step"]) / (8 / raw["copy"])
    return {
        "gpu_step_ratio_adam_fp32": Figure(times["fp32"] / times["adam"], "", "lower", "goal 1.30"),
        "gpu_step_ratio_adam_bf16": Figure(times["bf16"] / times["adam"], "", "lower", "goal 1.16"),
        "gpu_bandwidth_share": Figure(share, "", "higher", "36 bytes an element over a plain copy's rate"),
    }


def _diffgrad_of(library: str) -> Callable[[list[Tensor]], Any]:
    try:
        made = import_module(library).DiffGrad
    except ImportError as error:
        raise MissingExtra(
            f"bench optim compares with {library}; pip install 'diffwright[bench]'."
        ) from error
    return lambda params: made(params, lr=1e-3)
