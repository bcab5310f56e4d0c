import pytest
import torch

from diffwright.core.errors import ConfigError, InputError, UnsupportedBackbone
from diffwright.diffusion.prompts import encode_pooled
from diffwright.tracing.corruption import noised, read, subject_noise
from tests.support.tiny import pipeline

PROMPT = "the red mug on the cat"


@pytest.fixture(scope="module")
def pipes():
    return {kind: pipeline(kind) for kind in ("sd1", "sdxl")}


def test_each_encoder_reads_the_prompt(pipes):
    first, second = read(pipes["sdxl"], PROMPT, "red mug")
    assert (first.prefix, second.prefix) == ("te", "te2")
    assert first.span == second.span == (2, 3)
    assert first.tokens == ("[begin]", "the", "red", "mug", "on", "the", "cat", "[end]")
    assert first.tokens[first.end] == "[end]"
    assert first.mask is None


def test_noise_falls_on_the_subject_alone_and_by_its_own_scale(pipes):
    (reading,) = read(pipes["sd1"], PROMPT, "red mug")
    noise = subject_noise(reading, [0, 1], 3.0)
    assert noise.shape == (2, 77, 32)
    assert bool((noise[:, 2:4] != 0).all())
    assert not noise[:, :2].any()
    assert not noise[:, 4:].any()
    rows = pipes["sd1"].text_encoder.embeddings.token_embedding(reading.ids)[0, 2:4].detach()
    many = subject_noise(reading, range(200), 3.0)[:, 2:4]
    assert float(many.std() / rows.std()) == pytest.approx(3.0, rel=0.02)


def test_a_seed_draws_the_same_noise_alone_and_among_others(pipes):
    first, second = read(pipes["sdxl"], PROMPT, "mug")
    assert torch.equal(subject_noise(first, [5], 1.0)[0], subject_noise(first, [4, 5], 1.0)[1])
    assert not torch.equal(subject_noise(first, [5], 1.0)[0], subject_noise(second, [5], 1.0)[0])
    assert not torch.equal(subject_noise(first, [5], 1.0), subject_noise(first, [6], 1.0))


def test_noise_changes_the_encoding_from_the_subject_on_and_is_taken_off(pipes):
    pipe = pipes["sd1"]
    (reading,) = read(pipe, PROMPT, "mug")
    before = encode_pooled(pipe, [PROMPT])[0]
    with noised(reading, subject_noise(reading, [0], 3.0)):
        during = encode_pooled(pipe, [PROMPT])[0]
    assert torch.equal(before[:, :3], during[:, :3])
    assert bool((before[:, 3:] != during[:, 3:]).any(dim=-1).all())
    assert torch.equal(before, encode_pooled(pipe, [PROMPT])[0])


def test_no_noise_is_no_change(pipes):
    (reading,) = read(pipes["sd1"], PROMPT, "mug")
    assert not subject_noise(reading, [0], 0.0).any()


def test_unfit_arguments_are_refused(pipes):
    with pytest.raises(InputError, match="does not occur"):
        read(pipes["sd1"], PROMPT, "duck")
    (reading,) = read(pipes["sd1"], PROMPT, "mug")
    with pytest.raises(ConfigError, match="noise is -1"):
        subject_noise(reading, [0], -1)
    with pytest.raises(UnsupportedBackbone, match="'trace' does not work"):
        read(pipeline("inpaint"), PROMPT, "mug")
