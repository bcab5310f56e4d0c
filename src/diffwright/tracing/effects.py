"""What restoring a state does: its signed effect, how much it recovers, and which states count as causal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffwright.core.errors import InputError
from diffwright.metrics.statistics import Interval, bootstrap_interval
from diffwright.tracing.states import State

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """One metric for all states, sample by sample; a sample is one seed of noise and picture.

    Attributes:
        clean: of the clean run, (S,).
        corrupted: of the corrupted run, (S,).
        restored: of each restored run, (N, S).
    """

    clean: Array
    corrupted: Array
    restored: Array

    @property
    def total(self) -> Array:
        """What the noise takes away, (S,): clean - corrupted."""
        return self.clean - self.corrupted

    @property
    def signed(self) -> Array:
        """The indirect effect of each state, (N, S): restored - corrupted. Negative where restoring harms."""
        return self.restored - self.corrupted

    @property
    def mean(self) -> Array:
        """The mean effect over the samples, (N,)."""
        return self.signed.mean(axis=1)

    @property
    def recovery(self) -> Array:
        """The share of what was lost that comes back, (N,): mean effect over mean total effect.

        1 is all of it and 0 nothing; NaN where the noise took nothing away.
        """
        lost = self.total.mean()
        scale = abs(self.clean).mean() + abs(self.corrupted).mean()
        if abs(lost) <= 1e-9 * scale:
            return np.full(len(self.restored), np.nan)
        return self.mean / lost

    @property
    def approximation(self) -> Array:
        """The paper's stand-in for the effect, (N,): the restored score alone.

        It ranks states as the mean effect does, because the corrupted score is the same for all of them.
        """
        return self.restored.mean(axis=1)

    @property
    def absolute(self) -> Array:
        """The paper's indirect effect, (N,): mean of |restored - corrupted|, which cannot tell help from harm."""
        return abs(self.signed).mean(axis=1)


@dataclass(frozen=True)
class Effect:
    """The effect of one state on one metric.

    Attributes:
        state: what was restored.
        effect: mean of restored - corrupted, with its interval over the samples.
        recovery: share of the loss that comes back, or NaN.
        restored: mean restored score (the paper's approximation).
    """

    state: State
    effect: Interval
    recovery: float
    restored: float


def strongest(
    states: Sequence[State], scores: Scores, count: int | None = None, level: float = 0.95
) -> list[Effect]:
    """Give the states with the largest mean effects, largest first.

    Args:
        states: N states.
        scores: of these states.
        count: how many; all without it.
        level: confidence of the intervals.
    """
    order = np.argsort(-scores.mean, kind="stable")[:count]
    signed, recovery, restored = scores.signed, scores.recovery, scores.approximation
    return [
        Effect(
            states[number],
            bootstrap_interval(signed[number], level=level, repeats=1000),
            float(recovery[number]),
            float(restored[number]),
        )
        for number in order
    ]


@dataclass(frozen=True)
class Threshold:
    """A score that separates causal states from the others.

    Attributes:
        value: states with a mean restored score above it count as causal.
        explained: share of the scores' variance that the two groups explain, 0 to 1; a low one means that
            there are no two groups.
    """

    value: float
    explained: float


def pick_threshold(scores: Sequence[float] | Array) -> Threshold:
    """Pick the score that separates causal from non-causal states on validation prompts.

    The paper picks a CLIP score by hand on ten prompts an attribute. Here it is the cut that explains most of
    the variance between the two groups, halfway between the scores at both sides of it.

    Args:
        scores: mean restored scores of all states, at least two different ones.

    Raises:
        InputError: there are no two different scores.

    Reference:
        Otsu, A threshold selection method from gray-level histograms, 1979.

    Example:
        >>> pick_threshold([0.1, 0.1, 0.2, 0.9, 1.0]).value
        0.55
    """
    values = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    if values.size < 2 or not np.isfinite(values).all() or values[0] == values[-1]:
        raise InputError(
            f"a threshold needs at least two different finite scores, got {values.size} of which "
            f"{np.unique(values).size} differ; trace more states"
        )
    below = np.arange(1, values.size)
    share = below / values.size
    low = np.cumsum(values)[:-1] / below
    high = (values.sum() - np.cumsum(values)[:-1]) / (values.size - below)
    between = share * (1 - share) * (high - low) ** 2
    between[values[1:] == values[:-1]] = -1  # equal scores belong together
    cut = int(between.argmax())
    return Threshold(float(values[cut : cut + 2].mean()), float(between[cut] / values.var()))


def role(state: State, span: tuple[int, int], end: int) -> str:
    """Name a token by its part in the prompt, so that states of different prompts can be pooled.

    Args:
        state: of a text encoder.
        span: positions of the subject's first and last token.
        end: position of the end token.

    Returns:
        ``subject``, ``last subject``, ``after``, ``end``, ``padding``; ``first subject`` opens a subject of
        several tokens, and ``before`` stands before it.
    """
    first, last = span
    token = -1 if state.token is None else state.token
    if token < first:
        return "before"
    if token == last:
        return "last subject"
    if token <= last:
        return "first subject" if token == first else "subject"
    if token < end:
        return "after"
    return "end" if token == end else "padding"


def positive_shares(effects: Array) -> Array:
    """Give each state's share of all positive effects; zeros where there are none.

    Shapes:
        (N,) -> (N,)
    """
    positive = np.clip(np.asarray(effects, dtype=np.float64), 0, None)
    return positive / positive.sum() if positive.sum() > 0 else positive


def effective_number(effects: Array) -> float:
    """Count how many states carry the positive effects: the exponential of the entropy of their shares.

    One state that has all of it gives 1, N equal ones give N, and no positive effect at all gives 0.

    Example:
        >>> round(effective_number(np.array([1.0, 1.0, 0.0, -3.0])), 6)
        2.0
    """
    shares = positive_shares(effects)
    kept = shares[shares > 0]
    return float(np.exp(-(kept * np.log(kept)).sum())) if kept.size else 0.0


def top_set(effects: Array, share: float = 0.1) -> frozenset[int]:
    """Give the numbers of the states with the largest effects, a share of all, at least one."""
    count = max(1, int(np.ceil(share * len(effects))))
    return frozenset(np.argsort(-np.asarray(effects), kind="stable")[:count].tolist())


def jaccard(first: frozenset[int], second: frozenset[int]) -> float:
    """Measure the overlap of two sets: size of the intersection over that of the union; 1 for two empty ones."""
    union = first | second
    return len(first & second) / len(union) if union else 1.0
