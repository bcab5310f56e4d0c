"""How the fused kernel is built, cached and refused."""

import os
import subprocess
import sys

import pytest
import torch

from diffwright.optim import native
from diffwright.optim.diffgrad import DiffGrad


def step_fused():
    param = torch.ones(3, requires_grad=True)
    param.grad = torch.ones(3)
    DiffGrad([param], fused=True).step()


@pytest.fixture
def fresh():
    native.load_kernel.cache_clear()
    yield
    native.load_kernel.cache_clear()


def test_without_a_compiler_fused_raises_with_the_reason(fresh, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RuntimeError, match="'no-such-compiler', which is not on the PATH"):
        step_fused()


def test_a_failed_build_shows_the_compilers_words_and_leaves_nothing(fresh, monkeypatch, tmp_path):
    source = tmp_path / "broken.cpp"
    source.write_text("int broken(")
    monkeypatch.setattr(native, "SOURCE", source)
    monkeypatch.setenv("DIFFWRIGHT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RuntimeError, match="expected"):
        step_fused()
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_second_process_finds_the_build_and_needs_no_build(fresh, monkeypatch):
    step_fused()
    native.load_kernel.cache_clear()
    monkeypatch.setattr(native, "_build", lambda command, path: pytest.fail("built again"))
    step_fused()


def test_a_cache_that_others_can_write_is_refused(fresh, monkeypatch, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("DIFFWRIGHT_CACHE", str(folder))
    with pytest.raises(RuntimeError, match="another user can write"):
        step_fused()


def test_a_cache_that_cannot_be_made_is_named(fresh, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("DIFFWRIGHT_CACHE", str(blocked / "below"))
    with pytest.raises(RuntimeError, match="DIFFWRIGHT_CACHE"):
        step_fused()


def test_importing_the_optimizer_builds_nothing_and_needs_no_compiler(tmp_path):
    code = "import torch; from diffwright import DiffGrad"
    environment = {**os.environ, "CXX": "no-such-compiler", "DIFFWRIGHT_CACHE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_autograd_sees_that_a_fused_step_changed_the_weights():
    param = torch.full((3,), 2.0, requires_grad=True)
    loss = (param**3).sum()
    param.grad = torch.ones(3)
    DiffGrad([param], fused=True).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_fused_can_be_switched_on_after_steps_were_counted_in_double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        params = [torch.ones(3, requires_grad=True) for _ in range(2)]
        paths = [DiffGrad([param], lr=0.1) for param in params]
        for step in range(4):
            for param, optimizer in zip(params, paths, strict=True):
                optimizer.param_groups[0]["fused"] = optimizer is paths[1] and step >= 2
                param.grad = torch.full((3,), 1.0 + step)
                optimizer.step()
    finally:
        torch.set_default_dtype(before)
    assert float(paths[1].state[params[1]]["step"]) == 4
    torch.testing.assert_close(params[1], params[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "options", [{"lr": -1.0}, {"betas": (0.9, 1.5)}, {"eps_mode": "zzz"}, {"friction": max}], ids=str
)
def test_a_group_that_is_added_later_is_checked_too(options):
    optimizer = DiffGrad([torch.zeros(2, requires_grad=True)])
    with pytest.raises(ValueError, match=r"Invalid|whole optimizer"):
        optimizer.add_param_group({"params": [torch.zeros(2, requires_grad=True)], **options})
    assert len(optimizer.param_groups) == 1
