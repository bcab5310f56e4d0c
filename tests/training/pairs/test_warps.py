import numpy as np
import pytest
import torch

from diffwright.training.pairs import warps
from diffwright.training.pairs.warps import Ranges


def rngs(count, seed=0):
    return [np.random.Generator(np.random.PCG64([seed, i])) for i in range(count)]


def points(*rows):
    return torch.tensor(rows, dtype=torch.float32).T[None, :, None]


def test_a_positive_rotation_turns_x_towards_y():
    matrix = torch.from_numpy(np.c_[warps.linear_part(90, 2.0), [0.5, 0]]).float()[None]
    moved = warps.affine(points([1.0, 0.0], [0.0, 1.0]), matrix)[0, :, 0].T
    torch.testing.assert_close(moved, torch.tensor([[0.5, 2.0], [-1.5, 0.0]]))


def test_a_homography_shifts_the_corners_as_told():
    shifts = np.array([[0.1, 0.2], [-0.3, 0], [0.2, -0.1], [0, 0.4]])
    matrix = torch.from_numpy(warps.homography_of_corners(shifts)).float()[None]
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    moved = warps.projective(points(*corners.tolist()), matrix)[0, :, 0].T
    torch.testing.assert_close(moved, torch.from_numpy(corners + shifts).float())


@pytest.mark.parametrize("side", warps.SIDES)
def test_a_spline_moves_its_control_points_as_told(side):
    grid, inverse = warps._spline_system(side)
    shifts = np.random.default_rng(side).uniform(-0.2, 0.2, grid.shape)
    solved = inverse[:, : len(grid)] @ shifts
    most = max(warps.SIDES) ** 2
    controls, weights = np.zeros((1, most, 2)), np.zeros((1, most + 3, 2))
    controls[0, : len(grid)], weights[0, : len(grid)], weights[0, -3:] = grid, solved[:-3], solved[-3:]
    tensors = torch.from_numpy(controls).float(), torch.from_numpy(weights).float()
    moved = warps.splines(points(*grid.tolist()), [side], *tensors)[0, :, 0].T
    torch.testing.assert_close(moved, torch.from_numpy(grid + shifts).float(), atol=1e-4, rtol=0)


def test_maps_do_not_depend_on_which_other_places_are_asked():
    maps = warps.draw(rngs(6))
    every = warps.transport(maps, warps.places_of(16))
    some = warps.transport(maps, warps.places_of(16)[..., 3:5, 7:9])
    torch.testing.assert_close(every[..., 3:5, 7:9], some, atol=1e-5, rtol=1e-5)


def test_the_center_lands_near_the_center():
    maps = warps.draw(rngs(200))
    landed = warps.transport(maps, torch.zeros(1, 2, 1, 1))
    assert float(landed.abs().max()) <= Ranges().shift + 1e-5


def test_rotations_are_small_or_large_in_their_shares():
    degrees = warps.draw(rngs(600)).rotation.abs()
    far = float((degrees > 30).float().mean())
    assert far == pytest.approx(0.3 * 0.85 * 150 / 180, abs=0.06)
    assert float(degrees.max()) > 150
    near = warps.draw(rngs(200), Ranges(far_share=0.0, log_scale=0.5))
    assert float(near.rotation.abs().max()) <= 30
    assert float(near.scale.log().abs().max()) <= 0.5


def test_maps_hardly_ever_fold():
    maps = warps.draw(rngs(60))
    places = warps.transport(maps, warps.places_of(48))
    across, down = places.diff(dim=3)[:, :, :-1], places.diff(dim=2)[..., :-1]
    area = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    assert float((area < 0).float().mean()) < 2e-3


def test_some_pairs_of_a_batch_are_the_same_alone():
    maps = warps.draw(rngs(5))
    places = warps.places_of(8)
    some = warps.transport(warps.select(maps, [3, 1, 3]), places)
    assert torch.allclose(some, warps.transport(maps, places)[[3, 1, 3]], atol=1e-6)
