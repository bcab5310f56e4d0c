import pytest
import torch

from diffwright.concepts.edit import edit_concepts
from diffwright.concepts.judged import Change, Gallery, Outcome, Plan, nearest, summarize, try_all, try_change
from diffwright.concepts.probes import CORE, probes
from diffwright.core.errors import ConfigError

CHANGE = Change("kind", "mug", "duck")
SMALL = Plan(seeds=1, near=1, others=1, steps=2)


class Scripted(Gallery):
    """A gallery whose pictures show what they are told to, with or without the edit."""

    def before(self, asked):
        return [probe.value for probe in asked]

    def after(self, edit, asked):
        seen = {("kind", "mug"): "duck", ("kind", "tree"): "cone", ("color", "red"): "blue"}
        return [seen.get((probe.attribute, probe.value), probe.value) for probe in asked]


def make(gallery, change):
    return edit_concepts(gallery.pipe, [change.pair], lam=1e-6)


def test_an_outcome_counts_what_turned_and_what_fell(gallery):
    scripted = Scripted(gallery.pipe, gallery.judge)
    outcome = try_change(scripted, make(gallery, CHANGE), CHANGE, Plan(seeds=2, near=1, others=2))
    assert outcome.turned == [True] * 10
    assert len(outcome.kept["target's own"]) == len(outcome.kept["nearest neighbour"]) == 5
    assert set(outcome.kept) >= {"color red", "color blue", "style photo"}
    assert "kind mug" not in outcome.kept
    assert "kind duck" not in outcome.kept
    summary = summarize([outcome])
    assert summary.efficacy == 1.0
    fallen = {group for group, fall in summary.falls.items() if fall > 0}
    assert "color red" in fallen
    assert summary.unrelated_drop == 1.0
    assert summary.falls["target's own"] == 0.0


def test_groups_cover_every_other_value_once(gallery):
    outcome = try_change(Scripted(gallery.pipe, gallery.judge), make(gallery, CHANGE), CHANGE, SMALL)
    total = sum(map(len, CORE.values()))
    assert len(outcome.kept) == total - 3 + 2  # source, target, neighbour; the two large groups


def test_values_that_the_same_edit_rewrites_are_not_unrelated(gallery):
    edit = edit_concepts(gallery.pipe, [CHANGE.pair, ("red", "blue"), ("duck", "car")], lam=1e-6)
    outcome = try_change(Scripted(gallery.pipe, gallery.judge), edit, CHANGE, SMALL)
    assert "color red" not in outcome.kept
    assert "target's own" not in outcome.kept
    assert "color blue" in outcome.kept


def test_summaries_pool_pictures():
    one = Outcome(CHANGE, [True, False], {"color red": [(True, False), (True, True)]})
    two = Outcome(Change("color", "red", "blue"), [True] * 6, {"color red": [(True, True), (False, True)]})
    summary = summarize([one, two])
    assert summary.efficacy == pytest.approx(7 / 8)
    assert summary.by_attribute == {"kind": 0.5, "color": 1.0}
    assert summary.falls == {"color red": pytest.approx(0.0)}
    assert summarize([]).unrelated_drop == 0.0


def test_the_gallery_paints_unedited_pictures_once_and_counts(gallery):
    asked = probes("kind", "mug", 1)
    first = gallery.before(asked)
    assert gallery.unet_evaluations == 2 * 2 * 5
    assert gallery.before(asked + asked[:2]) == first + first[:2]
    assert gallery.unet_evaluations == 20
    weight = gallery.pipe.text_encoder.encoder.layers[0].self_attn.out_proj.weight
    before = weight.detach().clone()
    gallery.after(make(gallery, CHANGE), asked)
    assert gallery.unet_evaluations == 40
    assert torch.equal(weight, before)
    with pytest.raises(ConfigError, match="no judge"):
        Gallery(gallery.pipe, None).before(asked)


def test_a_whole_try_runs_on_a_random_model(gallery):
    summary = try_all(gallery, [CHANGE], lambda change: make(gallery, change), SMALL)
    assert 0 <= summary.efficacy <= 1
    assert min(summary.falls.values()) >= -1


def test_the_nearest_value_is_neither_source_nor_target(gallery):
    found = nearest(gallery.pipe, CHANGE)
    assert found in set(CORE["kind"]) - {"mug", "duck"}
