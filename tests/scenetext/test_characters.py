import pytest
import torch

from diffwright.core.errors import InputError
from diffwright.scenetext.characters import BOS, COUNT, EOS, PAD, SPACE, SYMBOLS, UNK, allowed, encode


def test_the_five_special_tokens_and_ninety_five_symbols_are_apart():
    ids, keep = encode([SYMBOLS[:50], SYMBOLS[50:]], 52)
    inner = ids[keep & (ids != BOS) & (ids != EOS)]
    assert len(SYMBOLS) == 95
    assert len(set(inner.tolist())) == 95
    assert {PAD, UNK, BOS, EOS}.isdisjoint(inner.tolist())
    assert int(inner.max()) == COUNT - 1


def test_ends_padding_space_and_unknown():
    ids, keep = encode(["a é", ""], 8)
    assert ids[0].tolist()[:6] == [BOS, ids[0, 1].item(), SPACE, UNK, EOS, PAD]
    assert ids[1].tolist()[:3] == [BOS, EOS, PAD]
    assert keep.sum(1).tolist() == [5, 2]


def test_plain_numbering_is_the_papers():
    ids, keep = encode(["a é"], 6, plain=True)
    assert ids[0, 1:].tolist() == [SPACE] * 5
    assert keep.all()


def test_a_long_text_is_cut_and_keeps_its_end():
    ids, keep = encode(["x" * 40])
    assert ids.shape == (1, 24)
    assert ids[0, -1] == EOS
    assert keep.all()
    assert ids.dtype == torch.int64


@pytest.mark.parametrize("text", ["Open 24h!", "", "a" * 22])
def test_what_can_be_written(text):
    allowed(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [("café", "'é'"), ("a" * 23, "at most 22"), ("  ", "blank"), ("a\nb", "A-Z"), (7, "int")],
)
def test_what_cannot_be_written_says_what_can(text, said):
    with pytest.raises(InputError, match=said):
        allowed(text)
