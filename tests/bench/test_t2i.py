import torch

from diffwright.bench.t2i import linear_code, macro, share_right
from diffwright.world.captions import from_values


def test_the_linear_code_keeps_eight_numbers_a_patch_exactly_where_that_is_enough():
    flat = torch.rand(4, 3, 16, 16)[..., ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3) * 2 - 1
    assert (linear_code(flat, flat) - flat).abs().max() < 1e-5
    noise = torch.rand(4, 3, 16, 16) * 2 - 1
    assert (linear_code(noise, noise) - noise).abs().mean() > 0.1


def test_each_stated_value_weighs_equally():
    prompts = [from_values(kind="mug")] * 3 + [from_values(kind="duck")]
    answers = [{"kind": "mug"}] * 3 + [{"kind": "mug"}]
    assert share_right("kind", prompts, answers) == 0.5


def test_each_true_value_weighs_equally():
    truth = [{"color": "red"}] * 9 + [{"color": "blue"}]
    assert macro("color", [{"color": "red"}] * 10, truth) == 0.5
