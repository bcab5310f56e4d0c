import numpy as np
import pytest

from diffwright.core.errors import InputError
from diffwright.scenetext.pictures import difference, outlined, selection, sheet
from diffwright.scenetext.region import choose
from tests.support.text_standins import photo


def test_the_selection_darkens_the_rest():
    picture = np.full((60, 80, 3), 200, np.uint8)
    shown = selection(picture, [choose((20, 20, 60, 40), (60, 80))])
    assert (shown[30, 40] == 200).all()
    assert (shown[5, 5] == 100).all()
    assert (shown[18:22, 18:22] == (255, 60, 60)).all(axis=2).any(), "the word's top left"


def test_the_difference_shows_even_one_level():
    before = photo(20, 20) // 2
    after = before.copy()
    after[3, 4, 1] += 1
    after[5, 6] += 100
    shown = difference(before, after)
    assert shown[3, 4, 0] > 30
    assert shown[5, 6, 0] == 255
    assert np.count_nonzero(shown.any(axis=2)) == 2
    with pytest.raises(InputError):
        difference(before, after[1:])


def test_the_sheet_holds_each_strip_unsmoothed():
    strips = [photo(32, 128, k) for k in range(3)]
    page = sheet(strips, ["one", "two", "three"])
    for strip in strips:
        assert any(np.array_equal(page[y : y + 96 : 3, 8:392:3], strip) for y in range(page.shape[0] - 96))


def test_found_words_are_outlined():
    picture = np.zeros((60, 100, 3), np.uint8)
    shown = outlined(picture, [np.array([(10, 20), (50, 20), (50, 40), (10, 40)])], ["1 OPEN"])
    assert (shown[40, 30] == (255, 60, 60)).all()
    assert shown[10, 12].sum() > 300
    assert not picture.any()
