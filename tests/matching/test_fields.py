import math

import pytest
import torch

from diffwright.core.geometry import pixel_grid
from diffwright.matching.fields import (
    compose,
    field_of_flow,
    flow_of_field,
    inside,
    landing,
    resize_field,
    round_trip_error,
    sample,
    spread_known,
)
from tests.support.tiny_match import affine_field

TURN = [[math.cos(2.0), -math.sin(2.0)], [math.sin(2.0), math.cos(2.0)]]


@pytest.mark.parametrize(("small", "large"), [((8, 8), (64, 64)), ((8, 6), (50, 33)), ((5, 7), (16, 9))])
def test_an_affine_field_is_resized_exactly_up_to_the_borders(small, large):
    factor = torch.tensor([small[1] / large[1], small[0] / large[0]])
    matrix = torch.tensor(TURN) * factor[:, None] / factor
    coarse = affine_field(*small, matrix, (1.5, -0.5))
    fine = affine_field(*large, TURN, (1.5 / float(factor[0]), -0.5 / float(factor[1])))
    torch.testing.assert_close(resize_field(coarse, large), fine, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(resize_field(fine, small), coarse, atol=1e-3, rtol=1e-4)


def test_a_grid_of_one_cell_is_resized_too():
    field = torch.tensor([1.0, -2.0]).reshape(1, 2, 1, 1)
    assert resize_field(field, (4, 2))[0, :, 3, 1].tolist() == [2.0, -8.0]


def test_sampling_reads_cells_and_between_them_and_zero_outside():
    values = torch.arange(12.0).reshape(1, 1, 3, 4)
    torch.testing.assert_close(sample(values, pixel_grid(3, 4)), values, atol=1e-5, rtol=0)
    places = torch.tensor([[0.5, 1.0], [-3.0, 0.0]]).T.reshape(1, 2, 1, 2)
    torch.testing.assert_close(sample(values, places).flatten(), torch.tensor([4.5, 0.0]))


def test_flow_and_field_of_pictures_of_other_sizes_agree():
    """B is twice as wide as A and as high: the same place in both pictures is a field of zero."""
    size_a, size_b = (32, 48), (32, 96)
    flow = flow_of_field(torch.zeros(1, 2, 8, 8), size_a, size_b)
    place = pixel_grid(*size_a) + flow
    torch.testing.assert_close((place[0, 0] + 0.5) / 96, (pixel_grid(*size_a)[0, 0] + 0.5) / 48)
    torch.testing.assert_close(place[0, 1], pixel_grid(*size_a)[0, 1])
    torch.testing.assert_close(
        field_of_flow(flow, (8, 8), size_b), torch.zeros(1, 2, 8, 8), atol=1e-4, rtol=0
    )


def test_a_shift_keeps_its_length_in_pixels():
    flow = torch.tensor([12.0, -4.0])[None, :, None, None].expand(1, 2, 64, 64)
    field = field_of_flow(flow, (8, 8))
    torch.testing.assert_close(field[0, :, 3, 3], torch.tensor([1.5, -0.5]))
    torch.testing.assert_close(flow_of_field(field, (64, 64)), flow, atol=1e-5, rtol=0)


def test_a_field_and_its_inverse_lead_back():
    there = affine_field(16, 16, [[0.8, -0.2], [0.2, 0.8]])
    back = affine_field(16, 16, torch.tensor([[0.8, -0.2], [0.2, 0.8]]).inverse())
    assert float(round_trip_error(there, back).max()) < 1e-4
    assert float(round_trip_error(there, torch.zeros(1, 2, 16, 16)).max()) > 1
    torch.testing.assert_close(compose(there, torch.zeros(1, 2, 16, 16)), there)


def test_grids_of_two_sizes_are_centered_on_one_another():
    zero = torch.zeros(1, 2, 8, 8)
    assert landing(zero, (12, 16))[0, :, 0, 0].tolist() == [4.0, 2.0]
    assert inside(zero + 6, (12, 16)).float().mean() < 1
    assert bool(inside(zero, (8, 8)).all())
    assert not bool(inside(zero + 8, (8, 8)).any())


def test_sparse_flow_reaches_every_cell_that_knows_a_pixel():
    flow = torch.full((1, 2, 32, 32), float("nan"))
    flow[:, :, 3::8, 5::8] = torch.tensor([4.0, -2.0])[:, None, None]
    filled = spread_known(flow, (4, 4))
    assert bool(filled.isfinite().all())
    assert torch.equal(filled[0, :, 0, 0], torch.tensor([4.0, -2.0]))
    flow[:, :, :8, :8] = float("nan")
    filled = spread_known(flow, (4, 4))
    assert bool(filled[..., :8, :8].isnan().all())
    assert bool(filled[..., 8:, :].isfinite().all())
