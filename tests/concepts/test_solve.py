import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from diffwright.concepts.solve import duals, ridge
from diffwright.core.errors import ConfigError, InputError


def problem(seed, rows, width, outputs):
    random = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=random, dtype=torch.float64)  # noqa: E731
    return draw(rows, width), draw(rows, outputs), draw(outputs, width)


sizes = st.tuples(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 24), st.integers(1, 24))


@settings(max_examples=100, deadline=None)
@given(sizes, st.sampled_from([1e-2, 1.0, 100.0]))
def test_three_forms_agree(size, lam):
    keys, values, weight = problem(*size)
    residuals = values - keys @ weight.T
    eye = torch.eye(keys.shape[1], dtype=torch.float64)
    paper = (lam * weight + values.T @ keys) @ torch.linalg.inv(lam * eye + keys.T @ keys)
    kernel = residuals.T @ torch.linalg.solve(
        keys @ keys.T + lam * torch.eye(len(keys), dtype=torch.float64), keys
    )
    delta = ridge(keys, residuals, lam).dense()
    scale = max(1.0, float(paper.abs().max()))
    assert float((weight + delta - paper).abs().max()) <= 1e-10 * scale
    assert float((delta - kernel).abs().max()) <= 1e-10 * scale


@settings(max_examples=50, deadline=None)
@given(sizes)
def test_the_solution_is_optimal(size):
    keys, residuals, _ = problem(*size)
    delta = ridge(keys, residuals, 0.5).dense().requires_grad_()
    loss = (keys @ delta.T - residuals).square().sum() + 0.5 * delta.square().sum()
    (gradient,) = torch.autograd.grad(loss, delta)
    assert float(gradient.norm()) < 1e-8


def test_target_outputs_are_reproduced_with_the_bias_in_place():
    torch.manual_seed(0)
    layer = nn.Linear(64, 48).double()
    nn.init.normal_(layer.bias, std=3.0)
    source, target = torch.randn(8, 64).double(), torch.randn(8, 64).double()
    with torch.no_grad():
        wanted = layer(target)
        layer.weight += ridge(source, (target - source) @ layer.weight.T, 1e-2).dense()
        assert float((layer(source) - wanted).norm() / wanted.norm()) <= 1e-3


def test_equal_source_and_target_is_no_change_at_all():
    keys, _, weight = problem(0, 5, 8, 6)
    factors = ridge(keys, (keys - keys) @ weight.T, 1e-2)
    assert factors.up.shape == (6, 0)
    assert torch.equal(factors.dense(), torch.zeros(6, 8, dtype=torch.float64))


def test_rank_counts_edited_rows_only_and_kept_rows_hold():
    keys, residuals, _ = problem(1, 30, 64, 32)
    residuals[4:] = 0
    factors = ridge(keys, residuals, 1e-6)
    assert factors.up.shape == (32, 4)
    assert float((keys[4:] @ factors.dense().T).abs().max()) < 1e-5
    assert float((keys[:4] @ factors.dense().T - residuals[:4]).abs().max()) < 1e-5


def test_equal_rows_share_one_direction():
    keys, residuals, _ = problem(2, 1, 16, 16)
    assert ridge(keys.repeat(6, 1), residuals.repeat(6, 1)).up.shape[1] == 1


def test_a_weight_counts_like_repetition():
    keys, residuals, _ = problem(3, 4, 8, 8)
    repeated = ridge(
        torch.cat([keys, keys[:1], keys[:1]]), torch.cat([residuals, residuals[:1], residuals[:1]]), 0.3
    )
    weighted = ridge(keys, residuals, 0.3, torch.tensor([3.0, 1, 1, 1]))
    torch.testing.assert_close(weighted.dense(), repeated.dense())


def test_a_large_lambda_leaves_the_map_alone():
    keys, residuals, _ = problem(4, 6, 8, 8)
    assert float(ridge(keys, residuals, 1e12).dense().abs().max()) < 1e-9


def test_duals_are_the_same_on_both_sides_of_square():
    keys, _, _ = problem(5, 9, 8, 1)
    expected = keys @ torch.linalg.inv(keys.T @ keys + 0.1 * torch.eye(8, dtype=torch.float64))
    torch.testing.assert_close(duals(keys, 0.1), expected)
    torch.testing.assert_close(
        duals(keys[:7], 0.1),
        torch.linalg.solve(keys[:7] @ keys[:7].T + 0.1 * torch.eye(7).double(), keys[:7]),
    )


def test_unfit_problems_are_refused():
    keys, residuals, _ = problem(6, 3, 4, 4)
    with pytest.raises(InputError, match="rows must agree"):
        ridge(keys, residuals[:2])
    with pytest.raises(InputError, match="finite"):
        ridge(keys * float("nan"), residuals)
    for lam in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="above 0"):
            ridge(keys, residuals, lam)
    with pytest.raises(ConfigError, match="above 0"):
        ridge(keys, residuals, 1.0, torch.zeros(3))
    with pytest.raises(ConfigError, match="too small"):
        ridge(torch.cat([keys * 1e9, keys * 1e9]), torch.cat([residuals, residuals]), 1e-300)
