"""How many answers are right, whatever is asked how often."""

from collections.abc import Hashable, Sequence

from diffwright.core.errors import InputError


def macro_accuracy(answers: Sequence[Hashable], truth: Sequence[Hashable]) -> float:
    """Share of right answers to each true value, averaged over the values that occur with equal weight.

    Args:
        answers: N >= 1 values.
        truth: N values that they should be.

    Returns:
        A share in [0, 1].

    Raises:
        InputError: There are no answers, or another number of true values.

    Example:
        >>> macro_accuracy(["red", "red", "red", "red"], ["red", "red", "red", "blue"])
        0.5
    """
    if not answers or len(answers) != len(truth):
        raise InputError(
            f"got {len(answers)} answers to {len(truth)} true values; give as many of each, at least one"
        )
    hits: dict[Hashable, list[bool]] = {}
    for answer, true in zip(answers, truth, strict=True):
        hits.setdefault(true, []).append(answer == true)
    return sum(sum(of_one) / len(of_one) for of_one in hits.values()) / len(hits)
