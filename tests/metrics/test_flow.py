import math

import pytest
import torch

from diffwright.core.errors import InputError
from diffwright.metrics.flow import aepe, ause, ause_random, epe, pair_table, pck, sparsification


def fields():
    truth = torch.zeros(2, 2, 4, 4)
    flow = truth.clone()
    flow[0, 0], flow[0, 1] = 3, 4
    flow[1, 0, :, :2] = 2
    return flow, truth


def test_errors_are_lengths_in_pixels():
    flow, truth = fields()
    assert epe(flow, truth)[0].unique().tolist() == [5]
    assert aepe(flow, truth).tolist() == [5, 1]
    assert epe(flow, truth).shape == (2, 4, 4)


def test_only_valid_pixels_count_even_beside_nan():
    flow, truth = fields()
    valid = torch.zeros(2, 4, 4, dtype=torch.bool)
    valid[:, :, :2] = True
    flow[:, :, :, 3] = float("nan")
    assert aepe(flow, truth, valid).tolist() == [5, 2]
    assert pck(flow, truth, valid, 3.0).tolist() == [0, 100]
    valid[1] = False
    assert math.isnan(aepe(flow, truth, valid)[1])


def test_an_error_of_the_threshold_is_still_correct():
    flow, truth = fields()
    assert pck(flow, truth, threshold=5.0).tolist() == [100, 100]
    assert pck(flow, truth, threshold=1.99).tolist() == [0, 50]


def test_the_table_has_a_row_a_pair():
    flow, truth = fields()
    rows = pair_table(flow, truth, names=["left", "right"])
    assert rows[0] == {"name": "left", "aepe": 5, "pck1": 0, "pck3": 0, "pck5": 100, "pixels": 16}
    assert rows[1]["pck1"] == 50
    with pytest.raises(InputError, match="1 names"):
        pair_table(flow, truth, names=["left"])


def test_a_perfect_order_has_no_area_and_a_random_one_that_of_chance():
    generator = torch.Generator().manual_seed(0)
    error = torch.rand(20000, generator=generator) ** 3
    assert ause(error, error * 7 + 1) == 0
    chance = ause(error, torch.rand(20000, generator=generator))
    assert chance == pytest.approx(ause_random(error), rel=0.03)
    assert ause(error, -error) > chance


def test_a_curve_by_hand():
    curve = sparsification(torch.tensor([4.0, 3, 2, 1]), torch.tensor([4.0, 3, 2, 1]), fractions=4)
    assert curve.tolist() == pytest.approx([1, 0.8, 0.6, 0.4])
    assert sparsification(torch.zeros(4), torch.rand(4), 4).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("shape", [(2, 2, 4, 5), (2, 3, 4, 4), (2, 4, 4)])
def test_fields_of_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match="shape"):
        epe(torch.zeros(shape), torch.zeros(2, 2, 4, 4))


def test_masks_and_lists_of_other_shapes_are_refused():
    with pytest.raises(InputError, match="valid"):
        aepe(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), torch.ones(4, 4, dtype=torch.bool))
    with pytest.raises(InputError, match="at least 20"):
        ause(torch.zeros(5), torch.zeros(5))
