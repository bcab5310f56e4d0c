import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffwright.core.errors import InputError
from diffwright.core.images import to_pil
from diffwright.scenetext.region import choose, put_back, strip_mask, strip_of
from tests.support.text_standins import photo

SIZE = (80, 120)


def smooth(height=120, width=200, seed=0):
    """A picture that a strip can hold without loss."""
    coarse = photo(height // 20, width // 20, seed)
    return np.asarray(to_pil(coarse).resize((width, height), Image.Resampling.BICUBIC))


def turned(cx, cy, width, height, degrees):
    """Corners of a turned box, clockwise from its top left."""
    u = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    v = np.array([-u[1], u[0]])
    signs = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return [tuple(np.array([cx, cy]) + a * width / 2 * u + b * height / 2 * v) for a, b in signs]


def test_a_box_selects_its_pixels_and_no_other():
    region = choose((10, 20, 60, 40), SIZE)
    assert region.size == (20, 50)
    assert region.mask.sum() == 20 * 50
    assert region.mask[20:40, 10:60].all()


def test_a_box_as_polygon_selects_the_same_pixels():
    box = choose((10, 20, 60, 40), SIZE)
    polygon = choose([(9.5, 19.5), (59.5, 19.5), (59.5, 39.5), (9.5, 39.5)], SIZE)
    np.testing.assert_array_equal(polygon.mask, box.mask)
    np.testing.assert_allclose(polygon.corners, box.corners)


@pytest.mark.parametrize("make", [np.array, torch.tensor, tuple, lambda p: [list(map(float, q)) for q in p]])
def test_polygons_come_in_many_shapes(make):
    region = choose(make(turned(60, 40, 60, 20, 30)), SIZE)
    assert region.size == pytest.approx((20, 60), abs=0.01)
    assert region.mask.sum() == pytest.approx(1200, rel=0.02)


@pytest.mark.parametrize(
    "make", [np.array, np.float32, np.uint8, torch.tensor, lambda b: torch.tensor(b).float()]
)
def test_boxes_come_in_many_shapes(make):
    region = choose(make([10, 20, 60, 40]), SIZE)
    np.testing.assert_array_equal(region.mask, choose((10, 20, 60, 40), SIZE).mask)
    assert region.size == (20, 50)


@pytest.mark.parametrize("make", [np.asarray, to_pil, torch.from_numpy])
def test_masks_come_in_many_shapes(make):
    mask = np.zeros(SIZE, np.uint8)
    mask[20:40, 10:60] = 255
    region = choose(make(mask), SIZE)
    np.testing.assert_allclose(region.corners, choose((10, 20, 60, 40), SIZE).corners)


@pytest.mark.parametrize("degrees", [-80, -40, -20, 10, 44, 60, 85])
def test_the_box_around_a_mask_follows_the_word(degrees):
    corners = turned(60, 60, 70, 18, degrees)
    region = choose(choose(corners, (120, 120)).mask, (120, 120))
    assert region.size == pytest.approx((18, 70), abs=2)
    along = region.corners[1] - region.corners[0]
    assert math.degrees(math.atan2(along[1], along[0])) == pytest.approx(degrees, abs=3)


def test_a_nearly_square_mask_is_read_level():
    region = choose(choose(turned(40, 40, 30, 36, 20), SIZE).mask, SIZE)
    along = region.corners[1] - region.corners[0]
    assert math.degrees(math.atan2(along[1], along[0])) == pytest.approx(20, abs=4)


def test_an_l_shaped_polygon_keeps_its_notch():
    region = choose([(10, 10), (70, 10), (70, 30), (40, 30), (40, 50), (10, 50)], SIZE)
    assert region.mask[40, 20]
    assert not region.mask[40, 60]
    assert region.size == pytest.approx((40, 60))


REGIONS = {
    "box": (30, 30, 150, 60),
    "small box": (30, 30, 52, 40),
    "turned": turned(100, 60, 110, 30, 25),
    "upside down": turned(100, 60, 110, 30, 180),
    "perspective": [(30, 30), (160, 15), (165, 95), (35, 70)],
    "polygon": [(40, 40), (90, 30), (150, 50), (140, 80), (60, 85)],
}


@pytest.mark.parametrize("name", REGIONS)
def test_what_is_taken_out_and_put_back_is_the_same(name):
    picture = smooth()
    region = choose(REGIONS[name], picture.shape[:2])
    back = put_back(picture, strip_of(picture, region), region).astype(int)
    assert np.abs(back - picture)[region.mask].mean() < 2.5


def test_the_strip_stands_upright():
    """The mark at the word's top left comes to the strip's top left, wherever the region is turned."""
    for degrees in (0, 35, 90, 180, -70):
        picture = np.zeros((160, 160, 3), np.uint8)
        corners = turned(80, 80, 100, 24, degrees)
        first, across, down = (np.array(corners[k]) for k in (0, 1, 3))
        x, y = (first + 0.06 * (across - first) + 0.25 * (down - first)).round().astype(int)
        picture[y - 2 : y + 3, x - 2 : x + 3] = 255
        strip = strip_of(picture, choose(corners, (160, 160)))[..., 0].astype(float)
        rows, columns = np.nonzero(strip > 60)
        assert 4 <= rows.mean() <= 16
        assert columns.mean() <= 30


def test_the_mask_on_the_strip_is_the_region():
    wide = strip_mask(choose((10, 10, 110, 30), SIZE))
    assert wide[4:28, 4:124].all()
    assert wide.sum() == 24 * 120
    narrow = strip_mask(choose((50, 10, 70, 30), SIZE))
    assert narrow.sum() == pytest.approx(24 * 24, rel=0.1)
    for degrees in (0, 20, -65):
        straight = strip_mask(choose(turned(60, 40, 50, 16, degrees), SIZE))
        rows, columns = np.nonzero(straight)
        assert straight[rows.min() + 1 : rows.max(), columns.min() + 1 : columns.max()].all()


def test_a_fine_pattern_is_averaged_and_not_aliased():
    picture = np.zeros((400, 1600, 3), np.uint8)
    picture[::2, ::2] = picture[1::2, 1::2] = 255
    strip = strip_of(picture, choose((100, 50, 1500, 350), picture.shape[:2]))
    assert np.abs(strip.astype(int) - 127).max() <= 8


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(16, 90), st.integers(16, 90),
    st.sampled_from(["box", "turned", "mask"]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_what_lies_outside_keeps_its_bytes(height, width, kind, seed):
    rng = np.random.default_rng(seed)
    picture, strip = photo(height, width, seed), photo(32, 128, seed + 1)
    if kind == "box":
        x0, y0 = rng.integers(0, width - 8), rng.integers(0, height - 8)
        given_region = (x0, y0, rng.integers(x0 + 8, width + 1), rng.integers(y0 + 8, height + 1))
    elif kind == "turned":
        reach = min(height, width) - 2
        given_region = turned(width / 2, height / 2, 0.7 * reach, 0.6 * reach, float(rng.uniform(-180, 180)))
    else:
        given_region = rng.random((height, width)) < rng.uniform(0.2, 1)
    try:
        region = choose(given_region, (height, width))
    except InputError:
        return
    out = put_back(picture, strip, region)
    assert out.shape == picture.shape
    np.testing.assert_array_equal(out[~region.mask], picture[~region.mask])


def test_deep_inside_the_strip_shows_fully():
    picture, white = np.zeros((*SIZE, 3), np.uint8), np.full((32, 128, 3), 255, np.uint8)
    region = choose((10, 20, 110, 60), SIZE)
    out = put_back(picture, white, region)
    assert (out[24:56, 14:106] == 255).all()
    assert out[20, 60, 0] < 255, "the edge is feathered"
    touching = put_back(picture, white, choose((0, 0, 120, 80), SIZE))
    assert (touching == 255).all(), "the picture's border is no edge of the region"


def test_what_did_not_change_keeps_its_finer_content():
    picture = photo(80, 300)
    region = choose((20, 20, 220, 60), picture.shape[:2])
    known = strip_of(picture, region)
    np.testing.assert_array_equal(put_back(picture, known, region, known), picture)
    written = known.copy()
    written[:, :64] = 255 - known[:, :64] // 2
    out = put_back(picture, written, region, known)
    np.testing.assert_array_equal(out[:, 130:], picture[:, 130:])
    assert (out[30:50, 40:100] != picture[30:50, 40:100]).any(axis=2).mean() > 0.9


def test_very_large_regions_work():
    picture = np.zeros((900, 2600, 3), np.uint8)
    region = choose((20, 20, 2560, 880), picture.shape[:2])
    out = put_back(picture, np.full((32, 128, 3), 200, np.uint8), region)
    assert out[450, 1300, 0] == 200


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ((10, 10, 10, 30), "is empty or leaves"),
        ((100, 10, 140, 30), "leaves the picture"),
        ((10, 10, 12, 30), "too small"),
        ((10, 10, 30), "expected a box"),
        ((10.5, 10, 40, 30), "whole numbers"),
        ((float("nan"), 10, 40, 30), "finite"),
        ((float("inf"), 10, 40, 30), "finite"),
        ([(10, 10), (40, 10)], "expected a box"),
        ([(10, 10), (40, 10), (40, "x")], "expected a box"),
        ([(10, 10), (400, 10), (40, 30), (10, 30)], "off the picture of 120 x 80"),
        ([(10, 10), (10, 30), (40, 30), (40, 10)], "counterclockwise"),
        ([(10, 10), (40, 30), (40, 10), (10, 30)], "convex"),
        ([(10, 10), (40, 10), (70, 10), (10, 30)], "convex"),
        ([(0, 30), (100, 0), (100, 79), (0, 33)], "perspective"),
        ([(10, 10), (40, 10), (70, 10)], "too small"),
        (np.array([10, 10, 30]), "expected a box"),
        (np.array([10.5, 10, 40, 30]), "whole numbers"),
        (np.array([10, 10, 40, None]), "expected a box|finite"),
        (torch.tensor([10, 10, float("nan"), 30]), "finite"),
        (torch.tensor([[10, 10], [40, 10]]), "expected a box"),
        (torch.tensor([10, 10, 400, 30]), "leaves the picture"),
        (np.ones(4, bool), "expected bool or uint8"),
        (np.array(7), "expected bool or uint8"),
        (np.zeros(SIZE, bool), "selects nothing"),
        (np.ones((10, 10), bool), "picture's size"),
        (np.eye(*SIZE, dtype=bool)[:, ::-1] & False, "selects nothing"),
        ("nowhere.png", "not a file"),
        (None, "no picture"),
        (7, "no picture"),
    ],
)
def test_bad_regions_say_what_is_allowed(region, said):
    with pytest.raises(InputError, match=said):
        choose(region, SIZE)
