import numpy as np
import pytest
import torch

from diffwright.bench import matching_world as world
from diffwright.core.errors import ConfigError, InputError
from diffwright.core.geometry import warp
from diffwright.metrics.pictures import psnr

SIZE = 48


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module", params=world.SUBSETS)
def drawn(request, cache):
    return request.param, world.world_pairs(request.param, 1, SIZE, cache)


def test_the_flow_takes_picture_b_to_picture_a(drawn):
    subset, (pair,) = drawn
    a, b = (torch.tensor(i).permute(2, 0, 1)[None] / 127.5 - 1 for i in (pair.image_a, pair.image_b))
    warped, _ = warp(b, pair.flow[None])
    assert float(psnr(warped, a, pair.valid)) > (24 if subset != "repetitive" else 18)


def test_enough_pixels_count(drawn):
    subset, (pair,) = drawn
    assert pair.kind == "world"
    assert pair.valid.float().mean() >= world.LEAST
    if subset == "large":
        assert float(pair.flow.norm(dim=0)[pair.valid].min()) > world.FAR * SIZE


def test_a_folder_gives_the_same_pairs_again_without_rendering(drawn, cache, monkeypatch):
    subset, before = drawn
    monkeypatch.setattr(world, "render", lambda *_, **__: pytest.fail("rendered again"))
    after = world.world_pairs(subset, 1, SIZE, cache)
    assert np.array_equal(before[0].image_b, after[0].image_b)
    assert torch.equal(before[0].flow, after[0].flow)


def test_flat_pixels_are_those_without_contrast():
    image = torch.zeros(1, 3, 32, 32)
    image[..., 16:] = torch.rand(32, 16)
    flat = world.measured("textureless", image, torch.zeros(1, 2, 32, 32))
    assert flat[0, :, :11].all()
    assert not flat[0, :, 18:].any()


def test_a_damaged_file_and_an_unknown_subset_are_refused(tmp_path):
    (tmp_path / f"general-{SIZE}-{world.seeds('test', 1, world.FIRST)[0]}.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="delete it"):
        world.world_pairs("general", 1, SIZE, tmp_path)
    with pytest.raises(ConfigError, match="textureless"):
        world.world_pairs("textureles", 1)
