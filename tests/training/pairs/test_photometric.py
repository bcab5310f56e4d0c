import numpy as np
import pytest
import torch

from diffwright.bench import matching_corruptions
from diffwright.training.pairs import photometric
from diffwright.training.pairs.photometric import HELD_OUT, SHARES, apply, blurred, color_matrix, compressed


def rngs(*numbers):
    return [np.random.Generator(np.random.PCG64([3, n])) for n in numbers]


def pictures(count, size=32):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_six_corruptions_stay_unseen():
    assert {name.replace(" ", "_") for name in HELD_OUT} == set(matching_corruptions.HELD_OUT)
    assert set(HELD_OUT) == {"frost", "snow", "glass blur", "zoom blur", "pixelate", "elastic"}
    assert not any(name.split()[0] in used for name in HELD_OUT for used in SHARES)


def test_results_are_bounded_and_belong_to_the_picture_alone():
    images = pictures(12)
    together = apply(photometric.draw(rngs(*range(12))), images.clone())
    assert together.min() >= -1
    assert together.max() <= 1
    alone = apply(photometric.draw(rngs(7)), images[7:8].clone())
    assert torch.equal(together[7:8], alone)
    assert not torch.equal(together[7], images[7])


def test_what_is_used_follows_the_shares():
    looks = photometric.draw(rngs(*range(400)))
    for name, share in SHARES.items():
        assert len(looks.rows[name]) / 400 == pytest.approx(0.85 * share, abs=0.08), name


def test_a_blur_and_a_compression_keep_the_mean():
    images = pictures(2)
    kernel = torch.rand(2, 9, 9)
    kernel /= kernel.sum((1, 2), keepdim=True)
    flat = torch.full_like(images, 0.3)
    torch.testing.assert_close(blurred(flat, kernel), flat)
    torch.testing.assert_close(compressed(flat, torch.full((2,), 1e-4)), flat, atol=1e-3, rtol=0)
    torch.testing.assert_close(compressed(images, torch.full((2,), 1e-5)), images, atol=1e-4, rtol=0)
    assert (compressed(images, torch.full((2,), 0.5)) - images).abs().mean() > 0.05


def test_colors_by_hand():
    rgb = np.array([0.8, 0.4, 0.2, 1.0])
    np.testing.assert_allclose(color_matrix(1, 0, 1, 0) @ rgb, rgb[:3])
    np.testing.assert_allclose(color_matrix(0, 0, 1, 0) @ rgb, photometric.LUMA @ rgb[:3])
    np.testing.assert_allclose(color_matrix(1, 120, 1, 0) @ rgb, [0.2, 0.8, 0.4])
    np.testing.assert_allclose(color_matrix(1, 0, 0.5, 0.1) @ rgb, [0.75, 0.55, 0.45])
