import numpy as np
import pytest

from diffwright.core.errors import Cancelled, ConfigError, UnsupportedBackbone
from diffwright.diffusion.sampling import generate
from tests.support.tiny import pipeline

PROMPTS = ["red cat", "the dog", "red cat", "mug"]


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "pocket"])
def test_a_batch_of_one_equals_a_batch_of_many(kind):
    pipe = pipeline(kind)
    many = generate(pipe, PROMPTS, seeds=[3, 4, 5, 6], steps=3)
    split = generate(pipe, PROMPTS, seeds=[3, 4, 5, 6], steps=3, batch=3)
    single = generate(pipe, PROMPTS[2], seeds=5, steps=3)
    assert many.shape == (4, 32, 32, 3)
    assert many.dtype == np.uint8
    assert np.abs(many[2].astype(int) - single[0]).max() <= 1
    assert np.abs(many.astype(int) - split).max() <= 1
    assert np.abs(many[0].astype(int) - many[2]).max() > 1


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_the_stock_call_with_prompts_gives_the_same_picture(kind):
    import torch

    pipe = pipeline(kind)
    ours = generate(pipe, "red cat", seeds=1, steps=2, guidance=4.0)
    images = pipe(
        "red cat",
        num_inference_steps=2,
        guidance_scale=4.0,
        output_type="np",
        generator=[torch.Generator().manual_seed(1)],
    ).images
    assert np.abs(ours.astype(float) - images * 255).max() <= 1


def test_guidance_and_negative_matter():
    pipe = pipeline("sd1")
    plain = generate(pipe, "red cat", seeds=1, steps=2, guidance=1.0)
    assert np.any(plain != generate(pipe, "red cat", seeds=1, steps=2, guidance=9.0))
    base = generate(pipe, "red cat", seeds=1, steps=2, guidance=9.0)
    assert np.any(base != generate(pipe, "red cat", seeds=1, steps=2, guidance=9.0, negative="dog"))


def test_progress_counts_steps_and_cancels():
    pipe, seen = pipeline("pocket"), []
    generate(pipe, "cat", seeds=range(3), steps=2, batch=2, progress=lambda *told: seen.append(told))
    assert [done for _, done, _ in seen] == [1, 2, 3, 4]
    assert {total for _, _, total in seen} == {4}
    with pytest.raises(Cancelled):
        generate(pipe, "cat", seeds=1, steps=2, progress=lambda *_: True)
    assert pipe._progress_bar_config == {"disable": True}


@pytest.mark.parametrize(
    ("prompts", "seeds", "options"),
    [
        (["a", "b"], [1, 2, 3], {}),
        ([], [1], {}),
        ("a", [], {}),
        ("a", 1, {"steps": 0}),
        ("a", 1, {"batch": 0}),
    ],
)
def test_unfit_arguments_are_config_errors(prompts, seeds, options):
    with pytest.raises(ConfigError):
        generate(pipeline("sd1"), prompts, seeds=seeds, **options)


def test_inpainting_models_do_not_generate():
    with pytest.raises(UnsupportedBackbone):
        generate(pipeline("inpaint"), "cat", seeds=1)
