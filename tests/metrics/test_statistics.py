import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diffwright.core.errors import InputError
from diffwright.metrics.statistics import bootstrap_interval, paired_bootstrap, permutation_test, spearman


def test_bootstrap_covers_the_true_mean_about_as_often_as_it_says():
    draws = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        interval = bootstrap_interval(draws.normal(3, 1, 60), level=0.9, repeats=300, seed=trial)
        hits += interval.low <= 3 <= interval.high
    assert 165 <= hits <= 195


def test_bootstrap_is_reproducible_and_brackets_its_value():
    values = np.random.default_rng(1).random(50)
    first, second = bootstrap_interval(values), bootstrap_interval(values)
    assert first == second
    assert first.low < first.value < first.high
    assert str(first).startswith(f"{first.value:.3f} [")


def test_pairing_removes_what_the_items_share():
    draws = np.random.default_rng(2)
    hardness = draws.normal(0, 10, 40)
    gap = paired_bootstrap(hardness + 1 + draws.normal(0, 0.1, 40), hardness)
    assert 0.9 < gap.low < gap.high < 1.1


@pytest.mark.parametrize("paired", [True, False])
def test_permutation_test_agrees_with_the_t_test_in_kind(paired):
    draws = np.random.default_rng(3)
    same, other = draws.normal(0, 1, 40), draws.normal(0, 1, 40)
    assert permutation_test(same, other + 3, paired=paired, repeats=999) == pytest.approx(0.001)
    reference = stats.ttest_rel(same, other) if paired else stats.ttest_ind(same, other)
    assert permutation_test(same, other, paired=paired, repeats=4999) == pytest.approx(
        reference.pvalue, abs=0.04
    )


def test_permutation_test_of_equal_samples_is_one():
    assert permutation_test([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], repeats=99) == 1.0


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=30))
@settings(max_examples=60, deadline=None)
def test_spearman_matches_scipy_with_ties(pairs):
    a, b = np.array(pairs, dtype=float).T
    ours = spearman(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: bootstrap_interval([]),
        lambda: bootstrap_interval([1.0, float("nan")]),
        lambda: bootstrap_interval([1.0], level=95),
        lambda: paired_bootstrap([1.0, 2.0], [1.0]),
        lambda: permutation_test([1.0], [1.0, 2.0]),
        lambda: spearman([1.0], [1.0]),
    ],
)
def test_unusable_samples_are_refused(call):
    with pytest.raises(InputError):
        call()
