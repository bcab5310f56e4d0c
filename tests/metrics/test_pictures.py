import math

import pytest
import torch

from diffwright.core.errors import InputError
from diffwright.metrics.pictures import psnr, ssim


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_psnr_of_a_known_error():
    reference = torch.zeros(2, 3, 8, 8)
    shifted = torch.stack([torch.full((3, 8, 8), 0.02), torch.full((3, 8, 8), 0.2)])
    assert psnr(shifted, reference).tolist() == pytest.approx([40.0, 20.0], abs=1e-4)


def test_equal_pictures_are_infinitely_good():
    picture = noise(1, 3, 16, 16)
    assert psnr(picture, picture).item() == math.inf
    assert ssim(picture, picture).item() == pytest.approx(1.0)


def test_psnr_counts_only_the_mask():
    reference = noise(1, 3, 8, 8)
    spoiled = reference.clone()
    spoiled[..., :4] += 1
    right = torch.zeros(8, 8, dtype=torch.bool)
    right[:, 4:] = True
    assert psnr(spoiled, reference, right).item() == math.inf
    assert psnr(spoiled, reference, ~right).item() == pytest.approx(10 * math.log10(4))
    assert math.isnan(psnr(spoiled, reference, torch.zeros(8, 8, dtype=torch.bool)).item())


def test_ssim_falls_with_noise_and_ignores_other_pictures_of_the_batch():
    picture = torch.nn.functional.interpolate(noise(1, 3, 8, 8), size=32, mode="bilinear")
    little, much = picture + 0.1 * noise(1, 3, 32, 32), picture + 0.5 * noise(1, 3, 32, 32)
    both = ssim(torch.cat([little, much]), picture.expand(2, -1, -1, -1))
    assert 1 > both[0] > both[1] > -1
    assert ssim(much, picture).item() == pytest.approx(both[1].item(), abs=1e-9)


def test_ssim_matches_the_formula_on_one_window():
    x, y = noise(1, 3, 11, 11), noise(1, 3, 11, 11).flip(-1)
    at = torch.arange(11, dtype=torch.float64) - 5
    g = torch.exp(-(at**2) / 4.5)
    w = torch.outer(g, g) / g.sum() ** 2
    total = 0.0
    for a, b in zip(x[0].double(), y[0].double(), strict=True):
        ma, mb = (w * a).sum(), (w * b).sum()
        va, vb = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum()
        cov = (w * (a - ma) * (b - mb)).sum()
        total += ((2 * ma * mb + 4e-4) * (2 * cov + 3.6e-3)) / ((ma**2 + mb**2 + 4e-4) * (va + vb + 3.6e-3))
    assert ssim(x, y).item() == pytest.approx(float(total / 3), abs=1e-9)


@pytest.mark.parametrize("call", [psnr, ssim])
def test_unequal_shapes_are_refused(call):
    with pytest.raises(InputError, match="one shape"):
        call(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 8))


def test_ssim_refuses_tiny_pictures():
    with pytest.raises(InputError, match="11 x 11"):
        ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
