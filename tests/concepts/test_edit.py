import warnings

import pytest
import torch

from diffwright.concepts.choice import PAPER_TEMPLATES
from diffwright.concepts.edit import ConceptEdit, edit_concepts
from diffwright.core.errors import (
    ConfigError,
    InputError,
    UnsupportedBackbone,
    WeightsCorrupt,
    WeightsError,
    WeightsMissing,
)
from diffwright.diffusion.hooks import taps
from diffwright.diffusion.prompts import encode, tokenize
from diffwright.diffusion.sites import find
from tests.support.tiny import pipeline

PAIRS = [("cat", "dog")]
SITES = ["te.0.attn.out", "te.1.mlp.out", ["unet.*.attn2.*.k", "unet.*.attn2.*.v"]]


def weights(pipe):
    parts = (pipe.text_encoder, getattr(pipe, "text_encoder_2", None), pipe.unet)
    return [tensor.clone() for part in parts if part is not None for tensor in part.state_dict().values()]


def same(before, after):
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def output(pipe, name, prompt, position):
    site = find(pipe, name)
    with torch.no_grad(), taps([site]) as seen:
        pipe.text_encoder(tokenize(pipe.tokenizer, [prompt])[0])
    return seen[name][0][0, position]


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "inpaint", "pocket"])
@pytest.mark.parametrize("site", [*SITES, None])
def test_revert_is_bit_exact(kind, site):
    pipe = pipeline(kind)
    before = weights(pipe)
    edit = edit_concepts(pipe, PAIRS, site=site, lam=1e-5)
    assert same(before, weights(pipe))
    for strength in (1.0, 0.3, -1.0):
        edit.apply(pipe, strength)
        assert not same(before, weights(pipe))
        edit.revert(pipe)
        assert same(before, weights(pipe))


def test_the_layer_gives_the_targets_output_at_the_source_bias_included():
    pipe = pipeline("sd1")
    name = "te.0.attn.out"
    torch.nn.init.normal_(find(pipe, name).linear.bias, std=2.0)
    wanted = output(pipe, name, "a photo of dog", -74 + 1)
    positions = {p: len(pipe.tokenizer(p)["input_ids"]) - 2 for p in ("a photo of cat", "a photo of dog")}
    wanted = output(pipe, name, "a photo of dog", positions["a photo of dog"])
    far = output(pipe, name, "a photo of cat", positions["a photo of cat"])
    edit = edit_concepts(pipe, PAIRS, lam=1e-9)
    with edit.applied(pipe):
        near = output(pipe, name, "a photo of cat", positions["a photo of cat"])
    assert float((near - wanted).norm() / wanted.norm()) <= 1e-3
    assert float((far - wanted).norm()) > 10 * float((near - wanted).norm())


@pytest.mark.parametrize("name", ["te.0.attn.out", "te.0.mlp.out"])
def test_the_stream_aim_moves_the_encoding_further_to_the_target(name):
    pipe = pipeline("pocket")
    target, left = encode(pipe, ["dog"])[0, 1], {}
    for aim in ("output", "stream"):
        settings = {"lam": 1e-9, "templates": ["{}"], "preserve_prompts": []}
        edit = edit_concepts(pipe, PAIRS, ["mug"], site=name, aim=aim, **settings)
        with edit.applied(pipe):
            left[aim] = float((encode(pipe, ["cat"])[0, 1] - target).norm())
    assert left["stream"] < 0.05 * left["output"]


def test_the_cross_attention_reads_the_target_at_the_source():
    pipe = pipeline("sd1")
    site = find(pipe, "unet.mid.0.attn2.0.v")
    source, target = encode(pipe, ["cat"])[0, 1], encode(pipe, ["dog"])[0, 1]
    wanted = site.linear(target)
    edit = edit_concepts(pipe, PAIRS, site=site.name, lam=1e-6)
    with edit.applied(pipe), torch.no_grad():
        torch.testing.assert_close(site.linear(source), wanted, atol=1e-3, rtol=0)


def test_many_pairs_share_one_solve_and_preserved_words_stay():
    pipe = pipeline("sd1")
    site = find(pipe, "te.1.attn.out").name
    pairs, kept = [("cat", "dog"), ("red mug", "the")], ["zebra", "car"]
    free = edit_concepts(pipe, pairs, site=site, lam=1e-7)
    held = edit_concepts(pipe, pairs, kept, site=site, lam=1e-7)
    assert [(fit.source, fit.target) for fit in held.fits] == pairs
    assert all(fit.after < 0.2 * fit.before for fit in free.fits)
    assert held.patches[0].factors.up.shape[1] <= len(pairs) * len(PAPER_TEMPLATES)
    drift = {}
    for name, edit in {"free": free, "held": held}.items():
        last = len(pipe.tokenizer("a photo of zebra")["input_ids"]) - 2
        before = output(pipe, site, "a photo of zebra", last)
        with edit.applied(pipe):
            drift[name] = float((output(pipe, site, "a photo of zebra", last) - before).norm())
    assert drift["held"] < 0.3 * drift["free"]


def test_held_prompts_stay_unless_they_name_a_source():
    pipe = pipeline("sd1")
    site, prompt = "te.0.mlp.out", "the red zebra"
    before, drift = encode(pipe, [prompt]), {}
    for held in ((), (prompt,), (prompt, "a photo of a cat")):
        edit = edit_concepts(pipe, PAIRS, site=site, preserve_prompts=held, lam=1e-6)
        with edit.applied(pipe):
            drift[len(held)] = float((encode(pipe, [prompt]) - before)[0, :9].norm())
    assert drift[1] < 0.2 * drift[0]
    assert drift[2] == drift[1]


def test_the_change_is_linear_in_the_strength():
    pipe = pipeline("sd1")
    edit = edit_concepts(pipe, PAIRS, lam=1e-4)
    weight = find(pipe, "te.0.attn.out").linear.weight
    base, changes = weight.detach().clone(), []
    for strength in (1.0, 0.5):
        with edit.applied(pipe, strength):
            changes.append(weight.detach() - base)
    torch.testing.assert_close(changes[1], changes[0] / 2, atol=1e-6, rtol=0)


def test_equal_source_and_target_change_nothing_and_warn():
    pipe = pipeline("sd1")
    before = weights(pipe)
    with pytest.warns(UserWarning, match="changes nothing"):
        edit = edit_concepts(pipe, [("cat", "Cat")])
    assert all(patch.factors.up.shape[1] == 0 for patch in edit.patches)
    edit.apply(pipe)
    assert same(before, weights(pipe))
    assert "changes nothing" in edit.report()


def test_a_badly_fitted_pair_warns_and_a_good_one_does_not():
    pipe = pipeline("sd1")
    with pytest.warns(UserWarning, match="less than half"):
        edit_concepts(pipe, PAIRS, lam=1e3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edit = edit_concepts(pipe, PAIRS, lam=1e-6)
    assert edit.fits[0].after < 0.1 < 10 * edit.fits[0].before


@pytest.mark.parametrize("site", SITES)
def test_a_saved_edit_does_the_same_bit_by_bit(tmp_path, site):
    edit = edit_concepts(pipeline("sdxl"), PAIRS, ["mug"], site=site, lam=1e-4)
    path = edit.save(tmp_path / "edit.safetensors")
    again = ConceptEdit.load(tmp_path)
    one, other = pipeline("sdxl"), pipeline("sdxl")
    edit.apply(one)
    again.apply(other)
    assert same(weights(one), weights(other))
    assert (again.pairs, again.preserve, again.fits) == (edit.pairs, edit.preserve, edit.fits)
    assert again.choice == edit.choice
    assert path.stat().st_size < 120_000


def test_another_base_is_refused_with_the_name_of_the_mismatch(tmp_path):
    edit = edit_concepts(pipeline("sd1"), PAIRS)
    other = pipeline("sd1", seed=1)
    before = weights(other)
    with pytest.raises(WeightsError, match=r"te\.0\.attn\.out has the fingerprint"):
        edit.apply(other)
    assert same(before, weights(other))
    edit.apply(other, check=False)
    edit.revert(other)
    second = edit_concepts(pipeline("sdxl"), PAIRS, site="te2.0.attn.out")
    with pytest.raises(WeightsError, match=r"te2\.0\.attn\.out, which this pipeline lacks"):
        second.apply(other)
    cross = edit_concepts(pipeline("sdxl"), PAIRS, site="unet.mid.0.attn2.0.k")
    with pytest.raises(WeightsError, match="shape"):
        cross.apply(other)
    half = pipeline("sd1").to(torch.float16)
    edit.apply(half)
    edit.revert(half)


def test_edits_of_one_base_stack_and_come_off_in_opposite_order():
    pipe = pipeline("sd1")
    before = weights(pipe)
    first, second = (edit_concepts(pipe, [pair], lam=1e-4) for pair in (("cat", "dog"), ("mug", "red")))
    first.apply(pipe)
    second.apply(pipe)
    with pytest.raises(InputError, match="already applied"):
        first.apply(pipe)
    with pytest.raises(InputError, match="later edit first"):
        first.revert(pipe)
    second.revert(pipe)
    first.revert(pipe)
    assert same(before, weights(pipe))
    with pytest.raises(InputError, match="nothing to revert"):
        first.revert(pipe)


@pytest.mark.parametrize(
    ("pairs", "options", "error"),
    [
        ([], {}, InputError),
        ("cat=dog", {}, InputError),
        ([("cat",)], {}, InputError),
        ([("cat", "")], {}, InputError),
        ([("cat", "dog"), ("Cat", "mug")], {}, InputError),
        (PAIRS, {"templates": []}, InputError),
        (PAIRS, {"templates": ["a cat"]}, InputError),
        (PAIRS, {"site": "te.9.attn.out"}, InputError),
        (PAIRS, {"site": "te.0.attn"}, InputError),
        (PAIRS, {"lam": 0.0}, ConfigError),
        (PAIRS, {"tokens": "all"}, ConfigError),
        (PAIRS, {"preserve_weight": 0.0}, ConfigError),
    ],
)
def test_unfit_requests_are_refused(pairs, options, error):
    with pytest.raises(error):
        edit_concepts(pipeline("sd1"), pairs, **options)


def test_foreign_pipelines_are_refused():
    with pytest.raises(UnsupportedBackbone):
        edit_concepts(object(), PAIRS)


@pytest.mark.parametrize("damage", ["missing", "text", "cut", "foreign", "nan"])
def test_damaged_files_are_weights_errors(tmp_path, damage):
    from safetensors.torch import save_file

    path = edit_concepts(pipeline("sd1"), PAIRS).save(tmp_path / "edit.safetensors")
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text("hello")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == "foreign":
        save_file({"a": torch.zeros(2)}, path)
    else:
        edit = ConceptEdit.load(path)
        edit.patches[0].factors.up[0, 0] = float("nan")
        edit.save(path)
    with pytest.raises(WeightsMissing if damage == "missing" else WeightsCorrupt):
        ConceptEdit.load(path)
