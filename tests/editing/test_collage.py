import numpy as np
import pytest
import torch

from diffwright.editing.cache import Coded
from diffwright.editing.collage import collage, looked_up
from diffwright.editing.composition import EDGE_CELLS, composed, zone_of
from diffwright.editing.fill import filled
from diffwright.editing.frame import Frame
from diffwright.editing.masks import blurred, grown
from diffwright.editing.operations import Drag, Move, Paste, Remove, Replace
from tests.editing.conftest import SIZE, box, noise_picture, smooth_picture

MASK = box(8, 8, 20, 20)
FRAME = Frame((0, 0, 48, 32), SIZE, (8, 12))


def placed(*operations, size=SIZE):
    return [operation.place(size) for operation in operations]


def test_a_hole_continues_what_surrounds_it():
    picture = smooth_picture()
    broken = picture.copy()
    hole = box(20, 10, 30, 20)
    broken[hole] = 255
    fixed = filled(broken, hole)
    np.testing.assert_array_equal(fixed[~hole], picture[~hole])
    error = fixed[hole].astype(float) - picture[hole]
    assert np.abs(error).mean() < 12


def test_flat_surroundings_give_a_flat_filling_up_to_the_border():
    picture = np.full((20, 23, 3), 77, np.uint8)
    for hole in (box(0, 0, 23, 9, (20, 23)), box(5, 5, 23, 20, (20, 23))):
        broken = np.where(hole[..., None], 0, picture).astype(np.uint8)
        assert np.abs(filled(broken, hole).astype(int) - 77).max() <= 1


def test_no_hole_and_nothing_but_hole_are_left_alone():
    picture = noise_picture()
    np.testing.assert_array_equal(filled(picture, np.zeros(SIZE, bool)), picture)
    np.testing.assert_array_equal(filled(picture, np.ones(SIZE, bool)), picture)


def test_a_moved_object_is_copied_exactly():
    picture = noise_picture()
    out = collage(picture, placed(Move(MASK, (20, 4))))
    np.testing.assert_array_equal(out[12:24, 28:40], picture[8:20, 8:20])
    outside = ~(grown(MASK, 2) | np.roll(MASK, (4, 20), (0, 1)))
    np.testing.assert_array_equal(out[outside], picture[outside])


def test_pasted_dragged_recolored_and_removed():
    picture, other = smooth_picture(), noise_picture(seed=3)
    pasted = collage(picture, placed(Paste(other, MASK, (30.5, 16.5))))
    np.testing.assert_array_equal(pasted[11:23, 25:37], other[8:20, 8:20])
    dragged = collage(picture, placed(Drag(((20.0, 16.0),), ((28.0, 16.0),))))
    np.testing.assert_allclose(dragged[16, 28].astype(int), picture[16, 20].astype(int), atol=2)
    red = np.zeros_like(picture) + np.array([200, 10, 10], np.uint8)
    recolored = collage(picture, placed(Replace(MASK, red, box(2, 2, 12, 12))))
    np.testing.assert_allclose(recolored[MASK].mean(0), (200, 10, 10), atol=1)
    removed = collage(picture, placed(Remove(MASK)))
    assert not np.array_equal(removed, picture)


def test_looking_between_pixels():
    ramp = np.arange(12.0, dtype=np.float32).reshape(3, 4, 1)
    points = np.array([[0.5, 0.0], [1.0, 1.5], [-3.0, 9.0]])
    np.testing.assert_allclose(looked_up(ramp, points)[:, 0], [0.5, 7.0, 8.0])


def test_growing_and_blurring():
    dot = box(5, 5, 6, 6)
    np.testing.assert_array_equal(grown(dot, 2), box(3, 3, 8, 8))
    np.testing.assert_array_equal(grown(dot, 0), dot)
    np.testing.assert_allclose(blurred(np.ones((4, 6), np.float32), 2), 1, rtol=1e-6)
    soft = blurred(dot.astype(np.float32), 1)
    np.testing.assert_allclose(soft[4:7, 4:7], 1 / 9, rtol=1e-6)


def decoded(value=0.0):
    return torch.full((1, 3, *SIZE), value)


def test_pixels_outside_the_feathered_zone_keep_their_bytes():
    picture, placements = noise_picture(), placed(Move(box(4, 4, 10, 10), (8, 0)))
    zone = zone_of(placements, FRAME)
    assert zone.min() == 0
    assert (zone[placements[0].zone] == 1).all()
    assert ((zone > 0) & (zone < 1)).any()
    out = composed(picture, decoded(), FRAME, placements)
    np.testing.assert_array_equal(out[zone == 0], picture[zone == 0])
    np.testing.assert_allclose(out[zone == 1].astype(int), 128, atol=1)
    loose = composed(picture, decoded(), FRAME, placements, keep_outside=False)
    np.testing.assert_allclose(loose.astype(int), 128, atol=1)


def test_a_crop_goes_back_into_the_large_picture():
    size = (100, 140)
    picture = noise_picture(size)
    frame = Frame((40, 20, 88, 52), SIZE, (8, 12))
    placements = placed(Move(box(50, 30, 56, 36, size), (6, 2)), size=size)
    out = composed(picture, decoded(), frame, placements, keep_outside=False)
    assert out.shape == picture.shape
    np.testing.assert_array_equal(out[:20], picture[:20])
    np.testing.assert_allclose(out[20:52, 40:88].astype(int), 128, atol=1)


@pytest.mark.parametrize("box_of_frame", [(0, 0, 48, 32), (8, 4, 40, 28)])
def test_lost_detail_comes_back_with_the_object(box_of_frame):
    picture, mask = noise_picture(), box(14, 10, 20, 16)
    frame = Frame(box_of_frame, SIZE, (8, 12))
    placements = placed(Move(mask, (10, 2)))
    seen = frame.seen(picture)
    made = frame.seen(collage(picture, placements))
    coded = Coded(seen, torch.zeros(1, 4, 8, 12), seen * 0)
    with_nothing = composed(picture, made * 0, frame, placements, coded=coded, keep_outside=False)
    edge = max(1, round(EDGE_CELLS * frame.cell_px))
    kept = frame.cut(~grown(placements[0].zone, edge))
    assert kept.any()
    np.testing.assert_allclose(
        frame.cut(with_nothing)[kept].astype(int), frame.cut(picture)[kept].astype(int), atol=1
    )
    np.testing.assert_allclose(
        with_nothing[12:18, 24:30].astype(int), picture[10:16, 14:20].astype(int), atol=1
    )
    hole = frame.cut(grown(placements[0].zone, edge) & ~placements[0].destination)
    np.testing.assert_allclose(frame.cut(with_nothing)[hole].astype(int), 128, atol=1)
