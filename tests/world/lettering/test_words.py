import numpy as np
import pytest

from diffwright.core.errors import ConfigError
from diffwright.world.lettering.words import LETTERS, draw_word, random_word, words


def test_words_are_many_and_split():
    train, test = words("train", (2, 16)), words("test", (2, 16))
    assert len(train) > 9000
    assert len(test) > 900
    assert not set(train) & set(test)
    assert {"open", "sale", "exit"} <= {*train, *test}
    assert all(2 <= len(word) <= 8 and word.isascii() and word.islower() for word in words("test"))
    for length in range(2, 13):
        assert words("test", (length, length))


@pytest.mark.parametrize(
    ("split", "lengths"), [("dev", (2, 8)), ("train", (1, 8)), ("train", (8, 2)), ("test", (2, 17))]
)
def test_odd_requests_are_refused(split, lengths):
    with pytest.raises(ConfigError):
        words(split, lengths)


def test_drawn_words_have_the_lengths_asked_for_in_three_cases():
    rng = np.random.default_rng(0)
    drawn = [draw_word(rng, "train", (1, 12)) for _ in range(400)]
    assert {len(word) for word in drawn} == set(range(1, 13))
    assert any(word.isupper() for word in drawn)
    assert any(word.islower() for word in drawn)
    assert any(word.istitle() and len(word) > 3 for word in drawn)
    assert set(random_word(rng, 500)) <= set(LETTERS)
    assert len(random_word(rng, 9)) == 9
