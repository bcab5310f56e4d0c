import math

import pytest
import torch
import torch.nn.functional as F

from diffwright.matching.nets import Features
from diffwright.training.pairs.losses import (
    coarse_nll,
    field_loss,
    fine_nll,
    perturbed,
    truth_in_cells,
)


def generator():
    return torch.Generator().manual_seed(0)


def shifted(dx, dy, size=64):
    """Constant flow, and where it stays inside."""
    flow = torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(1, 2, size, size).clone()
    x = torch.arange(size) + dx
    y = torch.arange(size) + dy
    inside = ((y >= 0) & (y < size))[:, None] & ((x >= 0) & (x < size))[None]
    return flow, inside[None]


def codes(cells, dim=128):
    """One random code a cell, far apart."""
    return F.normalize(torch.randn(1, dim, cells, cells, generator=generator()), dim=1)


def moved(cells, dx, dy, dim=128):
    """Codes of A, and of B where they are shifted by (dx, dy) cells and new ones come in."""
    wide = codes(cells + 16, dim)
    a, b = (wide[..., 8 - y : 8 - y + cells, 8 - x : 8 - x + cells] for x, y in ((0, 0), (dx, dy)))
    return a, b


def test_truth_is_in_cells_and_keeps_off_edges():
    flow, visible = shifted(16, -8)
    flow[..., 32:] += 40
    field, seen = truth_in_cells(flow, visible, 8)
    assert field[0, :, 4, 1].tolist() == [2, -1]
    assert seen[0, 2, 0]
    assert not seen[0, 0, 0]
    flow[..., 33:] += 40
    assert not truth_in_cells(flow, torch.ones_like(visible), 2)[1][0, 5, 16]


def test_right_features_have_a_small_coarse_loss_and_wrong_ones_a_large_one():
    flow, visible = shifted(16, 8)
    heat, dustbin = torch.tensor(0.05), torch.tensor(0.5)
    a, b = (Features((level,)) for level in moved(8, 2, 1))
    loss, hits = coarse_nll(a, b, flow, visible, heat, dustbin, generator())
    assert hits == 1
    assert loss < 0.1
    wrong, misses = coarse_nll(a, Features((codes(8).flip(1),)), flow, visible, heat, dustbin, generator())
    assert wrong > 3
    assert misses < 0.6


def test_a_place_between_cells_is_shared_by_its_neighbours():
    level = codes(8, 2048)
    flow, visible = shifted(4, 0)[0], torch.ones(1, 64, 64, dtype=torch.bool)
    b = F.normalize(level + level.roll(1, 3), dim=1)
    loss, _ = coarse_nll(
        Features((level,)), Features((b,)), flow, visible, torch.tensor(0.02), torch.tensor(0.3), generator()
    )
    assert float(loss) == pytest.approx(math.log(2), abs=0.25)


def test_right_fine_features_find_the_place():
    flow, visible = shifted(6, -4)
    level, b = moved(32, 3, -2, 24)
    loss, hits = fine_nll(level, b, flow, visible, torch.tensor(0.02), 4, generator())
    assert hits > 0.99
    assert loss < 0.05
    chance, _ = fine_nll(level, level.flip(1), flow, visible, torch.tensor(1.0), 4, generator())
    assert float(chance) == pytest.approx(math.log(81), abs=0.5)


def test_b_may_lie_on_a_larger_canvas():
    flow, visible = shifted(8, 0)
    level, b = moved(8, 1, 0)
    canvas = F.pad(b, (2, 2, 2, 2))
    inside = F.pad(torch.ones(1, 8, 8, dtype=torch.bool), (2, 2, 2, 2))
    b = Features((canvas,), None, inside)
    loss, hits = coarse_nll(
        Features((level,)), b, flow, visible, torch.tensor(0.05), torch.tensor(0.5), generator()
    )
    assert hits == 1
    assert loss < 0.1
    half = inside.clone()
    half[:, :, 7:] = False  # of a landing between two cells only one may be left
    loss, _ = coarse_nll(
        Features((level,)), Features((canvas,), None, half), flow + torch.tensor([2.0, 0]).view(1, 2, 1, 1), visible,
        torch.tensor(0.05), torch.tensor(0.5), generator(),
    )  # fmt: skip
    assert loss < 15


def test_the_true_field_has_no_loss_but_the_likelihood():
    flow, visible = shifted(5, -3)
    field = (flow / 8)[..., ::8, ::8]
    loss, figures = field_loss(field, torch.zeros(1, 1, 8, 8), flow, visible, 4.0)
    assert figures["rmse_px"] < 1e-3
    assert figures["nll"] == pytest.approx(0, abs=1e-3)
    off, worse = field_loss(field + 1, torch.zeros(1, 1, 8, 8), flow, visible, 4.0)
    assert off > loss
    assert worse["aepe_px"] == pytest.approx(8 * math.sqrt(2), rel=1e-3)
    assert worse["nll"] == pytest.approx(math.sqrt(2), rel=1e-3)


def test_the_predicted_scale_moves_no_field_and_is_best_at_the_error():
    flow, visible = shifted(5, -3)
    field = ((flow / 8)[..., ::8, ::8] + 1).requires_grad_()
    log_b = torch.full((1, 1, 8, 8), math.log(math.sqrt(2)), requires_grad=True)
    loss, _ = field_loss(field, log_b, flow, visible, 4.0)
    loss.backward()
    assert log_b.grad.abs().max() < 1e-6
    without = field.grad.clone()
    field.grad = None
    field_loss(field, torch.zeros(1, 1, 8, 8), flow, visible, 4.0)[0].backward()
    torch.testing.assert_close(field.grad, without)


def test_invisible_pixels_teach_nothing():
    flow, visible = shifted(5, -3)
    field = torch.zeros(1, 2, 8, 8, requires_grad=True)
    loss, _ = field_loss(field, torch.zeros(1, 1, 8, 8), flow, torch.zeros_like(visible), 4.0)
    loss.backward()
    assert field.grad.abs().max() == 0


def test_a_spoiled_field_differs_in_patches_and_a_little_everywhere():
    field = torch.zeros(16, 2, 32, 32)
    spoiled = perturbed(field, generator())
    assert torch.equal(spoiled, perturbed(field, generator()))
    distance = spoiled.norm(dim=1)
    assert (distance > 0).float().mean() > 0.99
    assert 0.05 < (distance > 6).float().mean() < 0.5
