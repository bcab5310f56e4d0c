import pytest
import torch

from diffwright.matching.model import MatchConfig, MatchModel
from diffwright.matching.nets import FeatureNet, FieldDenoiser, standardised
from tests.support import tiny_match

MILLION = 1e6


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_shipped_architecture_stays_within_its_budget():
    with torch.device("meta"):
        model = MatchModel(MatchConfig())
    assert count(model.features) < 1.0 * MILLION
    assert count(model.stage1) < 2.3 * MILLION
    assert count(model.stage2) < 0.9 * MILLION
    assert count(model) < 4.0 * MILLION


def test_features_have_unit_length_on_three_grids():
    net = tiny_match.model().features
    with torch.no_grad():
        found = net(torch.rand(2, 3, 64, 64) * 2 - 1)
    assert [tuple(level.shape) for level in found.coarse] == [(2, 16, 8, 8), (2, 16, 4, 4)]
    assert found.fine.shape == (2, 8, 32, 32)
    for level in (*found.coarse, found.fine):
        torch.testing.assert_close(level.norm(dim=1), torch.ones_like(level[:, 0]))


def test_features_ignore_brightness_and_contrast():
    net = tiny_match.model().features
    image = torch.rand(1, 3, 64, 64) - 0.5
    with torch.no_grad():
        plain, faded = net(image), net(image * 0.3 + 0.4)
    torch.testing.assert_close(plain.fine, faded.fine, atol=1e-3, rtol=1e-3)


def test_a_larger_canvas_is_left_out_of_the_statistics_and_of_the_features():
    net = tiny_match.model().features
    image = torch.rand(1, 3, 64, 64)
    canvas = torch.nn.functional.pad(image, (32,) * 4)
    inside = torch.nn.functional.pad(torch.ones(1, 1, 64, 64, dtype=torch.bool), (32,) * 4)
    middle = standardised(canvas, inside)[..., 32:-32, 32:-32]
    torch.testing.assert_close(middle, standardised(image), atol=1e-3, rtol=1e-3)
    found = net(canvas, inside)
    assert found.inside.sum() == 64
    assert not found.coarse[0][:, :, :4].any()
    assert found.coarse[0][:, :, 4:-4, 4:-4].any()


def test_a_blank_picture_has_the_same_features_everywhere():
    with torch.no_grad():
        found = tiny_match.model().features(torch.full((1, 3, 64, 64), 0.3))
    for level in (*found.coarse, found.fine):
        torch.testing.assert_close(
            level, level.mean((2, 3), keepdim=True).expand_as(level), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("patch", [1, 2])
def test_the_denoiser_is_one_network_of_the_concatenation_and_starts_at_zero(patch):
    torch.manual_seed(0)
    net = FieldDenoiser(5, (16, 16), blocks=1, attention=1, patch=patch)
    x, condition = torch.randn(2, 2, 8, 12), torch.randn(2, 5, 8, 12)
    out = net(x, torch.tensor([0.2, 1.0]), net.encode(condition), x)
    assert out.shape == (2, 3, 8, 12)
    assert not out.any()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    early, late = (net(x, torch.full((2,), time), net.encode(condition)) for time in (0.2, 1.0))
    assert not torch.allclose(early, late)


def test_each_picture_of_a_batch_is_seen_alone():
    model = tiny_match.model()
    image = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        many, one = model.features(image), model.features(image[1:2])
    torch.testing.assert_close(many.fine[1:2], one.fine, atol=1e-5, rtol=1e-5)


def test_the_temperature_stays_in_its_range():
    net = FeatureNet((8, 8, 16, 16), (1, 1, 1, 1), 8, 8)
    with torch.no_grad():
        net.log_scale.fill_(100.0)
        assert float(net.temperature) == pytest.approx(1 / 200)
        net.log_scale.fill_(-100.0)
        assert float(net.temperature) == 1.0
