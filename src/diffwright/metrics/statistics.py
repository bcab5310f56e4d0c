"""How sure a measured figure is: bootstrap intervals, paired comparison, rank correlation. NumPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffwright.core.errors import InputError


@dataclass(frozen=True)
class Interval:
    """A figure with its confidence interval.

    Attributes:
        value: The figure on the sample itself.
        low: Lower end.
        high: Upper end.
        level: Confidence, e.g. 0.95.
    """

    value: float
    low: float
    high: float
    level: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_interval(
    values: ArrayLike, *, level: float = 0.95, repeats: int = 2000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of a mean.

    Args:
        values: N measurements, N >= 1; a share is the mean of zeros and ones.
        level: Confidence in (0, 1).
        repeats: Resamples, at least 1.
        seed: Of the resampling.

    Returns:
        The mean and its interval.

    Raises:
        InputError: No values, a value that is not finite, or a level outside (0, 1).

    Reference:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Example:
        >>> bootstrap_interval([1.0, 1.0, 1.0])
        Interval(value=1.0, low=1.0, high=1.0, level=0.95)
    """
    sample = _vector(values, "values")
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, got {level}")
    draws = np.random.default_rng(seed)
    means = np.array([sample[draws.integers(0, sample.size, sample.size)].mean() for _ in range(repeats)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(sample.mean()), float(low), float(high), level)


def paired_bootstrap(
    ours: ArrayLike, theirs: ArrayLike, *, level: float = 0.95, repeats: int = 2000, seed: int = 0
) -> Interval:
    """Bootstrap the mean difference of two measurements on the same items.

    Args:
        ours: N measurements.
        theirs: N measurements of the same items in the same order.
        level: Confidence in (0, 1).
        repeats: Resamples, at least 1.
        seed: Of the resampling.

    Returns:
        Mean of ``ours - theirs`` with its interval; one that excludes zero is a difference at this level.

    Raises:
        InputError: The lengths differ, or as in :func:`bootstrap_interval`.
    """
    first, second = _pair(ours, theirs)
    return bootstrap_interval(first - second, level=level, repeats=repeats, seed=seed)


def permutation_test(
    ours: ArrayLike, theirs: ArrayLike, *, paired: bool = True, repeats: int = 9999, seed: int = 0
) -> float:
    """Two-sided Monte Carlo permutation test of equal means.

    Args:
        ours: N measurements.
        theirs: M measurements; M = N when paired.
        paired: Whether entry i of both belongs to the same item (signs are flipped, not labels shuffled).
        repeats: Permutations, at least 1.
        seed: Of the permutations.

    Returns:
        The p-value, counting the observed arrangement itself, so never below ``1 / (repeats + 1)``.

    Raises:
        InputError: No values, values that are not finite, or unequal lengths when paired.

    Reference:
        Phipson and Smyth, Permutation p-values should never be zero, 2010.
    """
    draws = np.random.default_rng(seed)
    if paired:
        first, second = _pair(ours, theirs)
        difference = first - second
        observed = abs(difference.mean())
        chance = [
            abs((difference * draws.choice((-1.0, 1.0), difference.size)).mean()) for _ in range(repeats)
        ]
    else:
        first, second = _vector(ours, "ours"), _vector(theirs, "theirs")
        both = np.concatenate([first, second])
        observed = abs(first.mean() - second.mean())
        chance = [_split_gap(draws.permutation(both), first.size) for _ in range(repeats)]
    # Sums in another order differ in the last bits; equal arrangements must count as equal.
    as_large = np.asarray(chance) >= observed * (1 - 1e-12) - 1e-15
    return float((1 + as_large.sum()) / (repeats + 1))


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Rank correlation, ties given their mean rank.

    Args:
        first: N >= 2 measurements.
        second: N measurements of the same items.

    Returns:
        A number in [-1, 1]; NaN when one side is constant, because ranks then say nothing.

    Raises:
        InputError: Unequal lengths, fewer than two items, or values that are not finite.

    Example:
        >>> spearman([1, 2, 3], [10, 40, 90])
        1.0
    """
    a, b = _pair(first, second)
    if a.size < 2:
        raise InputError(f"a rank correlation needs at least two items, got {a.size}")
    rank_a, rank_b = _ranks(a), _ranks(b)
    rank_a, rank_b = rank_a - rank_a.mean(), rank_b - rank_b.mean()
    scale = np.sqrt((rank_a**2).sum() * (rank_b**2).sum())
    return float(np.clip((rank_a * rank_b).sum() / scale, -1, 1)) if scale > 0 else float("nan")


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def _split_gap(both: NDArray[np.float64], size: int) -> float:
    return abs(both[:size].mean() - both[size:].mean())


def _vector(values: ArrayLike, name: str) -> NDArray[np.float64]:
    vector = np.asarray(values, dtype=np.float64).ravel()
    if vector.size == 0 or not np.isfinite(vector).all():
        raise InputError(
            f"{name} must hold at least one number and only finite ones, got {vector.size} values"
        )
    return vector


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = _vector(first, "the first sample"), _vector(second, "the second sample")
    if a.size != b.size:
        raise InputError(f"paired samples must have equal lengths, got {a.size} and {b.size}")
    return a, b
