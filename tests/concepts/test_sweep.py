from dataclasses import replace

import pytest

from diffwright.concepts.choice import Choice, default_choice
from diffwright.concepts.judged import Change, Gallery, Plan
from diffwright.concepts.recommend import Row
from diffwright.concepts.sweep import Screen, _best_of_each, candidates, make_edit, sweep, table
from diffwright.core.errors import ConfigError, UnsupportedBackbone
from tests.support.tiny import pipeline

CHANGES = [Change("kind", "mug", "duck"), Change("color", "red", "blue")]


def test_candidates_cover_every_layer_and_the_cross_attention(gallery):
    found = candidates(gallery.pipe)
    assert len(set(found)) == len(found)
    names = {name for choice in found for name in choice.site}
    assert {"te.0.attn.out", "te.2.mlp.out", "unet.*.attn2.*.v"} <= names
    assert all(choice.templates == default_choice("pocket").templates for choice in found)
    assert len(candidates(gallery.pipe, brief=True)) < len(found) / 2


def test_an_edit_that_hits_everything_recovers_and_drifts_more_than_one_that_does_nothing(gallery):
    screen = Screen.of_change(gallery, CHANGES[0])
    templates = default_choice("pocket").templates
    strong = Choice(("te.0.mlp.out",), 1e-9, "last", "stream", templates)
    weak = Choice(("te.0.mlp.out",), 1e6, "last", "stream", templates)
    (far, moved), (none, still) = (
        screen.measure(make_edit(gallery.pipe, CHANGES[0], c)) for c in (strong, weak)
    )
    assert moved > 100 * still
    assert abs(none) < 1e-3 < abs(far)


def test_a_sweep_screens_all_and_paints_the_best(gallery):
    choices = candidates(gallery.pipe)[::17]
    told = []
    gallery.progress = lambda what, done, total: told.append(what)
    rows = sweep(gallery, CHANGES, choices, finalists=1, plan=Plan("train", 1, 1, 1)).rows
    assert len(rows) == len(choices)
    assert [row.judged is not None for row in rows] == [True] + [False] * (len(rows) - 1)
    screened = [row.score for row in rows[1:]]
    assert screened == sorted(screened, reverse=True)
    assert set(told) == {"screening", "painting"}
    lines = table(rows).splitlines()
    assert len(lines) == 1 + len(rows)
    assert str(rows[0].choice) in lines[1]


def test_sweeps_without_changes_or_on_two_encoders_are_refused(gallery):
    with pytest.raises(ConfigError):
        sweep(gallery, [])
    with pytest.raises(UnsupportedBackbone, match="one text encoder"):
        sweep(Gallery(pipeline("sdxl"), None), CHANGES)


def test_settings_survive_json():
    choice = default_choice("pocket")
    from dataclasses import asdict

    assert Choice.parsed({**asdict(choice), "site": list(choice.site)}) == choice
    assert default_choice("sd") == Choice()


def test_finalists_are_of_different_sites_or_tokens():
    usual = default_choice("pocket")
    rows = [
        Row(replace(usual, site=(site,), lam=lam), recovery, 0.0)
        for site, lam, recovery in (("a", 1.0, 0.9), ("a", 0.1, 0.8), ("b", 1.0, 0.7), ("c", 1.0, 0.6))
    ]
    best, others = _best_of_each(rows, 2)
    assert [row.choice.site for row in best] == [("a",), ("b",)]
    assert others == [rows[1], rows[3]]
