import pytest
import torch

from diffwright.bench import (
    concepts_baselines,
    concepts_export,
    concepts_mass,
    concepts_sites,
    concepts_wordings,
)
from diffwright.bench.clip_l import clip_l_pipeline
from diffwright.concepts.judged import Change, Gallery, Plan
from diffwright.concepts.sweep import candidates
from diffwright.core.errors import MissingExtra
from diffwright.metrics.judge import Judge
from diffwright.world.vocabulary import ATTRIBUTES
from tests.support.tiny import pipeline

CHANGE = Change("color", "red", "blue")
SMALL = Plan(seeds=1, near=1, others=0, steps=1)


@pytest.fixture
def gallery():
    torch.manual_seed(0)
    judge = Judge(ATTRIBUTES, size=32, widths=(8, 8, 8)).eval()
    return Gallery(pipeline("pocket"), judge, steps=1)


class Flattering(Gallery):
    """A gallery that always sees the change done."""

    def before(self, asked):
        return [probe.value for probe in asked]

    def after(self, edit, asked):
        return [CHANGE.target if probe.value == CHANGE.source else probe.value for probe in asked]


def test_other_words_are_judged_by_four_figures(gallery):
    scripted = Flattering(gallery.pipe, None)
    found = concepts_wordings.figures(scripted, [CHANGE], sentences=4)
    assert {name: figure.value for name, figure in found.items()} == {
        "paraphrase_share": 1.0,
        **{f"{name}_efficacy": 1.0 for name in ("paraphrase", "case", "typo", "position")},
    }
    assert "4 unseen sentences; 4 pictures" in found["paraphrase_efficacy"].note


def test_closed_forms_have_their_figures(gallery):
    found = concepts_baselines.closed_forms(gallery, [CHANGE], SMALL)
    assert set(found) == {
        f"{name}_{figure}"
        for name in ("kv", "kv_aligned", "token_embedding")
        for figure in ("efficacy", "neighbour_drop")
    }
    assert gallery.unet_evaluations > 0


def test_a_race_ends_when_the_training_does_as_well(gallery):
    scripted = Flattering(gallery.pipe, None)
    race = concepts_baselines.race(scripted, CHANGE, SMALL, (1e-3, 1e-2), (1, 2, 3))
    assert (race.reached, race.theirs.step) == (True, 1)
    assert race.ratio == pytest.approx(race.theirs.seconds / race.ours_s)
    assert (race.efficacy, race.fall) == ((1.0, 1.0), (0.0, 0.0))


def test_a_race_that_is_not_won_is_a_lower_bound(gallery):
    class Stern(Flattering):
        def after(self, edit, asked):
            ours = hasattr(edit, "patches")
            return super().after(edit, asked) if ours else self.before(asked)

    found = concepts_baselines.trainings(
        Stern(gallery.pipe, None), [CHANGE], SMALL, rates=(1e-3,), checks=(1, 2), anchor_steps=1
    )
    assert found["finetune_ratio"].note.startswith(
        "a lower bound; red -> blue: did not reach ours after 2 steps"
    )
    assert found["efficacy_gap_finetune"].value == -1.0
    assert found["neighbour_gap_finetune"].value == 0.0
    assert found["anchor_efficacy"].value == 0.0


def test_invented_names_are_two_tokens_each():
    names = concepts_mass.invented(1500)
    assert len({name.split()[1] for name in names}) == 1500
    words = clip_l_pipeline.__globals__["_tokenizer"](sorted({w for name in names for w in name.split()}))
    assert {len(words(name, add_special_tokens=False)["input_ids"]) for name in names} == {2}


def test_drift_is_measured_at_names_that_were_not_used():
    from diffwright.concepts.edit import edit_concepts

    pipe = pipeline("sd1")
    edit = edit_concepts(pipe, [("cat", "dog")], lam=1e-4)
    assert concepts_mass.drift(pipe, edit, ["zebra", "mug"]) > 0
    assert concepts_mass.drift(pipe, edit, ["cat"]) == pytest.approx(1.0)
    weaker = edit.scaled(0.5)
    assert concepts_mass.drift(pipe, weaker, ["mug"]) == pytest.approx(
        concepts_mass.drift(pipe, edit, ["mug"]), rel=1e-3
    )


def test_without_peft_the_bench_says_what_to_install(monkeypatch):
    monkeypatch.setattr(concepts_export, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install peft"):
        concepts_export.figures()


def test_trace_effects_and_edits_are_ranked_over_the_same_sites(gallery, monkeypatch):
    deep = ["te.0.attn", "te.0.mlp", "te.1.attn", "te.1.mlp"]
    effects = {site: 1.0 - 0.1 * number for number, site in enumerate(deep)} | {"unet.mid.attn2.0": -1.0}
    monkeypatch.setattr(
        concepts_sites, "effect_of", lambda site, given: given.get(site.rpartition(".")[0], -1.0)
    )
    monkeypatch.setattr(concepts_sites, "traced", lambda *_: effects)
    found = concepts_sites.figures(gallery, [CHANGE])
    assert set(found) == {
        "site_rank_correlation", "site_rank_correlation_depth", "site_rank_correlation_pooled",
        "site_rank_correlation_depth_pooled", "site_agreement",
    }  # fmt: skip
    assert found["site_rank_correlation"].value == found["site_rank_correlation_pooled"].value
    assert -1 <= found["site_rank_correlation"].value <= 1


def test_the_source_of_a_change_is_traced_at_every_site_that_is_swept(gallery):
    effects = concepts_sites.traced(gallery, CHANGE, 1, (1,))
    swept = {
        site.rpartition(".")[0] for choice in candidates(gallery.pipe, brief=True) for site in choice.site
    }
    assert {site for site in swept if site.startswith("te")} <= set(effects)
    assert any(site.startswith("unet") and ".attn2." in site for site in effects)
