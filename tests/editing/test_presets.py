from dataclasses import replace

import pytest

from diffwright.core.errors import ConfigError
from diffwright.editing.presets import PRESETS, Preset, preset


def which(steps, what):
    return [step.i for step in steps if getattr(step, what)]


def test_the_reference_is_as_published():
    steps = PRESETS["reference"].steps_taken(["move"])
    assert which(steps, "guided") == [*range(10), *range(10, 30, 2)]
    assert which(steps, "noisy") == list(range(11, 20))
    assert which(steps, "prompted") == list(range(10, 20))
    assert which(steps, "bank") == list(range(5, 50))
    assert {step.i: step.passes for step in steps if step.passes > 1} == {22: 3, 24: 3, 26: 3, 28: 3}
    assert sum(step.passes for step in steps if step.guided) == 28
    assert sum(step.passes for step in steps) == 58


@pytest.mark.parametrize("task", ["replace", "paste"])
def test_banks_of_two_pictures_are_shown_early(task):
    assert which(PRESETS["reference"].steps_taken([task]), "bank") == list(range(36))


def test_the_earlier_mode_guides_every_step_and_adds_nothing():
    steps = PRESETS["dragon"].steps_taken(["move"])
    assert which(steps, "guided") == list(range(30))
    assert which(steps, "noisy") == which(steps, "prompted") == []
    assert {step.passes for step in steps} == {1}


def test_without_energy_nothing_is_guided_and_no_time_is_travelled():
    steps = Preset(energy=0).steps_taken(["drag"])
    assert which(steps, "guided") == []
    assert {step.passes for step in steps} == {1}


def test_a_later_begin_leaves_steps_out():
    steps = Preset(steps=20, begin_at=0.2).steps_taken(["move"])
    assert [step.i for step in steps] == list(range(4, 20))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 1},
        {"passes": 0},
        {"eta_in": 1.5},
        {"begin": "noize"},
        {"noisy": (0.5, 0.2)},
        {"energy": float("nan")},
        {"exact": True},
        {"carry": True},
        {"limit": -1.0},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        Preset(**wrong)


@pytest.mark.parametrize("name", ["balanced", "fast"])
def test_every_mechanism_that_ours_names_acts_in_some_step(name):
    steps = PRESETS[name].steps_taken(["move"])
    for what in ("guided", "noisy", "prompted", "bank"):
        assert which(steps, what), what
    again = replace(PRESETS[name], passes=3).steps_taken(["move"])
    assert {step.passes for step in again} == {1, 3}


def test_presets_go_by_name():
    assert preset("fast") is PRESETS["fast"]
    assert preset(PRESETS["fast"]) is PRESETS["fast"]
    with pytest.raises(ConfigError, match="did you mean 'balanced'"):
        preset("balancd")
