import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffwright.optim.diffgrad import DiffGrad, DiffGradW
from diffwright.optim.parity import GRADIENTS, PAPER_VECTORS, REFERENCE_VECTORS
from diffwright.optim.rule import FRICTIONS, Rule, device_factors, host_factors
from tests.optim.oracle import Oracle, random_gradients

IMPLEMENTATIONS = [{"foreach": False}, {"foreach": True}, {"fused": True}]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=str)
@pytest.mark.parametrize(("mode", "vectors"), [("paper", PAPER_VECTORS), ("reference", REFERENCE_VECTORS)])
def test_golden_vectors_to_1e_12(implementation, mode, vectors):
    param = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = DiffGrad([param], lr=0.1, eps_mode=mode, **implementation)
    for gradient, expected in zip(GRADIENTS, vectors, strict=True):
        param.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        assert (param - torch.tensor(expected, dtype=torch.float64)).abs().max() <= 1e-12


OPTIONS = [
    dict(zip(("friction", "eps_mode", "amsgrad", "rectify", "maximize", "decay"), values, strict=True))
    for values in itertools.product(
        FRICTIONS, ("paper", "reference"), (False, True), (False, True), (False, True), (None, False, True)
    )
]


@pytest.mark.parametrize("turn", range(3))
def test_thousands_of_random_steps_match_the_oracle_over_all_options(turn):
    """336 combinations of options, 12 steps each, the implementations in turn: 4,032 steps in float64."""
    for seed, options in enumerate(OPTIONS[turn::3]):
        implementation = IMPLEMENTATIONS[seed % 3]
        chosen = {key: value for key, value in options.items() if key != "decay"}
        if options["decay"] is not None:
            chosen |= {"weight_decay": 0.1, "decoupled_weight_decay": options["decay"]}
        start = torch.linspace(-1, 1, 5, dtype=torch.float64)
        oracle = Oracle(start.tolist(), lr=0.01, **chosen)
        param = start.clone().requires_grad_()
        optimizer = DiffGrad([param], lr=0.01, **chosen, **implementation)
        for gradient in random_gradients(12, 5, seed):
            oracle.step(gradient.tolist())
            param.grad = gradient
            optimizer.step()
        expected = torch.tensor(oracle.theta, dtype=torch.float64)
        assert (param.detach() - expected).abs().max() <= 1e-11, chosen


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=str)
def test_a_thousand_float32_steps_stay_as_near_the_oracle_as_torch_adam_stays_near_its_own(implementation):
    def path(make, dtype):
        param = torch.linspace(-1, 1, 64, dtype=dtype).requires_grad_()
        optimizer = make([param])
        for gradient in random_gradients(1000, 64, seed=3):
            param.grad = gradient.to(dtype)
            optimizer.step()
        return param.detach().double()

    def error(make, exact):
        return (path(make, torch.float32) - path(exact, torch.float64)).abs().max().item()

    ours = error(lambda p: DiffGrad(p, **implementation), lambda p: DiffGrad(p, foreach=False))
    adam = error(lambda p: torch.optim.Adam(p, fused=True), lambda p: torch.optim.Adam(p))
    assert ours <= 1.5 * adam


def test_a_previous_gradient_in_bfloat16_costs_no_visible_accuracy():
    params = [torch.ones(512, requires_grad=True) for _ in range(2)]
    optimizers = [DiffGrad([params[0]]), DiffGrad([params[1]], prev_grad_dtype=torch.bfloat16)]
    for gradient in random_gradients(200, 512, seed=5):
        for param, optimizer in zip(params, optimizers, strict=True):
            param.grad = gradient.float()
            optimizer.step()
    assert optimizers[1].state[params[1]]["previous_grad"].dtype == torch.bfloat16
    moved = (params[0] - 1).abs().max()
    assert (params[0] - params[1]).abs().max() < 2e-3 * moved


def steps_of(make, gradients):
    param = torch.zeros_like(gradients[0]).requires_grad_()
    optimizer = make([param])
    moved = []
    for gradient in gradients:
        before = param.detach().clone()
        param.grad = gradient.clone()
        optimizer.step()
        moved.append(before - param.detach())
    return torch.stack(moved)


def nonzero_gradients(seed, count=6):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(count, 8, generator=generator, dtype=torch.float64)
    return list(raw.sign() * (raw.abs() + 0.1))


@given(seed=st.integers(0, 2**31), small=st.floats(1e-9, 1e-7), large=st.floats(1e4, 1e7))
@settings(max_examples=40, deadline=None)
def test_loss_scale_to_zero_is_adam_at_half_lr_and_to_infinity_is_adam(seed, small, large):
    gradients = nonzero_gradients(seed)
    adam = steps_of(lambda p: torch.optim.Adam(p, lr=0.1, eps=0), gradients)
    tiny = steps_of(lambda p: DiffGrad(p, lr=0.1, eps=0), [g * small for g in gradients])
    huge = steps_of(lambda p: DiffGrad(p, lr=0.1, eps=0), [g * large for g in gradients])
    torch.testing.assert_close(tiny, adam / 2, rtol=1e-6, atol=0)
    changed = torch.stack(gradients).diff(dim=0, prepend=torch.zeros(1, 8).double()).abs() * large > 40
    torch.testing.assert_close(huge[changed], adam[changed], rtol=1e-9, atol=0)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_the_step_stays_between_half_of_adams_and_adams(seed):
    gradients = nonzero_gradients(seed)
    ratio = steps_of(lambda p: DiffGrad(p, lr=0.1), gradients) / steps_of(
        lambda p: torch.optim.Adam(p, lr=0.1), gradients
    )
    assert (ratio >= 0.5 - 1e-9).all()
    assert (ratio < 1).all()


def test_the_step_grows_with_the_change_of_the_gradient():
    previous = torch.linspace(-6, 6, 241, dtype=torch.float64)
    param = torch.zeros_like(previous).requires_grad_()
    optimizer = DiffGrad([param], lr=0.1, betas=(0.0, 0.0))
    param.grad = previous.clone()
    optimizer.step()
    before = param.detach().clone()
    param.grad = torch.ones_like(previous)
    optimizer.step()
    step = (before - param.detach()).abs()
    order = (previous - 1).abs().argsort()
    assert (step[order].diff() >= -1e-15).all()


def test_scale_free_friction_does_not_see_the_scale_of_the_loss():
    gradients = nonzero_gradients(1)
    plain = steps_of(lambda p: DiffGrad(p, friction="scale_free", eps=0), gradients)
    scaled = steps_of(lambda p: DiffGrad(p, friction="scale_free", eps=0), [g * 1e-4 for g in gradients])
    torch.testing.assert_close(scaled, plain, rtol=1e-9, atol=0)
    assert ((plain / steps_of(lambda p: torch.optim.Adam(p, eps=0), gradients)) > 0.52).any()


def test_a_friction_of_one_is_adam_and_dfc_names_are_the_ablations():
    gradients = nonzero_gradients(2)
    ours = steps_of(lambda p: DiffGrad(p, friction=lambda previous, grad: torch.ones_like(grad)), gradients)
    torch.testing.assert_close(ours, steps_of(torch.optim.Adam, gradients), rtol=1e-12, atol=1e-15)
    for name, ablation in zip(list(FRICTIONS)[:6], range(6), strict=True):
        first = steps_of(lambda p, name=name: DiffGrad(p, friction=name), gradients)
        second = steps_of(lambda p, index=ablation: DiffGrad(p, friction=f"dfc{index}"), gradients)
        assert torch.equal(first, second)


def test_diffgradw_is_adamw_when_the_friction_is_one():
    gradients = nonzero_gradients(4)

    def one(previous, grad):
        return torch.ones_like(grad)

    ours = steps_of(lambda p: DiffGradW(p, lr=0.1, friction=one), gradients)
    torch.testing.assert_close(ours, steps_of(lambda p: torch.optim.AdamW(p, lr=0.1), gradients))


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("reference_eps", [False, True])
def test_the_scalars_on_the_device_are_those_on_the_host(rectify, reference_eps):
    rule = Rule(lr=0.1, beta1=0.9, beta2=0.99, eps=1e-3, rectify=rectify, reference_eps=reference_eps)
    steps = torch.arange(1, 40, dtype=torch.float64)
    found = device_factors(steps, rule)
    for i, step in enumerate(steps.tolist()):
        expected = host_factors(step, rule)
        assert float(found.step_size[i]) == pytest.approx(expected.step_size, rel=1e-12)
        assert float(found.root[i]) == pytest.approx(expected.root, rel=1e-12)
        assert float(found.eps[i]) == pytest.approx(expected.eps, rel=1e-12)
        assert (bool(found.adaptive[i]) if rectify else found.adaptive) == expected.adaptive
