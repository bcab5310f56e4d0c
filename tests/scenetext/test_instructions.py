import torch

from diffwright.scenetext.instructions import BUCKETS, GRAMS, tokenize, words


def test_words_signs_and_colors():
    assert words('Write "OPEN" in font: Lato-Bold') == [
        *("Write", '"', "OPEN", '"', "in", "font", ":", "Lato", "-", "Bold")
    ]
    assert words("#12AbCD") == ["#", "12", "ab", "cd"]


def test_numbers_are_stable_and_in_range():
    ids, keep = tokenize(['Write "Ab"', "x", ""])
    assert ids.shape == (3, 5, GRAMS)
    assert keep.sum(1).tolist() == [5, 2, 1]
    assert 0 <= int(ids.min()) <= int(ids.max()) < BUCKETS
    assert ids[0, 1].tolist()[:2] == [1 + 1940789142 % 4095, 1 + 205863623 % 4095]
    assert torch.equal(ids, tokenize(['Write "Ab"', "x", ""])[0])


def test_related_words_share_grams_and_case_is_told():
    ids, _ = tokenize(["greenish", "green", "GREEN"])
    a, b, c = (set(row[1].tolist()) - {0} for row in ids)
    assert len(a & b) >= 4
    assert b != c
    assert len(b & c) == len(b) - 1


def test_a_long_instruction_is_cut():
    ids, keep = tokenize(["word " * 100], 48)
    assert ids.shape[1] == 48
    assert keep.all()
