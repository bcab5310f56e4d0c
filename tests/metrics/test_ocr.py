import sys

import numpy as np
import pytest

from diffwright.core.errors import InputError, MissingExtra
from diffwright.metrics import ocr


@pytest.mark.parametrize(
    ("read", "truth", "right"),
    [("open", "OPEN", True), ("OPEN!", "open", True), ("0pen", "open", False), ("", "open", False), ("", "", True),
     ("!?", "!?", True), ("x", "!?", False), ("名", "on", False), ("oñ", "on", False)],
)  # fmt: skip
def test_sameness_looks_past_case_and_marks_alone(read, truth, right):
    assert ocr.same(read, truth) is right


def test_distance_counts_single_changes():
    assert ocr.edit_distance("", "abc") == 3
    assert ocr.edit_distance("abc", "abc") == 0
    assert ocr.edit_distance("flaw", "lawn") == 2
    assert ocr.likeness("", "") == 1
    assert ocr.likeness("abcd", "") == 0
    assert ocr.likeness("abc", "ABD") == pytest.approx(2 / 3)


def test_wilson_interval_covers_the_share_and_stays_inside():
    for right, count in ((0, 5), (5, 5), (30, 100)):
        interval = ocr.wilson(right, count)
        assert 0 <= interval.low <= interval.value <= interval.high <= 1
        assert interval.value == right / count
    with pytest.raises(InputError, match="share"):
        ocr.wilson(3, 2)


def test_misspellings_differ_by_one_change():
    rng = np.random.default_rng(1)
    for word in ("cat", "coffee", "parking", "aaab"):
        for _ in range(20):
            wrong = ocr.misspelled(word, rng)
            assert wrong != word
            assert ocr.edit_distance(word, wrong) <= 2
            assert wrong[0] == word[0]
    with pytest.raises(InputError, match="short"):
        ocr.misspelled("ab", rng)


@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(InputError, match="uint8"):
        ocr.enlarged(picture, 2)


def test_without_the_packages_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    ocr._rapid.cache_clear()
    with pytest.raises(MissingExtra, match="pip install"):
        ocr.RapidJudge()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingExtra, match="tesseract"):
        ocr.TesseractJudge()
