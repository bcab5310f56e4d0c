import numpy as np
import pytest

from diffwright.core.errors import InputError
from diffwright.viz.strips import Look, sheet, strip

FLAT = Look(gap=10, at_least=64)


def picture(level, side=16):
    return np.full((side, side, 3), level, np.uint8)


def test_a_strip_shows_every_pixel_enlarged_by_a_whole_number():
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    page = np.asarray(strip([picture(0), noise], look=FLAT))
    assert page.shape == (84, 10 + 2 * 74, 3)
    assert (page[10:74, 84:148] == noise.repeat(4, 0).repeat(4, 1)).all()
    assert (page[:10] == FLAT.paper).all()


def test_a_sheet_fills_rows_and_leaves_the_rest_blank():
    page = np.asarray(sheet([picture(i) for i in (1, 2, 3)], columns=2, look=FLAT))
    assert page.shape == (10 + 2 * 74, 10 + 2 * 74, 3)
    assert page[94, 20].tolist() == [3, 3, 3]
    assert (page[84:148, 84:148] == FLAT.paper).all()


def test_labels_and_title_are_drawn_below_and_above():
    bare = sheet([picture(0)] * 2, look=FLAT)
    said = sheet([picture(0)] * 2, ["a red mug", "a word that is long enough to wrap"], look=FLAT)
    titled = sheet([picture(0)] * 2, title="before and after", look=FLAT)
    assert said.height > bare.height + 30
    assert (np.asarray(said)[80:] != FLAT.paper).any()
    assert titled.height > bare.height
    assert (np.asarray(titled)[8:30] != FLAT.paper).any()


@pytest.mark.parametrize(
    ("images", "labels"),
    [([], []), ([picture(0), picture(0, 8)], []), ([picture(0)], ["a", "b"]), ([np.zeros((4, 4, 3))], [])],
)
def test_unusable_sheets_are_refused(images, labels):
    with pytest.raises(InputError):
        strip(images, labels)
