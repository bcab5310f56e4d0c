import numpy as np
import pytest
import torch

from diffwright.core.errors import InputError
from diffwright.core.geometry import warp
from diffwright.metrics.pictures import psnr
from diffwright.training.pairs.views import PART, Views, two_views
from diffwright.world.motion import motion
from diffwright.world.splits import seeds


def test_views_are_kept_on_disk_by_number(tmp_path):
    views = Views(tmp_path, 48)
    pairs = views.batch([0, 3])
    assert pairs.image_a.shape == (2, 3, 48, 48)
    files = sorted(path.name for path in (tmp_path / "train-48").iterdir())
    assert files == ["000000.npz", "000003.npz"]
    before = (tmp_path / "train-48" / "000003.npz").stat().st_mtime_ns
    again = views.batch([3])
    assert torch.equal(again.flow, pairs.flow[1:])
    assert (tmp_path / "train-48" / "000003.npz").stat().st_mtime_ns == before


def test_flow_and_occlusion_are_those_of_the_world(tmp_path):
    pairs = Views(tmp_path, 48).batch([1])
    exact = motion(*two_views(seeds("train", 1, start=1)[0]), 48)
    assert float((pairs.flow - exact.flow).abs().max()) <= 0.5 / PART + 1e-4
    assert torch.equal(pairs.visible, ~exact.occluded)
    warped, _ = warp(pairs.image_b, pairs.flow)
    assert float(psnr(warped, pairs.image_a, pairs.visible)) > 20


def test_splits_have_views_of_their_own(tmp_path):
    train, held = (Views(tmp_path, 32, split).batch([0]) for split in ("train", "development"))
    assert not torch.equal(train.image_a, held.image_a)
    scene, _ = two_views(seeds("development", 1)[0])
    assert scene.style == "photo"


def test_a_damaged_file_is_named(tmp_path):
    views = Views(tmp_path, 32)
    views.batch([0])
    path = tmp_path / "train-32" / "000000.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"000000.npz is damaged"):
        views.batch([0])
    np.savez(path, images=np.zeros(1))
    with pytest.raises(InputError, match=r"000000.npz is damaged"):
        views.batch([0])
