import pytest
import torch

from diffwright.bench.baselines.quickfix_published import published_edit
from diffwright.concepts.choice import PAPER_TEMPLATES, default_choice
from diffwright.concepts.edit import ConceptEdit, Rewrite, edit_concepts
from diffwright.core.errors import ConfigError, InputError
from diffwright.diffusion.hooks import taps
from diffwright.diffusion.prompts import encode, tokenize
from diffwright.diffusion.sites import find
from tests.support.tiny import pipeline

SITE = "te.0.attn.out"


@pytest.fixture(scope="module")
def pipe():
    return pipeline("sd1")


def read(pipe, prompt, position, name=SITE):
    with torch.no_grad(), taps([find(pipe, name)]) as seen:
        pipe.text_encoder(tokenize(pipe.tokenizer, [prompt])[0])
    return seen[name][0][0, position]


def last(pipe, prompt):
    return len(pipe.tokenizer(prompt)["input_ids"]) - 2


def near(one, other, part=1e-2):
    return float((one - other).norm()) < part * float(other.norm())


def test_an_erased_concept_reads_like_the_end_of_the_text(pipe):
    edit = edit_concepts(pipe, [Rewrite.erase("cat")], lam=1e-8)
    ended = read(pipe, "a photo of", last(pipe, "a photo of") + 1)
    with edit.applied(pipe):
        assert near(read(pipe, "a photo of cat", last(pipe, "a photo of cat")), ended)
    assert edit.pairs == (("cat", "nothing"),)
    anchored = edit_concepts(pipe, [Rewrite.erase("cat", "dog")], lam=1e-8)
    plain = edit_concepts(pipe, [("cat", "dog")], lam=1e-8)
    assert torch.equal(anchored.patches[0].factors.dense(), plain.patches[0].factors.dense())


def test_a_fact_changes_the_phrase_and_holds_its_words(pipe):
    site, left, moved = "te.1.mlp.out", {}, {}
    target = read(pipe, "zebra", last(pipe, "zebra"), site)
    phrase, part = ((prompt, last(pipe, prompt), site) for prompt in ("the red cat", "red cat"))
    far, alone = read(pipe, *phrase), read(pipe, *part)
    for kind in ("replace", "fact"):
        rewrite = getattr(Rewrite, kind)("the red cat", "zebra")
        edit = edit_concepts(pipe, [rewrite], site=site, templates=["{}"], lam=1e-8)
        assert edit.choice.mode == {"replace": "ridge", "fact": "preserve"}[kind]
        with edit.applied(pipe):
            left[kind] = float((read(pipe, *phrase) - target).norm() / (far - target).norm())
            moved[kind] = float((read(pipe, *part) - alone).norm())
    assert max(left.values()) < 0.05
    assert moved["fact"] < 0.1 * moved["replace"]


def test_a_mixture_reads_like_the_mean_of_its_targets(pipe):
    site = "unet.mid.0.attn2.0.v"
    edit = edit_concepts(pipe, [Rewrite.debias("cat", ["dog", "mug"], [3, 1])], site=site, lam=1e-8)
    value = find(pipe, site).linear
    dog, mug, cat = (encode(pipe, [word])[0, 1] for word in ("dog", "mug", "cat"))
    wanted = 0.75 * value(dog) + 0.25 * value(mug)
    with edit.applied(pipe), torch.no_grad():
        assert near(value(cat), wanted)


def test_kinds_go_into_one_solve_and_one_file(pipe, tmp_path):
    asked = [("cat", "dog"), Rewrite.erase("mug"), Rewrite.fact("red zebra", "the mug")]
    edit = edit_concepts(pipe, asked, ["car"], site="te.1.mlp.out", templates=["{}"], lam=1e-8)
    assert [fit.target for fit in edit.fits] == ["dog", "nothing", "the mug"]
    assert all(fit.left < 0.5 for fit in edit.fits)
    again = ConceptEdit.load(edit.save(tmp_path / "edit.safetensors"))
    assert again.rewrites == edit.rewrites
    assert again.choice == edit.choice


def test_the_legacy_mode_is_the_published_path_bias_quirk_and_all():
    pipe = pipeline("sd1")
    linear = find(pipe, SITE).linear
    torch.nn.init.normal_(linear.bias, std=0.5)
    edit = edit_concepts(pipe, [("cat", "dog")], mode="legacy")
    assert edit.choice.templates == PAPER_TEMPLATES
    right = edit_concepts(pipe, [("cat", "dog")], tokens="last+eos+pad")
    before, _ = published_edit(pipe, "cat", "dog", PAPER_TEMPLATES)
    theirs = (linear.weight.detach() - before).double()
    size = float(theirs.norm())
    assert float((edit.patches[0].factors.dense() - theirs).norm()) < 0.02 * size
    assert float((right.patches[0].factors.dense() - theirs).norm()) > 0.1 * size


def test_averaged_templates_take_one_direction_each(pipe):
    pairs = [("cat", "dog"), ("mug", "red")]
    edit = edit_concepts(pipe, pairs, lam=1e-6, average=True)
    assert edit.patches[0].factors.up.shape[1] == 2
    single = edit_concepts(pipe, pairs, lam=1e-6, average=True, templates=["a photo of {}"])
    plain = edit_concepts(pipe, pairs, lam=1e-6, templates=["a photo of {}"])
    torch.testing.assert_close(single.patches[0].factors.dense(), plain.patches[0].factors.dense())
    assert all(fit.left > 1e-3 for fit in edit.fits), (
        "the residual is told for every template, not for their mean"
    )
    with pytest.raises(ConfigError, match="averaged"):
        edit_concepts(pipe, pairs, average=True, tokens="last+eos+pad")


@pytest.mark.parametrize("mode", ["preserve", "covariance", "null-space"])
def test_modes_that_hold_move_other_words_less(pipe, mode):
    words = ["zebra", "car", "the red sofa", "on the moon"]
    drift = {}
    for name in ("ridge", mode):
        held = {} if name == "ridge" else {"preserve_prompts": words, "preserve_weight": 100.0}
        edit = edit_concepts(pipe, [("cat", "dog")], lam=1e-4, mode=name, **held)
        before = read(pipe, words[0], last(pipe, words[0]))
        with edit.applied(pipe):
            drift[name] = float((read(pipe, words[0], last(pipe, words[0])) - before).norm())
    assert drift[mode] < 0.3 * drift["ridge"]


def test_modes_say_what_they_cannot_do(pipe):
    for mode in ("ridge", "legacy"):
        with pytest.raises(InputError, match="holds nothing, but"):
            edit_concepts(pipe, [("cat", "dog")], ["mug"], mode=mode)
    with pytest.raises(InputError, match="Mode 'preserve' holds nothing"):
        edit_concepts(pipe, [("cat", "dog")], mode="preserve")
    with pytest.raises(ConfigError, match="covariance"):
        edit_concepts(pipe, [("cat", "dog")], mode="covarance")
    with pytest.raises(ConfigError, match="legacy"):
        edit_concepts(pipe, [("cat", "dog")], mode="legacy", aim="stream")
    with pytest.raises(InputError, match=r"give a list of concepts like \['mug'\]"):
        edit_concepts(pipe, [("cat", "dog")], "mug")


def test_modes_that_need_a_corpus_have_one():
    for mode in ("covariance", "null-space"):
        held = default_choice("sd", mode).held
        assert len(set(held)) == len(held) > 200
    assert default_choice("sd") == default_choice("sd", "ridge")
    assert default_choice("pocket").mode == "preserve"
    assert default_choice("pocket", "ridge").held == ()
    assert default_choice("pocket", "legacy").tokens == "last+eos+pad"
