import pytest

from diffwright.concepts.choice import Choice
from diffwright.concepts.recommend import Row, effect_of, from_effects, recommend, recovery_at
from diffwright.concepts.rewrite import Rewrite
from diffwright.concepts.sweep import CROSS_ATTENTION, Sweep, choose_site, sweep
from diffwright.core.errors import InputError
from tests.support.tiny import pipeline


def row(site, recovery, drift, lam=1e-2, **settings):
    return Row(Choice(site if isinstance(site, tuple) else (site,), lam=lam, **settings), recovery, drift)


ROWS = [
    row("te.0.attn.out", 0.9, 0.5, 1e-3),
    row("te.0.attn.out", 0.3, 0.05, 1e-1),
    row("te.1.attn.out", 0.6, 0.08, 1e-3),
    row("te.2.mlp.out", 0.5, 0.2, 1e-3),
    row("te.2.mlp.out", 0.2, 0.3, 1e-3, aim="stream"),
    row(CROSS_ATTENTION, 0.05, 0.01),
]


def test_recovery_is_read_at_a_fixed_drift():
    first = ROWS[:2]
    assert recovery_at(first, 0.05) == pytest.approx(0.3)
    assert recovery_at(first, 0.275) == pytest.approx(0.6)
    assert recovery_at(first, 9.0) == pytest.approx(0.9)
    assert recovery_at(ROWS[3:4], 0.1) == pytest.approx(0.25)
    assert recovery_at([row("a", -0.5, 0.05)], 0.1) == 0.0


def test_the_site_that_recovers_most_at_equal_drift_is_recommended():
    found = recommend(ROWS)
    assert found.choice.site == ("te.1.attn.out",)
    assert found.efficacy["te.2.mlp.out"] == pytest.approx(0.25)
    assert "te.1.attn.out recovers 0.60 of the way at drift 0.1, the most of 4 sites" in found.reason
    assert (found.correlation, found.place) == (None, None)
    assert recommend(ROWS, drift=0.5).choice.site == ("te.0.attn.out",)
    assert recommend(ROWS[:2]).choice.lam == 1e-1, "the strength that stays within the drift"
    with pytest.raises(InputError):
        recommend([])


def test_effects_are_compared_with_what_edits_did():
    effects = {
        "te.0.attn": 0.2,
        "te.1.attn": 0.8,
        "te.2.mlp": 0.1,
        "unet.up.0.attn2.0": 0.05,
        "te.2.attn": 3.0,
    }
    found = recommend(ROWS, effects)
    # effects 0.2, 0.8, 0.1, 0.05 against recoveries at drift 0.1 of 0.37, 0.6, 0.25, 0.05
    assert found.correlation == pytest.approx(1.0)
    crossed = recommend(ROWS, {**effects, "te.0.attn": 0.05, "te.2.mlp": 0.2, "unet.up.0.attn2.0": 0.1})
    assert crossed.correlation == pytest.approx(0.4)
    assert found.place == 1
    assert "rank correlation" in found.reason
    assert recommend(ROWS, {"te.1.attn": 0.8, "te.0.attn": 0.9}).place == 2
    assert recommend(ROWS, {"te.1.attn": 0.8}).correlation is None
    assert recommend(ROWS, dict.fromkeys(effects, 1.0)).correlation is None


def test_effects_find_their_linear_sites():
    effects = {"te.0.attn": 0.5, "te.1.mlp.out": 0.25, "unet.up.0.attn2.0": 0.1, "unet.mid.0.attn2.0": 0.3}
    assert effect_of("te.0.attn.out", effects) == 0.5
    assert effect_of("te.1.mlp.out", effects) == 0.25
    assert effect_of("te.10.attn.out", effects) is None
    assert effect_of(" ".join(CROSS_ATTENTION), effects) == 0.3


def test_the_strongest_editable_effect_names_the_site():
    pipe = pipeline("sd1")
    found = from_effects(
        pipe, {"unet.down.0.resnet.0": 0.9, "te.2.attn": 0.5, "te.0.mlp": 0.7, "te.9.attn": 0.8}
    )
    assert found.choice.site == ("te.0.mlp.out",)
    assert found.place == 3
    assert "te.0.mlp has the strongest effect" in found.reason
    assert "unet.down.0.resnet.0, te.9.attn came before it" in found.reason
    cross = from_effects(pipe, {"unet.mid.0.attn2.0": 1.0, "te.0.block": 0.1})
    assert cross.choice.site == ("unet.mid.0.attn2.0.k", "unet.mid.0.attn2.0.v")
    assert from_effects(pipe, {"te.1.block": 0.9, "te.1.mlp": 0.1}).choice.site == ("te.1.mlp.out",)
    with pytest.raises(InputError, match="None of the 1 effects"):
        from_effects(pipe, {"unet.down.0.resnet.0": 0.9})


def test_a_site_is_chosen_for_any_words_by_trying(gallery):
    told = []
    gallery.progress = lambda what, done, total: told.append((done, total))
    found = choose_site(gallery, [Rewrite.erase("red mug")])
    assert found.reason.startswith(" ".join(found.choice.site))
    assert len(found.efficacy) == 3 * 2 + 1
    assert told[-1] == (21, 21)
    assert gallery.unet_evaluations > 0


def test_a_sweep_hands_the_effects_on(gallery):
    choices = [row(f"te.{n}.attn.out", 0, 0).choice for n in range(3)]
    from diffwright.concepts.judged import Change

    effects = {f"te.{n}.attn": float(n) for n in range(3)}
    found = sweep(gallery, [Change("kind", "mug", "duck")], choices, finalists=0, effects=effects)
    assert isinstance(found, Sweep)
    assert found.recommended.place in (1, 2, 3)
    assert found.recommended.correlation is None or -1 <= found.recommended.correlation <= 1
