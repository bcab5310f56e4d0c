import numpy as np
import pytest

from diffwright.core.errors import InputError
from diffwright.matching.pictures import (
    INK,
    UNKNOWN,
    checkerboard,
    confidence_picture,
    flow_picture,
    match_lines,
    overlay,
    wheel,
)


def test_directions_have_the_wheels_colors_and_rest_is_white():
    flow = np.zeros((1, 5, 2), np.float32)
    flow[0, 1:] = [[4, 0], [-4, 0], [0, 4], [0, -4]]
    shown = flow_picture(flow, reach=4.0, legend=False)[0]
    assert shown[0].tolist() == [255, 255, 255]
    assert shown[1].tolist() == [255, 0, 0]
    assert shown[2].tolist() == [0, 255, 255]
    assert shown[3].tolist() == [128, 255, 0]
    assert shown[4].tolist() == [128, 0, 255]
    assert wheel(32).shape == (32, 32, 3)


def test_unknown_flow_is_gray_and_still_flow_needs_no_reach():
    known = np.array([[True, False]])
    shown = flow_picture(np.zeros((1, 2, 2), np.float32), known)
    assert shown[0, 0].tolist() == [255, 255, 255]
    assert tuple(shown[0, 1]) == UNKNOWN
    flow_picture(np.zeros((2, 2, 2), np.float32), np.zeros((2, 2), bool))


def test_the_legend_is_drawn_into_pictures_that_have_room():
    flow = np.zeros((200, 300, 2), np.float32)
    assert (flow_picture(flow) != flow_picture(flow, legend=False)).any()
    small = np.zeros((100, 300, 2), np.float32)
    assert (flow_picture(small) == 255).all()


def test_confidence_runs_from_violet_to_yellow_and_occlusion_darkens():
    confidence = np.array([[0.0, 0.5, 1.0]])
    shown = confidence_picture(confidence)[0]
    assert shown.tolist() == [[68, 1, 84], [33, 145, 140], [253, 231, 37]]
    assert (confidence_picture(confidence, np.ones((1, 3), bool)) < 100).all()


def test_the_checkerboard_alternates_and_the_overlay_is_gray_where_both_agree():
    a, b = np.full((64, 96, 3), 10, np.uint8), np.full((64, 96, 3), 200, np.uint8)
    board = checkerboard(a, b, tiles=4)
    assert board[0, 0, 0] == 10
    assert board[0, 16, 0] == 200
    assert board[16, 16, 0] == 10
    assert (overlay(a, a) == 10).all()
    assert overlay(a, b)[0, 0].tolist() == [10, 200, 200]
    hidden = np.ones((64, 96), bool)
    assert (overlay(a, b, hidden) > 150).all()
    with pytest.raises(InputError, match="of one size"):
        checkerboard(a, b[:32])


def test_match_lines_put_pictures_of_other_sizes_side_by_side():
    a, b = np.full((64, 96, 3), 90, np.uint8), np.full((128, 64, 3), 160, np.uint8)
    points = np.array([[10.0, 20.0], [80.0, 60.0]])
    shown = match_lines(a, b, points, points, np.array([0.2, 1.0]), height=128)
    assert shown.shape == (128, 192 + 16 + 64, 3)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 50
    none = match_lines(a, b, points[:0], points[:0])
    assert none.shape[0] == 360
    assert (none == INK).all(axis=2).any()
    with pytest.raises(InputError, match="matches"):
        match_lines(a, b, points, points[:1])
