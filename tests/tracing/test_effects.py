from itertools import pairwise

import numpy as np
import pytest

from diffwright.core.errors import InputError
from diffwright.tracing.effects import (
    Scores,
    effective_number,
    jaccard,
    pick_threshold,
    positive_shares,
    role,
    strongest,
    top_set,
)
from diffwright.tracing.states import State

STATES = [State(f"te.{n}.attn", "attn", n, 4) for n in range(3)]
SCORES = Scores(
    clean=np.array([1.0, 0.8]),
    corrupted=np.array([0.2, 0.0]),
    restored=np.array([[0.2, 0.0], [1.0, 0.8], [0.0, 0.1]]),
)


def test_effects_are_signed_and_recovery_is_their_share_of_the_loss():
    assert np.allclose(SCORES.total, 0.8)
    assert np.allclose(SCORES.mean, [0, 0.8, -0.05])
    assert np.allclose(SCORES.recovery, [0, 1, -0.0625])
    assert np.allclose(SCORES.absolute, [0, 0.8, 0.15]), "the paper's absolute value hides the harm"
    assert np.allclose(SCORES.approximation, [0.1, 0.9, 0.05])


def test_the_papers_approximation_ranks_as_the_mean_effect_does():
    draws = np.random.default_rng(0)
    scores = Scores(draws.random(5), draws.random(5), draws.random((20, 5)))
    assert (scores.approximation.argsort() == scores.mean.argsort()).all()


def test_nothing_lost_gives_no_recovery():
    same = Scores(np.array([0.5]), np.array([0.5]), np.array([[0.7]]))
    assert np.isnan(same.recovery).all()
    distance = Scores(np.zeros(1), np.zeros(1), np.zeros((1, 1)))
    assert np.isnan(distance.recovery).all()


def test_the_strongest_come_first_with_their_intervals():
    first, second, third = strongest(STATES, SCORES)
    assert [e.state.layer for e in (first, second, third)] == [1, 0, 2]
    assert (first.effect.low, first.effect.high) == pytest.approx((0.8, 0.8))
    assert third.effect.low == pytest.approx(-0.2)
    assert third.effect.high == pytest.approx(0.1)
    assert first.recovery == pytest.approx(1)
    assert len(strongest(STATES, SCORES, 2)) == 2


@pytest.mark.parametrize(
    ("scores", "value"),
    [([0, 0, 0, 1], 0.5), ([0.1, 0.11, 0.12, 0.9, 0.95], 0.51), ([1, 2], 1.5), ([3, 3, 3, 3, 5], 4)],
)
def test_the_threshold_separates_two_groups(scores, value):
    found = pick_threshold(scores)
    assert found.value == pytest.approx(value)
    assert 0 < found.explained <= 1 + 1e-12


def test_the_threshold_is_that_of_an_exhaustive_search():
    values = np.random.default_rng(1).normal(size=40)
    ordered = np.sort(values)

    def within(cut):
        groups = values[values < cut], values[values >= cut]
        return sum(g.var() * g.size for g in groups)

    best = min(((a + b) / 2 for a, b in pairwise(ordered)), key=within)
    assert pick_threshold(values).value == pytest.approx(best)
    assert pick_threshold(values).explained == pytest.approx(1 - within(best) / (values.var() * values.size))


@pytest.mark.parametrize("scores", [[], [1.0], [2.0, 2.0], [0.0, float("nan")]])
def test_without_two_scores_there_is_no_threshold(scores):
    with pytest.raises(InputError, match="two different"):
        pick_threshold(scores)


def test_roles_of_tokens():
    roles = [role(State("te.0.mlp", "mlp", 0, token), (2, 4), 6) for token in range(8)]
    assert roles == [
        "before",
        "before",
        "first subject",
        "subject",
        "last subject",
        "after",
        "end",
        "padding",
    ]
    assert role(State("te.0.mlp", "mlp", 0, 2), (2, 2), 3) == "last subject"
    assert role(State("unet.mid.0.ff.0", "ff", 0), (2, 2), 3) == "before"


def test_how_many_states_carry_the_effect():
    assert effective_number(np.ones(7)) == pytest.approx(7)
    assert effective_number(np.array([0.0, 5.0, -9.0])) == pytest.approx(1)
    assert effective_number(np.array([-1.0, 0.0])) == 0
    assert 1 < effective_number(np.array([1.0, 0.1])) < 2
    assert positive_shares(np.array([1.0, 3.0, -4.0])).tolist() == [0.25, 0.75, 0]


def test_sets_of_the_strongest_and_their_overlap():
    effects = np.array([0.1, 0.9, 0.5, -1, 0, 0, 0, 0, 0, 0, 0])
    assert top_set(effects) == {1, 2}
    assert top_set(effects, 0.01) == {1}
    assert jaccard(frozenset({1, 2}), frozenset({2, 3})) == pytest.approx(1 / 3)
    assert jaccard(frozenset(), frozenset()) == 1
