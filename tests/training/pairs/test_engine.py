import pytest
import torch

from diffwright.core.errors import ConfigError
from diffwright.core.geometry import warp
from diffwright.metrics.pictures import psnr
from diffwright.training.pairs import warps
from diffwright.training.pairs.engine import Engine, Pairs
from diffwright.training.pairs.warps import Ranges


def test_a_pair_is_the_same_alone_in_any_batch_and_at_any_time(canvases, shapes):
    engine = Engine(canvases, shapes, 64)
    many, one = engine.batch([3, 8, 11, 40]), engine.pair(11)
    for whole, single in zip(many, one, strict=True):
        torch.testing.assert_close(whole[2:3].float(), single.float(), atol=1e-5, rtol=1e-5)
    again = Engine(canvases, shapes, 64).batch([3, 8, 11, 40])
    assert all(torch.equal(first, second) for first, second in zip(many, again, strict=True))
    assert not torch.equal(Engine(canvases, shapes, 64, seed=1).pair(11).flow, one.flow)


def test_shapes_and_ranges(canvases, shapes):
    pairs = Engine(canvases, shapes, 64).batch(range(3))
    assert pairs.image_a.shape == pairs.image_b.shape == (3, 3, 64, 64)
    assert pairs.flow.shape == (3, 2, 64, 64)
    assert pairs.visible.shape == (3, 64, 64)
    assert pairs.visible.dtype == torch.bool
    assert max(pairs.image_a.abs().max(), pairs.image_b.abs().max()) <= 1
    with pytest.raises(ConfigError, match="size"):
        Engine(canvases, shapes, 60)


def test_b_warped_by_the_flow_is_a_where_a_is_visible(smooth, shapes):
    pairs = Engine(smooth, shapes, 128, photometric=False, objects=0).batch(range(24))
    warped, inside = warp(pairs.image_b, pairs.flow)
    assert float(psnr(warped, pairs.image_a, pairs.visible).min()) >= 30
    assert torch.equal(inside, pairs.visible)


def test_objects_move_and_cover_as_the_flow_says(smooth, shapes):
    engine = Engine(smooth, shapes, 128, photometric=False)
    numbers = [n for n in range(40) if engine.draw([n]).objects.pair]
    pairs = engine.batch(numbers)
    warped, _ = warp(pairs.image_b, pairs.flow)
    jump = torch.nn.functional.max_pool2d(_steps(pairs.flow), 5, 1, 2)[:, 0] > 1.5
    quality = psnr(warped, pairs.image_a, pairs.visible & ~jump)
    assert float(quality.nanmedian()) >= 36
    assert float(quality[quality.isfinite()].min()) >= 30
    hidden = ~pairs.visible & ((warped - pairs.image_a).abs().amax(1) > 0.2)
    assert hidden.any()


def _steps(flow):
    right = torch.nn.functional.pad(flow.diff(dim=3).abs().amax(1, keepdim=True), (0, 1))
    down = torch.nn.functional.pad(flow.diff(dim=2).abs().amax(1, keepdim=True), (0, 0, 0, 1))
    return torch.maximum(right, down)


def test_flow_is_the_map_itself(smooth, shapes):
    engine = Engine(smooth, shapes, 64, objects=0)
    draw = engine.draw(range(4))
    places = warps.places_of(64)
    flow = (warps.transport(draw.warps, places) - places) * 32
    assert torch.equal(engine.render(draw).flow, flow)


def test_with_narrow_ranges_it_is_a_rotation_about_the_center(smooth, shapes):
    still = Ranges(45, 0, 0, 0, 0, 0, 0, 0, 0)
    engine = Engine(smooth, shapes, 64, still, photometric=False, objects=0)
    pairs = engine.batch(range(3))
    angle = torch.deg2rad(pairs.rotation)
    offset = torch.arange(64) - 31.5
    x, y = torch.meshgrid(offset, offset, indexing="xy")
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    truth = torch.stack([cos * x - sin * y - x, sin * x + cos * y - y], dim=1)
    draws = engine.draw(range(3))
    assert draws.warps.scale.tolist() == [1, 1, 1]
    bent = [i for i, side in enumerate(draws.warps.sides) if side == 0]
    torch.testing.assert_close(pairs.flow[bent], truth[bent], atol=1e-3, rtol=0)
    torch.testing.assert_close(pairs.flow, truth, atol=1e-2, rtol=0)


def test_other_pairs_can_take_the_place_of_drawn_ones(smooth, shapes):
    engine = Engine(smooth, shapes, 64)
    draw = engine.draw([0, 1, 2])
    other = Pairs(*(part[:1] * 0 for part in engine.batch([9])))
    mixed, plain = engine.render(draw, [1], other), engine.render(draw)
    assert torch.equal(mixed.flow[[0, 2]], plain.flow[[0, 2]])
    assert torch.equal(mixed.image_a[[0, 2]], plain.image_a[[0, 2]])
    assert mixed.flow[1].abs().max() == 0
    assert mixed.rotation[1] == 0
    assert not torch.equal(mixed.image_a[1], plain.image_a[1])
