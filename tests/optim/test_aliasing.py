"""Immunity to gradient aliasing, and proof that the harness sees it where it is."""

import numpy as np
import pytest
import pytorch_optimizer
import torch
import torch_optimizer

from diffwright.optim.diffgrad import DiffGrad
from diffwright.optim.parity import aliasing_errors, check_diffgrad, measure_diffgrad


class ByReference(torch.optim.Optimizer):
    """The published bug, written for this test: the previous gradient is the live tensor."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state.update(t=0, m=torch.zeros_like(p), v=torch.zeros_like(p), q=torch.zeros_like(p))
                state["t"] += 1
                state["m"].lerp_(p.grad, 0.1)
                state["v"].mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
                xi = torch.sigmoid((state["q"] - p.grad).abs())
                state["q"] = p.grad
                denominator = (state["v"] / (1 - 0.999 ** state["t"])).sqrt() + 1e-8
                p.sub_(group["lr"] * xi * state["m"] / (1 - 0.9 ** state["t"]) / denominator)


@pytest.mark.parametrize(
    "options",
    [{}, {"foreach": True}, {"fused": True}, {"share_grad": True}, {"share_grad": True, "fused": True}],
    ids=str,
)
def test_ours_passes_the_parity_pack(options):
    report = check_diffgrad(lambda params: DiffGrad(params, lr=0.1, **options))
    assert set(report.aliasing_errors.values()) == {0.0}


def test_the_harness_fails_on_a_rule_that_stores_the_gradient_by_reference():
    errors = aliasing_errors(lambda params: ByReference(params, lr=0.1))
    assert all(error > 1e-3 for error in errors.values()), errors
    with pytest.raises(AssertionError, match="how the gradient is stored"):
        check_diffgrad(lambda params: ByReference(params, lr=0.1))


def test_the_vectors_fail_on_adam():
    with pytest.raises(AssertionError, match="not diffGrad"):
        check_diffgrad(lambda params: torch.optim.Adam(params, lr=0.1))


def test_torch_optimizer_passes_the_pack_in_one_line():
    check_diffgrad(lambda params: torch_optimizer.DiffGrad(params, lr=0.1))


@pytest.mark.parametrize("foreach", [False, True])
def test_pytorch_optimizer_passes_but_for_tiny_gradients(foreach):
    def make(params):
        return pytorch_optimizer.DiffGrad(params, lr=0.1, weight_decay=0.0, foreach=foreach)

    check_diffgrad(make, tolerance=1e-11, tiny_gradients=False)
    assert measure_diffgrad(make).vector_error > 1e-5


def trajectory(make, backward, steps=6, **zero):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    optimizer = make(model.parameters())
    for step in range(steps):
        optimizer.zero_grad(**zero)
        backward(model, torch.randn(6, 4, generator=torch.Generator().manual_seed(step)))
        optimizer.step()
    return torch.cat([param.detach().flatten() for param in model.parameters()])


def whole_batch(model, inputs):
    model(inputs).square().sum().backward()


def micro_batches(model, inputs):
    for part in inputs.split(2):
        model(part).square().sum().backward()


def clipped(model, inputs):
    whole_batch(model, inputs)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)


@pytest.mark.parametrize("backward", [whole_batch, micro_batches, clipped])
@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}, {"share_grad": True}], ids=str)
def test_set_to_none_on_and_off_give_the_same_bits(backward, options):
    paths = [
        trajectory(lambda params: DiffGrad(params, **options), backward, set_to_none=on)
        for on in (True, False)
    ]
    assert torch.equal(*paths)


def test_the_published_bug_is_adam_at_half_the_learning_rate():
    """With reused gradient memory the friction is 0.5 from the second step on."""

    def moves(make):
        param = torch.zeros(8, dtype=torch.float64, requires_grad=True)
        param.grad, optimizer, path = torch.zeros_like(param), make([param]), [torch.zeros(8).double()]
        for step in range(20):
            generator = torch.Generator().manual_seed(step)
            param.grad.copy_(torch.randn(8, generator=generator, dtype=torch.float64))
            optimizer.step()
            path.append(param.detach().clone())
        return torch.stack(path).diff(dim=0)

    aliased, half = moves(lambda p: ByReference(p, lr=0.01)), moves(lambda p: torch.optim.Adam(p, lr=0.005))
    torch.testing.assert_close(aliased[1:], half[1:], rtol=1e-9, atol=1e-15)
    assert (moves(lambda p: DiffGrad(p, lr=0.01))[1:].abs() > 1.01 * half[1:].abs()).any()


@pytest.mark.parametrize("memory", ["numpy", "shared"])
def test_memory_that_others_can_reach_is_copied(memory):
    """A gradient over NumPy's memory, or one that another process may hold, is never kept itself."""
    param = torch.zeros(4, requires_grad=True)
    theirs = np.ones(4, np.float32)
    param.grad = torch.from_numpy(theirs) if memory == "numpy" else torch.ones(4).share_memory_()
    grad = param.grad
    optimizer = DiffGrad([param], share_grad=True)
    optimizer.step()
    grad.fill_(7.0)
    assert float(optimizer.state[param]["previous_grad"].max()) == 1.0


def test_a_friction_that_is_not_used_fails_the_vectors():
    """Adam at half the learning rate passes where gradients are small, and only there."""
    with pytest.raises(AssertionError, match="not diffGrad"):
        check_diffgrad(lambda params: torch.optim.Adam(params, lr=0.05))
