import pytest
import torch

from diffwright.core.errors import InputError
from diffwright.scenetext.characters import COUNT, encode
from diffwright.scenetext.reading import read, score


class Says(torch.nn.Module):
    """Gives one column a character, and blanks between them."""

    def __init__(self, texts, sure=20.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        ids = torch.zeros(len(texts), 64, dtype=torch.int64)
        for row, found in zip(ids, encode(texts)[0], strict=True):
            inner = found[(found != 3) & (found != 4)]
            row[1 : 1 + 2 * len(inner) : 2] = inner
        self.logits = torch.nn.functional.one_hot(ids, COUNT) * sure

    def forward(self, gray):
        return self.logits.float().log_softmax(-1)


def test_repeated_letters_spaces_and_silence_are_read():
    texts = ["Hello W", "", "aa!"]
    found = read(Says(texts), torch.zeros(3, 3, 32, 128))
    assert [text for text, _ in found] == texts
    assert all(confidence == pytest.approx(1, abs=1e-2) for _, confidence in found)


def test_the_score_tells_right_from_wrong():
    reader = Says(["abc", "abc"], sure=6.0)
    right, wrong = score(reader, torch.zeros(2, 1, 32, 128), ["abc", "abd"]).tolist()
    assert 0 <= wrong < right <= 1
    assert score(reader, torch.zeros(0, 1, 32, 128), []).shape == (0,)
    with pytest.raises(InputError, match="as many"):
        score(reader, torch.zeros(2, 1, 32, 128), ["a"])
    with pytest.raises(InputError, match="shape"):
        read(reader, torch.zeros(2, 3, 16, 128))
