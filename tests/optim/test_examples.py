"""The examples of docs/optim.md run, learn, and are those the guide names."""

import doctest
import importlib.util
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from diffwright.optim import diffgrad

ROOT = Path(__file__).parents[2]


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fresh_accelerate():
    """Accelerate keeps one state a process, whatever tests ran before."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh_accelerate")
def test_accelerate_with_scheduler_and_mixed_precision_learns():
    losses = example("optim_accelerate").main()
    assert losses[-1] < 0.6 * losses[0]


def test_a_grad_scaler_with_the_fused_kernel_learns():
    losses = example("optim_amp").main()
    assert losses[-1] < 0.6 * losses[0]


def test_transformers_trainer_takes_the_optimizer(tmp_path):
    assert example("optim_trainer").main(str(tmp_path), steps=20) < 0.6


def test_the_docstring_example_runs():
    results = doctest.testmod(diffgrad, extraglobs={"torch": torch})
    assert results.attempted > 0
    assert results.failed == 0


def test_the_guide_names_every_example_and_every_figure_of_the_bench():
    guide = (ROOT / "docs" / "optim.md").read_text()
    for file in (ROOT / "examples").glob("optim_*.py"):
        assert f"examples/{file.name}" in guide
    names = ["cpu_step_ratio_adam", "cpu_speedup_pytorch_optimizer", "cpu_speedup_torch_optimizer"]
    names += ["tiny_tensors_ratio", "state_bytes_per_parameter", "torch_cases_passed", "torch_cases_failed"]
    names += ["torch_cases_inapplicable", "gpu_step_ratio_adam_fp32", "gpu_step_ratio_adam_bf16"]
    names += ["gpu_bandwidth_share", "regret_slope", "cifar_diffgrad_minus_adam"]
    names += ["cifar_diffgrad_minus_adam_half", "cifar_aliased_minus_adam_half"]
    assert [name for name in names if f"`{name}`" not in guide] == []
