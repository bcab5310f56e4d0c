import pytest
import torch

from diffwright.core.geometry import pixel_grid
from diffwright.matching.cost import (
    argmax_field,
    cleaned_field,
    dual_softmax,
    global_cost,
    local_cost,
    local_cost_of_features,
    matchability,
    median,
    window_offsets,
)
from diffwright.matching.fields import landing, sample
from tests.support.tiny_match import codes, smooth_codes


def test_places_keep_their_precision_when_costs_are_halved():
    cost = torch.rand(1, 80, 80, 2, 2).bfloat16()
    cost[..., 1, 1] = 2
    field = argmax_field(cost)
    assert field.dtype == torch.float32
    assert torch.equal(field[0, 0, 0], 1 - landing(torch.zeros(1, 2, 80, 80), (2, 2))[0, 0, 0])


def shifted(b, dx, dy):
    """Features of an A whose cell i shows what B's cell i + (dx, dy) shows."""
    return b.roll((-dy, -dx), dims=(2, 3))


def test_equal_features_lead_each_cell_to_itself():
    b = codes(8, 8)
    cost = global_cost([b], [b])
    torch.testing.assert_close(cost.flatten(3).flatten(1, 2).diagonal(dim1=1, dim2=2), torch.ones(1, 64))
    assert not argmax_field(cost).any()
    assert not cleaned_field(dual_softmax(cost, 0.05)).any()


def test_a_translation_is_found_where_it_stays_inside():
    b = codes(8, 10)
    field = argmax_field(global_cost([shifted(b, 2, 1)], [b]))
    assert (field[0, 0, :7, :8] == 2).all()
    assert (field[0, 1, :7, :8] == 1).all()


def test_levels_are_averaged_on_the_grid_of_the_first():
    fine, coarse = codes(8, 8), codes(4, 4, seed=1)
    both = global_cost([fine, coarse], [fine, coarse])
    resized = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear", align_corners=False)
    expected = (global_cost([fine], [fine]) + global_cost([resized], [resized])) / 2
    torch.testing.assert_close(both, expected, atol=1e-5, rtol=1e-5)


def test_cells_outside_a_turned_picture_are_never_chosen():
    a, b = codes(8, 8), codes(12, 12, seed=1)
    inside = torch.zeros(1, 12, 12, dtype=torch.bool)
    inside[:, 3:9, 4:8] = True
    cost = global_cost([a], [b])
    for scores in (dual_softmax(cost, 0.1, inside), cost):
        place = landing(argmax_field(scores, inside), (12, 12)).long()
        assert bool(inside[0, place[0, 1], place[0, 0]].all())
    assert not dual_softmax(cost, 0.1, inside)[0, :, :, 0, 0].any()


def test_the_median_removes_a_wrong_match():
    b = codes(8, 8)
    chance = dual_softmax(global_cost([b], [b]), 0.05)
    chance[0, 4, 4] = 0
    chance[0, 4, 4, 0, 0] = 1
    assert argmax_field(chance)[0, :, 4, 4].tolist() == [-4, -4]
    assert not cleaned_field(chance).any()
    assert median(torch.ones(1, 3, 5, 5)).shape == (1, 3, 5, 5)


def test_matchability_is_high_for_unique_cells_and_low_for_a_blank_picture():
    b = codes(8, 8)
    top, lead = matchability(dual_softmax(global_cost([b], [b]), 0.02))
    assert float(top.min()) > 0.9
    assert float(lead.min()) > 0.9
    blank = torch.ones(1, 4, 8, 8)
    top, lead = matchability(dual_softmax(global_cost([blank], [b[:, :4]]), 0.02))
    assert float(top.max()) < 0.05
    assert float(lead.max()) < 0.05


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.25, -0.5), (-2.0, 1.75)])
def test_the_local_cost_of_the_exact_field_peaks_at_channel_40(shift):
    """The window's center is where the field leads, also between cells."""
    field = torch.tensor(shift)[None, :, None, None].expand(1, 2, 12, 12)
    grid = pixel_grid(12, 12)
    a, b = smooth_codes(grid + field), smooth_codes(grid)
    middle = (slice(None), slice(None), slice(4, 8), slice(4, 8))
    for cost in (local_cost(global_cost([a], [b]), field), local_cost_of_features(a, b, field)):
        assert cost.shape == (1, 81, 12, 12)
        assert (cost[middle].argmax(dim=1) == 40).all()
    assert window_offsets(4, field)[40].tolist() == [0, 0]


def test_channels_run_row_by_row_as_the_offsets_say():
    b = codes(12, 12)
    cost = local_cost(global_cost([shifted(b, 2, -1)], [b]), torch.zeros(1, 2, 12, 12))
    best = cost[:, :, 5:8, 5:8].argmax(dim=1).unique().item()
    assert window_offsets(4, cost)[int(best)].tolist() == [2, -1]


@pytest.mark.parametrize("size_b", [(9, 8), (14, 12)])
def test_both_local_costs_agree_with_plain_bilinear_sampling(size_b):
    draw = torch.Generator().manual_seed(3)
    a, b = codes(9, 8).repeat(2, 1, 1, 1), torch.cat([codes(*size_b, seed=1), codes(*size_b, seed=2)])
    field = torch.randn(2, 2, 9, 8, generator=draw) * 4
    field[0, :, 0, 0] = 1e6
    field[1, :, 0, 0] = float("nan")
    cost = global_cost([a], [b])
    found = local_cost(cost, field, 2)
    torch.testing.assert_close(local_cost_of_features(a, b, field, 2), found, atol=1e-5, rtol=1e-5)
    assert not found[0, :, 0, 0].any()
    place = landing(field, size_b)[:, :, 1:]
    for channel, offset in enumerate(window_offsets(2, field)):
        read = sample(b, place + offset[:, None, None])
        expected = (a[:, :, 1:] * read).sum(dim=1)
        torch.testing.assert_close(found[:, channel, 1:], expected, atol=1e-4, rtol=1e-4)
