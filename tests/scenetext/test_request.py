import pytest

from diffwright.core.errors import ConfigError, InputError
from diffwright.scenetext.request import request


def test_half_and_half_is_said_in_words():
    asked = request("OPEN", "Lato", "teal", mix=("karla", 0.5))
    assert asked.sentence == 'Write "OPEN" in font: Lato and Karla and color: teal'
    assert asked.other is None
    other = request("OPEN", "Lato", "teal", mix=("karla", 0.75))
    assert other.other == 'Write "OPEN" in font: Karla and color: teal'
    assert other.weight == 0.75


@pytest.mark.parametrize("text", ["", "A", "A" * 22, "it's 24h!"])
def test_words_that_can_be_written(text):
    assert request(text).sentence == f'Write "{text}"'


@pytest.mark.parametrize(
    ("named", "error", "said"),
    [
        ({"font": "A" * 101}, InputError, "at most 100"),
        ({"font": "Latoo Sans Whatever"}, ConfigError, "close to it"),
        ({"color": "octarine"}, ConfigError, "octarine"),
        ({"instruction": "x" * 1001}, InputError, "at most 1000"),
        ({"instruction": "x", "mix": ("Karla", 0.5)}, ConfigError, "instruction and mix"),
        ({"font": "Lato", "mix": ("Karla", float("nan"))}, ConfigError, "weight of mix"),
        ({"font": "Lato", "mix": (3, 0.5)}, ConfigError, "another font"),
    ],
)
def test_contradictions_are_told(named, error, said):
    with pytest.raises(error, match=said):
        request("OPEN", **named)
