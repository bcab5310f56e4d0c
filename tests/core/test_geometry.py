import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffwright.core.errors import InputError
from diffwright.core.geometry import box_of, check_box, check_points, pixel_grid, resize_flow, warp

SIZE = (24, 32)


def test_points_on_the_picture_pass():
    assert check_points([(0, 0), (31, 23.0)], SIZE) == [(0.0, 0.0), (31.0, 23.0)]


@pytest.mark.parametrize("point", [(32, 0), (0, 24), (-1, 3), (float("nan"), 1), (1,), "ab", None, (1, 2, 3)])
def test_points_off_the_picture_are_refused(point):
    with pytest.raises(InputError):
        check_points([point], SIZE)


@pytest.mark.parametrize(
    "box", [(0, 0, 33, 24), (4, 4, 4, 8), (8, 0, 4, 4), (-1, 0, 4, 4), (0, 0, 4), (0, 0, 4.5, 4)]
)
def test_boxes_off_the_picture_are_refused(box):
    with pytest.raises(InputError):
        check_box(box, SIZE)


@given(st.integers(0, 30), st.integers(0, 22), st.data())
def test_box_of_a_filled_box_is_that_box(x0, y0, data):
    box = (x0, y0, data.draw(st.integers(x0 + 1, 32)), data.draw(st.integers(y0 + 1, 24)))
    mask = np.zeros(SIZE, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    assert box_of(mask) == check_box(box, SIZE) == box


def test_box_of_nothing_is_an_error():
    with pytest.raises(InputError):
        box_of(np.zeros(SIZE, bool))


def test_warp_by_whole_pixels_is_a_shift():
    image = torch.rand(1, 3, *SIZE)
    flow = torch.zeros(1, 2, *SIZE)
    flow[:, 0], flow[:, 1] = 3, -2
    warped, inside = warp(image, flow)
    torch.testing.assert_close(warped[:, :, 2:, :-3], image[:, :, :-2, 3:])
    assert not inside[:, :2].any()
    assert not inside[:, :, -3:].any()
    assert inside[:, 2:, :-3].all()
    assert not warped[:, :, :2].any()


def test_warp_by_zero_is_identity():
    image = torch.rand(2, 5, *SIZE)
    warped, inside = warp(image, torch.zeros(2, 2, *SIZE))
    torch.testing.assert_close(warped, image)
    assert inside.all()


def test_resized_flow_keeps_a_scaling_of_the_plane():
    place = pixel_grid(*SIZE) + 0.5
    big = resize_flow(place * 0.25, (48, 64))
    truth = (pixel_grid(48, 64) + 0.5) * 0.25
    torch.testing.assert_close(big[:, :, 2:-2, 2:-2], truth[:, :, 2:-2, 2:-2], atol=1e-4, rtol=0)


def test_grid_has_x_first():
    grid = pixel_grid(2, 3)
    assert grid[0, 0].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert grid[0, 1].tolist() == [[0, 0, 0], [1, 1, 1]]
