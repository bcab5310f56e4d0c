import pytest

from diffwright.core.errors import InputError
from diffwright.metrics.accuracy import macro_accuracy


def test_each_true_value_weighs_equally():
    assert macro_accuracy(["red"] * 10, ["red"] * 9 + ["blue"]) == 0.5
    assert macro_accuracy([1, 2, 0, 3], [1, 2, 3, 3]) == pytest.approx((1 + 1 + 0.5) / 3)
    assert macro_accuracy(["gold"], ["red"]) == 0, (
        "an answer that is never true is a value of its own for nothing"
    )


@pytest.mark.parametrize(("answers", "truth"), [([], []), (["red"], ["red", "red"])])
def test_nothing_to_compare_is_refused(answers, truth):
    with pytest.raises(InputError, match="as many of each"):
        macro_accuracy(answers, truth)
