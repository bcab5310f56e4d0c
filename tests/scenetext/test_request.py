import pytest
import torch

from diffwright.core.errors import ConfigError, InputError
from diffwright.scenetext.dual import Conditions
from diffwright.scenetext.request import Mixture, request


class Model:
    """Tells each instruction as its words' lengths."""

    scheduler = "its own"

    def encode(self, texts, sentences):
        rows = [[float(len(word)) for word in (said or " ").split(" ")] for said in sentences]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0.0] * (longest - len(row)) for row in rows])
        keep = torch.tensor([[k < len(row) for k in range(longest)] for row in rows])
        return Conditions(ids[..., None], keep, characters=torch.ones(len(texts), 2, 1))


def mixture(first, second, weight):
    found = Mixture(Model(), [second], weight).encode(["A"], [first])
    return found.instruction[0, :, 0].tolist(), found.instruction_keep[0].tolist()


def test_a_mixture_is_the_weighted_mean_of_two_instructions():
    assert mixture("aa bbbb", "aa bb", 0.25) == ([2.0, 3.5], [True, True])
    assert mixture("aa bbbb", "cccc dd", 0.0)[0] == [2.0, 4.0]
    assert mixture("aa bbbb", "cccc dd", 1.0)[0] == [4.0, 2.0]


def test_a_word_of_one_instruction_alone_keeps_its_meaning():
    assert mixture("aa", "aa bbb", 0.25) == ([2.0, 3.0], [True, True])
    assert mixture("aa bbb", "aa", 0.25) == ([2.0, 3.0], [True, True])
    assert mixture("aa", "aa bbb", 0.0)[1] == [True, False], "of no weight, it is not there"


def test_nothing_is_mixed_into_no_instruction():
    model = Mixture(Model(), ["aa bb"], 0.5)
    assert model.encode(["A"], [None]).instruction.shape[1] == 2
    assert model.scheduler == "its own"


def test_characters_stay_those_of_the_first():
    assert Mixture(Model(), ["aa"], 0.5).encode(["A"], ["bb"]).characters.shape == (1, 2, 1)


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
