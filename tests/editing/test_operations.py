import numpy as np
import pytest

from diffwright.core.errors import ConfigError, InputError
from diffwright.editing.collage import collage
from diffwright.editing.operations import Drag, Move, Paste, Remove, Replace, Resize, grid, surroundings
from tests.editing.conftest import SIZE, box, noise_picture


def centroid(mask):
    y, x = np.nonzero(mask)
    return np.array([x.mean(), y.mean()])


@pytest.mark.parametrize("by", [(10, 3), (-7, 0), (0, -4)])
def test_a_move_carries_every_pixel(by):
    mask = box(12, 10, 20, 22)
    p = Move(mask, by).place(SIZE)
    np.testing.assert_array_equal(p.destination, np.roll(mask, (by[1], by[0]), (0, 1)))
    np.testing.assert_array_equal(p.source, mask)
    there = grid(*SIZE)[p.destination]
    np.testing.assert_allclose(p.inverse(there), there - by)
    assert p.off == 0


@pytest.mark.parametrize("scale", [0.4, 0.75, 1.5, 2.0])
def test_a_resize_scales_about_the_middle(scale):
    mask = box(16, 10, 28, 20)
    p = Resize(mask, scale).place(SIZE)
    assert p.destination.sum() == pytest.approx(mask.sum() * scale**2, rel=0.2)
    np.testing.assert_allclose(centroid(p.destination), centroid(mask), atol=0.51)


def test_an_object_partly_off_the_picture_is_cut_not_wrapped():
    p = Move(box(30, 10, 44, 20), (12, 0)).place(SIZE)
    assert p.off == pytest.approx(8 / 14)
    assert not p.destination[:, :40].any()


@pytest.mark.parametrize("by", [(100, 0), (0, -90)])
def test_an_object_wholly_off_the_picture_is_refused(by):
    with pytest.raises(InputError, match="off the picture"):
        Move(box(12, 10, 20, 22), by).place(SIZE)


def test_a_paste_takes_its_object_from_the_reference():
    other, theirs = noise_picture((20, 30), 1), box(4, 6, 12, 14, (20, 30))
    p = Paste(other, theirs, at=(30, 20), scale=1.5).place(SIZE)
    assert not p.source.any()
    np.testing.assert_allclose(centroid(p.destination), (30, 20), atol=0.6)
    np.testing.assert_allclose(p.inverse(np.array([30.0, 20.0])), centroid(theirs))


def test_a_replacement_maps_box_to_box():
    p = Replace(box(10, 10, 20, 30), noise_picture((20, 30)), box(5, 5, 25, 10, (20, 30))).place(SIZE)
    np.testing.assert_allclose(p.inverse(np.array([[9.5, 9.5], [19.5, 29.5]])), [[4.5, 4.5], [24.5, 9.5]])


def test_a_drag_shows_each_start_at_its_end_and_nothing_moves_outside():
    starts, ends = ((12.0, 12.0), (30.0, 20.0)), ((18.0, 12.0), (30.0, 14.0))
    p = Drag(starts, ends).place(SIZE)
    np.testing.assert_allclose(p.inverse(np.array(ends)), starts, atol=0.01)
    outside = grid(*SIZE)[~p.zone]
    np.testing.assert_array_equal(p.inverse(outside), outside)
    assert p.zone[12, 12]
    assert p.zone[14, 30]


def test_a_drag_never_folds():
    p = Drag(((15.0, 16.0),), ((27.0, 16.0),), np.ones(SIZE, bool)).place(SIZE)
    row = p.inverse(np.stack([np.arange(48.0), np.full(48, 16.0)], axis=-1))
    assert (np.diff(row[:, 0]) > 0).all()


def test_surroundings_hold_start_and_end_even_without_a_way():
    assert surroundings([(5.0, 5.0)], [(5.0, 5.0)], SIZE)[5, 5]


def test_a_removal_fills_nothing():
    p = Remove(box(5, 5, 9, 9)).place(SIZE)
    assert not p.destination.any()
    assert p.zone.sum() == 16


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (lambda: Move(np.zeros(SIZE, bool), (1, 1)), "selects nothing"),
        (lambda: Move(np.ones((3, 3), bool), (1, 1)), "picture's size"),
        (lambda: Move(box(1, 1, 5, 5), (float("nan"), 1)), "finite"),
        (lambda: Move(box(1, 1, 5, 5), 3), "two numbers"),
        (lambda: Drag(((1.0, 1.0),), ()), "1 points and 0 targets"),
        (lambda: Drag(((1.0, 1.0),), ((99.0, 1.0),)), "off the picture"),
        (lambda: Drag(((1.0, 1.0), (2.0, 2.0)), ((3.0, 3.0), (3.0, 3.0))), "same target"),
        (lambda: Paste(noise_picture(), np.ones((2, 2), bool), (1, 1)), "reference mask"),
        (lambda: Replace(box(1, 1, 5, 5), "other.png", box(1, 1, 5, 5)), "reference is str"),
        (lambda: Move([[1]], (1, 1)), "mask is a list"),
        (lambda: Paste(noise_picture(), box(1, 1, 5, 5), (900.0, 5.0)), r"paste at \(900, 5\)"),
    ],
)
def test_what_cannot_be_done_is_said(operation, said):
    with pytest.raises(InputError, match=said):
        operation().place(SIZE)


def test_numbers_of_any_kind_are_kept_as_plain_ones():
    assert Move(box(1, 1, 5, 5), np.array([5, 0])).by == (5.0, 0.0)
    assert Paste(noise_picture(), box(1, 1, 5, 5), (np.int64(9), 9)).at == (9.0, 9.0)


def test_what_does_not_move_leaves_no_hole():
    still = Move(box(5, 5, 20, 20), (0, 0)).place(SIZE)
    assert still.still
    np.testing.assert_array_equal(collage(noise_picture(), [still]), noise_picture())
    assert not Move(box(5, 5, 20, 20), (1, 0)).place(SIZE).still
    assert not Resize(np.ones(SIZE, bool), 2.0).place(SIZE).still


@pytest.mark.parametrize("scale", [0, -1, 1000, float("nan")])
def test_scales_out_of_range_are_refused(scale):
    with pytest.raises(ConfigError, match="scale"):
        Resize(box(1, 1, 5, 5), scale).place(SIZE)
