import torch

from diffwright.bench import concepts
from diffwright.bench.baselines.quickfix_published import published_edit
from diffwright.bench.clip_l import clip_l_pipeline
from diffwright.concepts.choice import PAPER_TEMPLATES
from diffwright.concepts.edit import edit_concepts
from diffwright.concepts.judged import Change, Gallery, Plan
from diffwright.diffusion.sites import find
from diffwright.metrics.judge import Judge
from diffwright.world.vocabulary import ATTRIBUTES
from tests.support.tiny import pipeline

QUALITY = {"efficacy", "unrelated_drop", "efficacy_paper", "unrelated_drop_paper", "unet_evaluations"}


def test_the_published_path_has_its_291_keys_at_the_published_shape():
    pipe = clip_l_pipeline()
    weight = find(pipe, "te.0.attn.out").linear.weight
    assert weight.shape == (768, 768)
    assert len(pipe.text_encoder.encoder.layers) == 12
    before, count = published_edit(pipe, *concepts.PAIR, PAPER_TEMPLATES)
    assert count == concepts.PUBLISHED_KEYS
    assert not torch.equal(weight, before)


def test_the_published_path_is_our_solution_but_for_its_bias_and_precision():
    pipe = pipeline("sd1")
    linear = find(pipe, "te.0.attn.out").linear
    torch.nn.init.zeros_(linear.bias)
    edit = edit_concepts(pipe, [("cat", "dog")], lam=0.01, tokens="last+eos+pad", templates=PAPER_TEMPLATES)
    before, _ = published_edit(pipe, "cat", "dog", PAPER_TEMPLATES)
    theirs = linear.weight.detach() - before
    ours = edit.patches[0].factors.dense().float()
    assert float((ours - theirs).abs().max()) < 0.02 * float(theirs.abs().max())


def test_the_quality_part_runs_on_a_random_model():
    torch.manual_seed(0)
    judge = Judge(ATTRIBUTES, size=32, widths=(8, 8, 8)).eval()
    gallery = Gallery(pipeline("pocket"), judge, steps=1)
    figures = concepts.quality(
        gallery, [Change("kind", "mug", "duck")], Plan(seeds=1, near=1, others=1, steps=1)
    )
    assert set(figures) >= QUALITY
    assert 0 <= figures["efficacy"].value <= 1
    assert figures["unet_evaluations"].value == gallery.unet_evaluations > 0
