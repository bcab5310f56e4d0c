import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from diffwright.concepts.modes import MODES, Frame, Triangle, frame_of, solve, spectrum
from diffwright.concepts.solve import ridge
from diffwright.core.errors import ConfigError, InputError


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problem(seed, rows=6, held=9, width=12, outputs=8):
    return draw(seed, rows, width), draw(seed + 1, rows, outputs), draw(seed + 2, held, width)


sizes = st.tuples(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20), st.integers(2, 16))


@settings(max_examples=60, deadline=None)
@given(sizes, st.sampled_from([1e-2, 1.0, 30.0]), st.sampled_from([0.1, 1.0, 50.0]))
def test_preserving_is_solving_with_rows_that_must_stay(size, lam, weight):
    keys, residuals, held = problem(*size)
    frame = frame_of("preserve", held, lam=lam, weight=weight)
    weights = torch.tensor([1.0] * len(keys) + [weight] * len(held), dtype=torch.float64)
    zeros = residuals.new_zeros(len(held), residuals.shape[1])
    expected = ridge(torch.cat([keys, held]), torch.cat([residuals, zeros]), lam, weights).dense()
    assert float((solve(frame, keys, residuals).dense() - expected).abs().max()) <= 1e-9 * (
        1 + float(expected.abs().max())
    )


@settings(max_examples=30, deadline=None)
@given(sizes)
def test_the_covariance_form_of_the_papers(size):
    keys, residuals, held = problem(*size)
    lam, weight = 0.3, 20.0
    moment = held.T @ held / len(held)
    eye = torch.eye(keys.shape[1], dtype=torch.float64)
    expected = torch.linalg.solve(weight * moment + lam * eye + keys.T @ keys, keys.T @ residuals).T
    found = solve(frame_of("covariance", held, lam=lam, weight=weight), keys, residuals).dense()
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(sizes)
def test_the_null_space_form_of_the_papers(size):
    keys, residuals, _ = problem(*size)
    held = draw(size[0] + 7, 2, 1) * draw(size[0] + 8, 1, keys.shape[1])  # one direction
    energy, directions = spectrum(held)
    used = directions[:, energy > 0.5 * energy.max()]
    projector = torch.eye(keys.shape[1], dtype=torch.float64) - used @ used.T
    eye = torch.eye(keys.shape[1], dtype=torch.float64)
    gram = projector @ keys.T @ keys @ projector
    expected = torch.linalg.solve(gram + 0.2 * eye, projector @ keys.T @ residuals).T
    found = solve(frame_of("null-space", held, lam=0.2, null_threshold=0.5), keys, residuals).dense()
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    assert float((held @ found.T).abs().max()) < 1e-9


@pytest.mark.parametrize("mode", ["preserve", "covariance"])
def test_the_solution_is_optimal(mode):
    keys, residuals, held = problem(3)
    frame = frame_of(mode, held, lam=0.5, weight=4.0)
    delta = solve(frame, keys, residuals).dense().requires_grad_()
    share = len(held) if mode == "covariance" else 1
    loss = (keys @ delta.T - residuals).square().sum() + 0.5 * delta.square().sum()
    loss = loss + 4.0 / share * (held @ delta.T).square().sum()
    (gradient,) = torch.autograd.grad(loss, delta)
    assert float(gradient.norm()) < 1e-8


def test_modes_order_by_how_much_they_hold():
    keys, residuals, held = problem(4, rows=3, held=5)
    drift, fit = {}, {}
    for mode in MODES:
        change = solve(frame_of(mode, held, lam=1e-3, weight=1e3), keys, residuals).dense()
        drift[mode] = float((held @ change.T).norm())
        fit[mode] = float((keys @ change.T - residuals).norm())
    assert drift["null-space"] < 1e-9 < drift["preserve"] < drift["covariance"] < drift["ridge"]
    assert fit["ridge"] < fit["covariance"] < fit["preserve"]
    assert drift["legacy"] == drift["ridge"]


@pytest.mark.parametrize("mode", ["preserve", "covariance"])
def test_many_and_few_held_rows_have_the_same_prices(mode):
    keys, _, held = problem(9, held=11)
    few = frame_of(mode, held, lam=0.5, weight=4.0)
    empty = 2.0 if mode == "covariance" else 1.0  # a row of zeros counts in the mean
    many = frame_of(mode, torch.cat([held, 0 * held]), lam=0.5, weight=4.0 * empty)
    assert (type(few), type(many)) == (Frame, Triangle)
    torch.testing.assert_close(few(keys) @ few(keys).T, many(keys) @ many(keys).T)
    torch.testing.assert_close(few.back(few(keys)), many.back(many(keys)))
    assert few.free == many.free == 12


def test_spectra_are_the_same_from_both_sides():
    rows = draw(5, 7, 7)
    tall, wide = torch.cat([rows, draw(6, 1, 7)]), rows[:6]
    for given_rows in (tall, wide):
        energy, directions = spectrum(given_rows)
        torch.testing.assert_close(directions * energy @ directions.T, given_rows.T @ given_rows)
        torch.testing.assert_close(directions.T @ directions, torch.eye(len(energy), dtype=torch.float64))


def test_free_directions_are_counted():
    _, _, held = problem(7, held=4)
    assert frame_of("ridge", held, lam=1.0).free == 12
    assert frame_of("preserve", held, lam=1.0).free == 12
    assert frame_of("null-space", held, lam=1.0, null_threshold=1e-9).free == 8


def test_unfit_requests_are_refused():
    _, _, held = problem(8, held=30)
    with pytest.raises(ConfigError, match="null-space"):
        frame_of("nullspace", held, lam=1.0)
    with pytest.raises(ConfigError, match="all 12 directions"):
        frame_of("null-space", held, lam=1.0, null_threshold=1e-9)
    with pytest.raises(ConfigError, match="too small"):
        frame_of("preserve", 1e9 * held[:, :1].expand(-1, 12), lam=1e-12)
    with pytest.raises(ConfigError, match="expected a number from"):
        frame_of("ridge", held, lam=0.0)
    for mode in ("preserve", "covariance", "null-space"):
        with pytest.raises(InputError, match="holds nothing"):
            frame_of(mode, held[:0], lam=1.0)
