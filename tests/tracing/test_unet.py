import numpy as np
import pytest
import torch

from diffwright.bench.baselines.tracing_naive import unet_runs
from diffwright.core.errors import ConfigError, InputError
from diffwright.diffusion.hooks import taps
from diffwright.diffusion.prompts import encode_pooled
from diffwright.tracing.states import State, unet_site, unet_states
from diffwright.tracing.unet import Sampling, lock_step, predict, probes, restoring
from tests.support.tiny import pipeline


def both(pipe, count):
    """Conditions of a clean row and of ``count`` others."""
    rows, pooled = encode_pooled(pipe, ["a red mug", "the dog on"])
    pick = [0] + [1] * count
    return rows[pick], None if pooled is None else pooled[pick]


def one(encoded, row):
    return encoded[0][row : row + 1], None if encoded[1] is None else encoded[1][row : row + 1]


@pytest.mark.parametrize("kind", ["sd1", "sdxl_v", "pocket"])
def test_lock_step_equals_separate_clean_corrupted_and_restored_runs(kind):
    pipe = pipeline(kind).to(torch.float64)
    states = unet_states(pipe, ("resnet", "attn1", "attn2", "ff", "down", "up", "branch"))
    sites = [unet_site(pipe, state) for state in states]
    encoded = both(pipe, 1 + len(sites))
    ours = lock_step(pipe, encoded, [None, *sites], seed=4, sampling=Sampling(steps=2, guidance=3.0)).latents
    naive = unet_runs(pipe, one(encoded, 0), one(encoded, 1), sites[::6], seed=4, steps=2, guidance=3.0)
    for row, (clean, corrupted, restored) in zip(range(2, 100, 6), naive, strict=False):
        for number, theirs in ((0, clean), (1, corrupted), (row, restored)):
            assert float((ours[number].double() - theirs[0]).abs().max()) < 1e-5  # latents come as float32
    assert float((ours[0] - ours[1]).abs().max()) > 1e-3


def test_restoring_nothing_that_differs_changes_nothing_and_everything_at_the_end_restores_all():
    pipe = pipeline("pocket")
    rows = encode_pooled(pipe, ["a red mug", "the dog on"])[0]
    last = unet_site(pipe, unet_states(pipe, ["resnet"])[-1])
    painted = lock_step(
        pipe, (rows[[0, 1, 1]], None), [None, last], seed=0, sampling=Sampling(steps=3, guidance=3.0)
    )
    assert torch.allclose(painted.latents[2], painted.latents[0], atol=1e-5)
    assert not torch.allclose(painted.latents[1], painted.latents[0], atol=1e-3)
    assert painted.pictures.shape == (3, 32, 32, 3)
    assert painted.pictures.dtype == np.uint8


def test_steps_and_branches_choose_what_is_copied():
    pipe = pipeline("sd1")
    rows = encode_pooled(pipe, ["a red mug", "the dog on"])[0][[0, 1]]
    site = unet_site(pipe, unet_states(pipe, ["resnet"])[3])
    latents = {}
    for name, options in {
        "all": {},
        "first": {"between": (0, 1)},
        "cond": {"branches": "cond"},
    }.items():
        sampling = Sampling(steps=3, guidance=3.0, **options)
        latents[name] = lock_step(pipe, (rows, None), [site], seed=0, sampling=sampling).latents
    plain = lock_step(pipe, (rows, None), [None], seed=0, sampling=Sampling(steps=3, guidance=3.0)).latents
    with pytest.raises(ConfigError, match="called 4 times"):
        lock_step(
            pipe, (rows, None), [site], seed=0, sampling=Sampling(steps=3, guidance=3.0, between=(90, 99))
        )
    different = [latents["all"][1], latents["first"][1], latents["cond"][1], plain[1]]
    for a in range(4):
        for b in range(a):
            assert not torch.allclose(different[a], different[b], atol=1e-5)


def test_cond_leaves_the_row_without_text_alone():
    pipe = pipeline("sd1")
    site = unet_site(pipe, unet_states(pipe, ["attn1"])[0])
    sample = torch.randn(4, 4, 16, 16)
    text = torch.randn(4, 77, 32)
    with torch.no_grad(), taps([site]) as seen, restoring(pipe.unet, [site], branches="cond"):
        pipe.unet(sample, 5, encoder_hidden_states=text)
    with torch.no_grad(), restoring(pipe.unet, [site], branches="cond"), taps([site]) as changed:
        pipe.unet(sample, 5, encoder_hidden_states=text)
    before, after = seen[site.name][0], changed[site.name][0]
    assert torch.equal(after[3], after[2])
    assert torch.equal(after[1], before[1])
    assert not torch.equal(after[1], after[0])
    assert not pipe.unet._forward_pre_hooks
    assert not site.module._forward_hooks


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_predictions_at_points_of_the_clean_trajectory(kind):
    pipe = pipeline(kind)
    encoded = both(pipe, 2)
    sampling = Sampling(steps=4, guidance=3.0)
    points = probes(pipe, one(encoded, 0), seed=1, sampling=sampling)
    assert len(points) == 3
    assert (points[0].time_ids is not None) == (kind == "sdxl")
    assert len({float(point.timestep) for point in points}) == 3
    last = unet_site(pipe, unet_states(pipe, ["resnet"])[-1])
    rows = predict(pipe, points[1], encoded, [None, last], half=False)
    alone = predict(pipe, points[1], one(encoded, 0), [], half=False)
    assert torch.allclose(rows[0], alone[0], atol=1e-5)
    assert torch.allclose(rows[2], rows[0], atol=1e-5)
    assert not torch.allclose(rows[1], rows[0], atol=1e-4)


def test_the_published_unet_has_seventy_layers_and_six_samplers():
    from types import SimpleNamespace

    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        pipe = SimpleNamespace(unet=UNet2DConditionModel(cross_attention_dim=768))
    states = unet_states(pipe)
    assert len(states) == 76
    assert [state.layer for state in states] == list(range(76))
    assert len(unet_states(pipe, ["branch"])) == 22
    assert unet_site(pipe, unet_states(pipe, ["branch"])[0]).path == "down_blocks.0.resnets.0.conv2"


def test_rows_at_once_follow_the_size_of_the_latents():
    pipe = pipeline("pocket")
    assert Sampling(guidance=3.0).targets(pipe) == 47
    assert Sampling(guidance=1.0, rows=8).targets(pipe) == 7
    pipe.unet.register_to_config(sample_size=64)
    assert Sampling().targets(pipe) == 7


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"branches": "none"}, {"rows": 3}, {"between": (2, 2)}, {"between": (-1, 2)}]
)
def test_unfit_options_are_refused(options):
    with pytest.raises(ConfigError):
        Sampling(**options)


def test_unknown_layers_are_refused():
    pipe = pipeline("pocket")
    with pytest.raises(ConfigError, match="component"):
        unet_states(pipe, ["attn"])
    with pytest.raises(InputError, match=r"no unet\.up\.9"):
        unet_site(pipe, State("unet.up.9.resnet.0", "resnet", 0))
