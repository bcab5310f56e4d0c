import pytest
import torch

from diffwright.matching.cost import argmax_field, dual_softmax, global_cost
from diffwright.matching.smoothing import between_cells, fitted_field, local_affine
from tests.support.tiny_match import affine_field, codes

BENT = [[1.1, 0.15], [-0.1, 0.9]]


def test_an_affine_field_is_its_own_fit_whatever_the_weights():
    field = affine_field(12, 16, BENT, (1.5, -0.5))
    weight = torch.rand(1, 1, 12, 16, generator=torch.Generator().manual_seed(0)) + 0.05
    torch.testing.assert_close(local_affine(field, weight, 3.0), field, atol=0.05, rtol=0)


def test_cells_that_count_little_follow_the_others():
    field = affine_field(16, 16, BENT, (0.5, 0.5))
    weight, wrong = torch.ones(1, 1, 16, 16), field.clone()
    wrong[:, :, 4:8, 4:8] += 9.0
    weight[:, :, 4:8, 4:8] = 1e-3
    assert float((local_affine(wrong, weight, 3.0) - field).abs().max()) < 0.4


def test_matches_between_cells_move_towards_their_second_choice():
    chance = torch.zeros(1, 1, 3, 1, 3)
    chance[0, 0, 1, 0, 1], chance[0, 0, 1, 0, 2] = 0.6, 0.2
    moved = between_cells(chance, torch.zeros(1, 2, 1, 3))
    assert moved[0, :, 0, 1].tolist() == pytest.approx([0.25, 0.0])


def test_wrong_matches_are_mended_and_right_ones_keep_their_place():
    b = codes(16, 16)
    a = b.roll((0, -2), dims=(2, 3))
    a[:, :, 5:8, 5:8] = codes(3, 3, seed=9)
    chance = dual_softmax(global_cost([a], [b]), 0.05)
    raw = argmax_field(chance)
    truth = affine_field(16, 16, torch.eye(2), (2.0, 0.0))
    inner = (slice(None), slice(None), slice(2, 14), slice(0, 12))
    before, after = ((f[inner] - truth[inner]).norm(dim=1) for f in (raw, fitted_field(chance, raw)))
    assert float(before.max()) > 2
    assert float(after.max()) < 0.6
    assert float(after.median()) < 0.05


def test_a_blank_pair_and_cells_that_show_nothing_stay_finite():
    blank = torch.ones(1, 8, 8, 8)
    chance = dual_softmax(global_cost([blank], [blank]), 0.05)
    inside = torch.zeros(1, 8, 8, dtype=torch.bool)
    for shown in (None, inside, inside.logical_not()):
        assert bool(fitted_field(chance, argmax_field(chance), shown).isfinite().all())
