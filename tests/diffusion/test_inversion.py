from contextlib import contextmanager

import pytest
import torch

from diffwright.core.errors import Cancelled
from diffwright.diffusion.features import features, on_grid, tap_blocks, tapped
from diffwright.diffusion.guidance import Denoiser, limited
from diffwright.diffusion.inversion import invert
from diffwright.diffusion.prompts import encode
from diffwright.diffusion.schedules import Schedule
from tests.support.tiny import pipeline

STEPS = 8


@pytest.fixture(scope="module", params=["sd1", "sd2", "pocket"])
def denoiser(request):
    pipe = pipeline(request.param)
    return Denoiser(
        pipe.unet, Schedule.of(pipe.scheduler, STEPS), encode(pipe, ["a cat"]), encode(pipe, [""])
    )


@pytest.fixture(scope="module")
def z0(denoiser):
    channels = denoiser.unet.config.in_channels
    return torch.randn(1, channels, 8, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("start", [0, 3])
def test_own_levels_and_what_they_miss_lead_back_exactly(denoiser, z0, start):
    found = invert(denoiser, z0, denoiser.schedule, start=start)
    assert len(found.latents) == STEPS - start + 1
    z = found.at(start)
    with torch.no_grad():
        for i in range(start, STEPS):
            z = denoiser.schedule.step(z, denoiser(z, i), i) + found.residual(i)
            torch.testing.assert_close(z, found.at(i + 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(z, z0, rtol=1e-4, atol=1e-4)


def test_the_published_convention_leads_nearly_back(denoiser, z0):
    """With a network that changes slowly with its input, as a trained one does."""

    def calm(z, i):
        return 0.1 * denoiser(z, i)

    found = invert(calm, z0, denoiser.schedule, own_level=False)
    assert found.residual(0) == 0.0
    z = found.at(0)
    with torch.no_grad():
        for i in range(STEPS):
            z = denoiser.schedule.step(z, calm(z, i), i)
    assert (z - z0).square().mean() < 0.05 * z0.square().mean()


@pytest.mark.parametrize("own_level", [True, False])
def test_each_step_is_visited_once_from_the_clean_end(denoiser, z0, own_level):
    seen, calls = [], []

    @contextmanager
    def visit(i):
        seen.append(i)
        yield

    def noise(z, i):
        calls.append(i)
        return denoiser(z, i)

    invert(noise, z0, denoiser.schedule, start=2, own_level=own_level, visit=visit)
    assert seen == list(range(STEPS - 1, 1, -1))
    assert calls == ([STEPS - 1] if own_level else []) + seen


def test_an_inversion_can_be_stopped(denoiser, z0):
    with pytest.raises(Cancelled):
        invert(denoiser, z0, denoiser.schedule, progress=lambda what, done, total: done == 3)


def test_guidance_of_one_is_no_guidance(denoiser, z0):
    with torch.no_grad():
        plain, zero, twice = (denoiser(z0, 3, s) for s in (1.0, 0.0, 2.0))
    torch.testing.assert_close(twice, 2 * plain - zero, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(plain, zero)


def test_taps_have_half_and_all_of_the_latent_grid(denoiser, z0):
    before = sum(len(m._forward_hooks) for m in denoiser.unet.modules())
    with torch.no_grad():
        coarse, fine = features(denoiser.unet, lambda: denoiser.raw(z0, 3, denoiser.context))
        with tapped(denoiser.unet) as seen:
            denoiser(z0, 3)
    assert coarse.shape[-2:] == (4, 6)
    assert fine.shape[-2:] == (8, 12)
    assert torch.equal(seen[0], coarse)
    assert torch.equal(seen[1], fine)
    assert [t.shape[1:] for t in on_grid((coarse, fine), (16, 24))] == [(16, 24)] * 2
    assert sum(len(m._forward_hooks) for m in denoiser.unet.modules()) == before


def test_gradients_flow_from_the_taps_to_the_latents(denoiser, z0):
    z = z0.clone().requires_grad_()
    coarse, fine = features(denoiser.unet, lambda: denoiser.raw(z, 3, denoiser.context))
    (g,) = torch.autograd.grad(coarse.square().mean() + fine.square().mean(), z)
    assert g.abs().sum() > 0


def test_taps_of_a_unet_like_stable_diffusion_are_its_second_and_third_block():
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(block_out_channels=(8, 8, 8, 8), norm_num_groups=4, cross_attention_dim=8)
    assert tap_blocks(unet) == (unet.up_blocks[1], unet.up_blocks[2])


def test_a_gradient_is_shortened_and_nan_is_dropped():
    epsilon = torch.ones(1, 2, 4, 4)
    g = torch.zeros(1, 2, 4, 4)
    g[..., :2] = 3.0
    torch.testing.assert_close(limited(g, epsilon, 0.5)[..., :2], torch.full((1, 2, 4, 2), 0.5))
    assert torch.equal(limited(g, epsilon, None), g)
    assert torch.equal(limited(g * 0, epsilon, 0.5), g * 0)
    g[0, 0, 0, 0] = torch.nan
    assert torch.equal(limited(g, epsilon, None), torch.zeros_like(g))
