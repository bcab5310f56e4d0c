import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from diffwright.core.errors import InputError
from diffwright.metrics.colors import lab
from diffwright.metrics.ink import find_ink, shear_angle, stroke_width
from diffwright.world.lettering.faces import SHIPPED

EVERYWHERE = np.ones((40, 160), bool)


def written(name="DejaVuSans.ttf", ink=(200, 20, 30), ground=(230, 230, 220), text="Hillmill"):
    picture = Image.new("RGB", (160, 40), ground)
    ImageDraw.Draw(picture).text((8, 4), text, ink, ImageFont.truetype(str(SHIPPED / name), 28))
    return np.asarray(picture)


@pytest.mark.parametrize(
    ("ink", "ground"),
    [((200, 20, 30), (230, 230, 220)), ((250, 250, 250), (20, 40, 90)), ((0, 0, 0), (120, 200, 120))],
)
def test_ink_has_the_color_that_it_was_drawn_in(ink, ground):
    found = find_ink(written(ink=ink, ground=ground), EVERYWHERE)
    assert np.linalg.norm(found.lab - lab(np.array(ink, np.uint8))) < 4
    assert 0.05 < found.mask.mean() < 0.5


def test_bold_strokes_are_thicker():
    thin, thick = (
        stroke_width(find_ink(written(name), EVERYWHERE))
        for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
    )
    assert thick > 1.3 * thin


def test_oblique_letters_lean():
    upright, oblique = (
        shear_angle(find_ink(written(name), EVERYWHERE))
        for name in ("DejaVuSans.ttf", "DejaVuSans-Oblique.ttf")
    )
    assert abs(upright) <= 2
    assert 8 <= oblique <= 15


def test_an_even_region_has_no_strokes():
    even = find_ink(np.full((10, 10, 3), 90, np.uint8), np.ones((10, 10), bool))
    assert stroke_width(even) == 0
    assert shear_angle(even) == 0


def test_a_region_of_a_few_pixels_is_refused():
    with pytest.raises(InputError, match="pixels"):
        find_ink(written(), np.zeros_like(EVERYWHERE))
