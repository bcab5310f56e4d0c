import builtins

import numpy as np
import pytest

from diffwright.core.errors import InputError, MissingExtra
from diffwright.editing.masks import check_area, choose
from tests.editing.conftest import box

SIZE = (48, 64)
THING = box(20, 12, 40, 34, SIZE)


@pytest.fixture
def picture():
    out = np.random.default_rng(0).integers(20, 60, (*SIZE, 3)).astype(np.uint8)
    out[THING] = out[THING] // 4 + np.array([180, 40, 40], np.uint8)
    return out


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def test_a_box_and_a_point_find_the_object(picture):
    pytest.importorskip("cv2")
    assert overlap(choose(picture, (15, 8, 46, 40)), THING) > 0.9
    assert overlap(choose(picture, (30, 22)), THING) > 0.9


def test_selection_is_repeatable(picture):
    pytest.importorskip("cv2")
    np.testing.assert_array_equal(choose(picture, (30, 22)), choose(picture, (30, 22)))


def test_a_mask_is_taken_as_it_is(picture):
    np.testing.assert_array_equal(choose(picture, THING), THING)


def test_a_box_over_everything_or_over_nothing_special_is_taken_whole():
    pytest.importorskip("cv2")
    flat = np.full((*SIZE, 3), 90, np.uint8)
    assert choose(flat, (0, 0, 64, 48)).all()
    assert choose(flat, (10, 10, 30, 30)).any()
    assert choose(flat, (10, 10, 12, 30)).sum() == 40


@pytest.mark.parametrize("region", [(1, 2, 3), (5, 5, 5, 9), (70, 2), (0, 0, 99, 10)])
def test_regions_that_mean_nothing_are_refused(picture, region):
    with pytest.raises(InputError):
        choose(picture, region)


def test_without_opencv_the_extra_is_named(picture, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "cv2":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtra, match=r"diffwright\[edit\]"):
        choose(picture, (30, 22))
    np.testing.assert_array_equal(choose(picture, THING), THING)


def test_small_objects_are_told():
    assert check_area(THING, 4.0, 8) is None
    assert "covers 1.0 latent cells" in check_area(box(1, 1, 5, 5), 4.0, 8)
