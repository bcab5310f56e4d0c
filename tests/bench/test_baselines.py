import pytest
import torch

from diffwright.bench.baselines.anchor_matching import anchor_matching
from diffwright.bench.baselines.cross_attention_kv import cross_attention_edit
from diffwright.bench.baselines.finetune_eraser import finetune_eraser
from diffwright.bench.baselines.finetuning import denoised, noise, scheduler_of
from diffwright.bench.baselines.token_embedding import token_embedding_edit
from diffwright.bench.baselines.weights import Weights
from diffwright.concepts.edit import edit_concepts
from diffwright.diffusion.prompts import encode
from diffwright.diffusion.sampling import generate
from diffwright.diffusion.sites import find, sites
from diffwright.weights.fingerprint import fingerprint
from tests.support.tiny import pipeline

TEMPLATES = ("{}", "a photo of {}")


@pytest.fixture(scope="module")
def pipe():
    return pipeline("pocket")


def test_weights_are_put_on_and_taken_off_bit_by_bit(pipe):
    base = fingerprint(pipe)
    name = "unet.conv_in.weight"
    other = torch.full_like(pipe.unet.conv_in.weight, 0.5)
    weights = Weights([("cat", "dog")], {name: other})

    def fail():
        with weights.applied(pipe):
            assert torch.equal(pipe.unet.conv_in.weight, other)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert fingerprint(pipe) == base


def test_the_cross_attention_edit_solves_its_normal_equations_and_is_our_ridge_too(pipe):
    site = find(pipe, "unet.mid.0.attn2.0.v")
    weights = cross_attention_edit(pipe, "cat", "dog", TEMPLATES, lam=0.5)
    assert len(weights.values) == len(sites(pipe, ["attn2.k", "attn2.v"]))
    changed = weights.values[f"unet.{site.path}.weight"]
    ours = edit_concepts(
        pipe, [("cat", "dog")], site=site.name, lam=0.5, templates=TEMPLATES, mode="ridge", aim="output"
    )
    theirs = (changed - site.linear.weight).double()
    torch.testing.assert_close(theirs, ours.patches[0].factors.dense(), atol=1e-5, rtol=0)


def test_held_concepts_stay_and_aligned_tokens_reach_to_the_end(pipe):
    site = find(pipe, "unet.mid.0.attn2.0.v")
    name, zebra = f"unet.{site.path}.weight", encode(pipe, ["zebra"])[0, 5]
    drift = []
    for held in ((), ("zebra",)):
        change = (
            cross_attention_edit(pipe, "cat", "dog", TEMPLATES, held, lam=1e-3).values[name]
            - site.linear.weight
        )
        drift.append(float((change @ zebra).norm()))
    assert drift[1] < 0.2 * drift[0]
    pad, goal = encode(pipe, ["cat"])[0, 40], encode(pipe, ["dog"])[0, 40]
    aligned = cross_attention_edit(pipe, "cat", "dog", TEMPLATES, lam=1e-3, aligned=True).values[name]
    wanted = site.linear(goal)
    assert float((aligned @ pad - wanted).norm()) < 0.5 * float((site.linear(pad) - wanted).norm())


def test_a_swapped_word_reads_like_the_other_one(pipe):
    with token_embedding_edit(pipe, "cat", "dog").applied(pipe):
        torch.testing.assert_close(encode(pipe, ["a cat"]), encode(pipe, ["a dog"]))
    before = encode(pipe, ["the mug", "the zebra"])
    with token_embedding_edit(pipe, "zebra", "red mug").applied(pipe):
        after = encode(pipe, ["the mug", "the zebra"])
    torch.testing.assert_close(after[0], before[0])
    assert not torch.allclose(after[1], before[1])


def test_partial_sampling_goes_the_way_of_the_stock_pipeline(pipe):
    encodings = encode(pipe, ["a cat"]), encode(pipe, [""])
    scheduler = scheduler_of(pipe, 3)
    start = noise(pipe, 1, torch.Generator().manual_seed(7))
    with torch.no_grad():
        latents = denoised(pipe.unet, start, encodings, scheduler, 3, 3.0)
        picture = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    mine = ((picture[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).round()
    stock = torch.from_numpy(generate(pipe, "a cat", seeds=7, steps=3, guidance=3.0)[0]).float()
    assert float((mine - stock).abs().max()) <= 1.5


@pytest.mark.parametrize("method", [finetune_eraser, anchor_matching])
def test_training_moves_only_the_cross_attention_of_a_copy(pipe, method):
    base = fingerprint(pipe)
    extra = {"sampling_steps": 2} | ({"pictures": 2, "batch": 2} if method is anchor_matching else {})
    checks = list(method(pipe, "cat", "dog", TEMPLATES, learning_rate=1e-2, checks=(1, 3), **extra))
    assert [check.step for check in checks] == [1, 3]
    assert 0 < checks[0].seconds < checks[1].seconds
    assert fingerprint(pipe) == base
    for check in checks:
        assert all("attn2" in name for name in check.weights.values)
        with check.weights.applied(pipe):
            assert fingerprint(pipe) != base
    again = list(method(pipe, "cat", "dog", TEMPLATES, learning_rate=1e-2, checks=(1, 3), **extra))
    first, second = (next(iter(one[-1].weights.values.values())) for one in (checks, again))
    assert torch.equal(first, second)


@pytest.mark.parametrize("method", [finetune_eraser, anchor_matching])
def test_training_brings_the_prediction_at_the_source_to_its_goal(method):
    pipe = pipeline("pocket")
    for name, value in pipe.unet.named_parameters():
        if "attn2.to_out.0.weight" in name:
            torch.nn.init.normal_(value, std=1.0)  # at random weights the text would hardly matter
    extra = {"eta": 0.0} if method is finetune_eraser else {"pictures": 4}
    (last,) = method(pipe, "cat", "dog", ("{}",), learning_rate=1e-4, checks=(30,), sampling_steps=2, **extra)
    cat, dog = encode(pipe, ["cat"]), encode(pipe, ["dog"])
    latents = noise(pipe, 4, torch.Generator().manual_seed(3))

    def predicted(encoding):
        with torch.no_grad():
            return pipe.unet(latents, 700, encoder_hidden_states=encoding.expand(4, -1, -1)).sample

    goal, far = predicted(dog), predicted(cat)
    with last.weights.applied(pipe):
        near = predicted(cat)
    assert float((near - goal).norm()) < 0.7 * float((far - goal).norm())


def test_the_erasers_own_anchor_is_the_empty_prompt(pipe):
    (check,) = finetune_eraser(pipe, "cat", "", TEMPLATES, learning_rate=1e-2, checks=(1,), sampling_steps=2)
    assert check.weights.pairs == [("cat", "")]
