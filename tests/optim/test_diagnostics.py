import pytest
import torch

from diffwright.optim.diagnostics import friction_statistics, record_friction
from diffwright.optim.diffgrad import DiffGrad
from diffwright.optim.rule import FRICTIONS


@pytest.mark.parametrize("friction", list(FRICTIONS))
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "maximize": True, "amsgrad": True}], ids=str)
def test_the_statistics_are_those_of_the_step_that_follows(friction, options):
    generator = torch.Generator().manual_seed(0)
    param = torch.randn(50, generator=generator, dtype=torch.float64).requires_grad_()
    seen = []

    def watched(previous, grad):
        from diffwright.optim.rule import friction_coefficient

        xi = friction_coefficient(FRICTIONS[friction], previous, grad, grad)
        seen.append(xi)
        return xi

    relative = FRICTIONS[friction].relative
    optimizer = DiffGrad([param], lr=0.2, friction=friction if relative else watched, **options)
    for _ in range(3):
        param.grad = torch.randn(50, generator=generator, dtype=torch.float64)
        (found,) = friction_statistics(optimizer)
        before, m = param.detach().clone(), None
        optimizer.step()
        if relative and not options:
            state = optimizer.state[param]
            t = float(state["step"])
            m = state["exp_avg"] / (1 - 0.9**t)
            denominator = (state["exp_avg_sq"] / (1 - 0.999**t)).sqrt() + 1e-8
            xi = (before - param.detach()) / 0.2 / (m / denominator)
        elif relative:
            continue
        else:
            xi = seen[-1]
        assert found.mean == pytest.approx(xi.mean().item(), rel=1e-6)
        assert found.quantiles[0.5] == pytest.approx(xi.quantile(0.5).item(), rel=1e-5)
        assert found.effective_lr == pytest.approx(0.2 * found.mean)
        assert found.elements == 50


def test_small_gradients_show_that_diffgrad_is_adam_at_half_the_learning_rate():
    param = torch.zeros(100, requires_grad=True)
    optimizer = DiffGrad([param, torch.zeros(3, requires_grad=True)], lr=1e-3)
    with record_friction(optimizer, every=2) as rows:
        for step in range(6):
            param.grad = torch.full_like(param, 1e-4 * (-1) ** step)
            optimizer.step()
    assert len(rows) == 3
    for (found,) in rows:
        assert found.mean == pytest.approx(0.5, abs=1e-4)
        assert found.above == 0
        assert found.effective_lr == pytest.approx(5e-4, rel=1e-3)
    optimizer.step()
    assert len(rows) == 3


def test_with_a_closure_the_gradients_of_that_step_count():
    param = torch.zeros(4, requires_grad=True)
    optimizer, sign = DiffGrad([param], lr=1e-3), 1.0

    def closure():
        nonlocal sign
        sign = -sign
        param.grad = torch.full_like(param, 5.0 * sign)
        return torch.tensor(1.0)

    with record_friction(optimizer) as rows:
        for _ in range(3):
            assert float(optimizer.step(closure)) == 1.0
    assert [row.mean > 0.99 for (row,) in rows] == [True] * 3


def test_a_group_of_empty_tensors_is_left_out():
    param = torch.zeros(0, requires_grad=True)
    param.grad = torch.zeros(0)
    assert friction_statistics(DiffGrad([param])) == []
