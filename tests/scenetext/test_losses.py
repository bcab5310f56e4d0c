import math

import pytest
import torch

from diffwright.scenetext.characters import COUNT, PAD
from diffwright.scenetext.characters import encode as numbers
from diffwright.scenetext.dual import Reading
from diffwright.scenetext.losses import (
    aligned_loss,
    attention_loss,
    covered,
    ctc,
    latent_mask,
    masked_error,
    min_snr,
)


def test_the_masked_error_weighs_the_hole():
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 0, 0] = 1
    error = masked_error(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), mask, a=5)
    assert error.tolist() == [(5 + 3) / 4]


def test_a_cell_is_repainted_where_any_pixel_is():
    mask = torch.zeros(1, 1, 32, 128, dtype=torch.bool)
    mask[..., 5, 9] = True
    small = latent_mask(mask, (8, 32))
    assert small.sum() == 1
    assert small[0, 0, 1, 2] == 1


def test_weights_of_steps():
    alpha_bar = torch.tensor([0.0, 0.5, 0.9])
    assert min_snr(alpha_bar, 5, "v_prediction").tolist() == pytest.approx([1, 1, 0.5])
    assert min_snr(alpha_bar[1:], 5, "epsilon").tolist() == pytest.approx([1, 5 / 9])
    assert min_snr(alpha_bar, 0, "epsilon").tolist() == [1, 1, 1]


def test_boxes_cover_cells():
    boxes = torch.tensor([[[0.0, 0.0, 64.0, 16.0], [64.0, 0.0, 96.0, 32.0], [0.0, 0.0, 0.0, 0.0]]])
    share = covered(boxes, (2, 4), (32, 128)).view(3, 2, 4)
    assert share[0].tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert share[1].tolist() == [[0, 0, 1, 0], [0, 0, 1, 0]]
    assert share[2].sum() == 0


def test_the_attention_loss_of_a_case_made_by_hand():
    """Two positions; two characters after the beginning; keys choose attention of known shares."""
    logits = torch.tensor([[0.0, math.log(6.0), math.log(3.0)], [0.0, math.log(2.0), math.log(7.0)]])
    reading = Reading(torch.eye(2, 3)[None] * 3**0.5, torch.zeros(1, 3, 3), heads=1)
    reading = reading._replace(key=torch.stack([*logits, torch.zeros(3)], dim=1)[None])
    keep = torch.ones(1, 3, dtype=torch.bool)
    assert torch.allclose(reading.attention(keep)[0, 0], torch.tensor([0.1, 0.6, 0.3]), atol=1e-5)
    boxes = torch.tensor([[[0.0, 0.0, 16.0, 16.0], [16.0, 0.0, 32.0, 16.0]]])
    loss = attention_loss([reading], boxes, keep, (16, 32))
    assert float(loss) == pytest.approx(-(math.log(0.6) + math.log(0.7)) / 2, abs=1e-5)
    both = torch.tensor([[[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 16.0, 16.0]]])
    assert float(attention_loss([reading], both, keep, (16, 32))) == pytest.approx(-math.log(0.9), abs=1e-5)
    assert float(attention_loss([reading], boxes * 0, keep, (16, 32))) == 0


def test_letters_are_wanted_in_their_middles_and_blanks_outside():
    boxes = torch.zeros(1, 22, 4)
    boxes[0, 0], boxes[0, 2] = torch.tensor([4.0, 0, 10, 32]), torch.tensor([20.0, 0, 26, 32])
    ids, keep = numbers(["a b"])
    a, _, b = ids[0][keep[0]][1:-1].tolist()
    said = torch.full((1, 16, COUNT), -9.0)
    for column, number in enumerate(
        [PAD, PAD, PAD, a, PAD, PAD, PAD, PAD, PAD, PAD, PAD, b, PAD, PAD, PAD, PAD]
    ):
        said[0, column, number] = 0.0
    assert float(aligned_loss(said, ["a b"], boxes, 32)) == 0
    assert float(aligned_loss(said, ["ab"], boxes, 32)) == pytest.approx(0, abs=1e-6), (
        "a box too few says nothing"
    )
    assert float(aligned_loss(said, ["b a"], boxes, 32)) > 1
    assert float(aligned_loss(said, [""], boxes * 0, 32)) > 0, "without a word all columns are blank"


def test_ctc_is_a_loss_of_each_character():
    said = torch.randn(2, 64, COUNT).log_softmax(-1)
    one, two = ctc(said, ["abc", ""]).tolist()
    again = ctc(said.flip(0), ["", "abc"]).tolist()
    assert [two, one] == pytest.approx(again)
    assert one > 0


def test_a_letter_narrower_than_a_quarter_of_a_cell_owns_where_it_stands():
    query = torch.zeros(1, 64, 2)
    reading = Reading(query, torch.zeros(1, 3, 2), 1)  # a third of the attention for each token
    boxes = torch.tensor([[[9.0, 4, 10, 28], [16, 4, 48, 28]]])
    keep = torch.ones(1, 4, dtype=torch.bool)[:, :3]
    narrow = attention_loss([reading], boxes[:, :1], keep, (32, 128))
    assert float(narrow) == pytest.approx(math.log(3), abs=1e-5)
