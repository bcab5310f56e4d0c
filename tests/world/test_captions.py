import re
from functools import cache

import numpy as np
import pytest

from diffwright.core.errors import ConfigError
from diffwright.world import exam, splits
from diffwright.world.captions import (
    FAMILIES,
    caption,
    captions,
    families,
    from_values,
    is_true,
    labels,
    near_miss,
)
from diffwright.world.phrases import PLURALS
from diffwright.world.sample import propose
from diffwright.world.vocabulary import COLORS, KINDS, STYLES

SCENES = [propose(seed, 0, False, {}) for seed in range(300)]


def words(text):
    return set(re.findall(r"[a-z']+", text))


@cache
def drawn(templates, full=False):
    rng = np.random.default_rng(5)
    return [(scene, caption(scene, rng, templates, full)) for scene in SCENES for _ in range(4)]


def test_there_are_enough_patterns_and_the_splits_do_not_meet():
    train, test = families("train"), families("test")
    assert len(train) >= 8
    assert len(test) >= 5
    assert set(train) | set(test) == set(FAMILIES)
    assert not set(train) & set(test)
    assert set(test) == splits.TEST_FAMILIES


@pytest.mark.parametrize("templates", ["train", "test"])
def test_articles_and_spacing_are_right(templates):
    for _, made in drawn(templates):
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  | ,|^[ ,]|[ ,:]$|[\[\]{}]", made.text), made.text
        assert made.text == made.text.lower()


@pytest.mark.parametrize("full", [False, True])
def test_a_caption_says_what_it_claims_and_the_truth(full):
    for scene, made in drawn("train", full) + drawn("test", full):
        truth = labels(scene)
        assert all(truth[name] == value for name, value in made.stated.items())
        assert {"kind", "count"} <= set(made.stated)
        said = {name: made.text[a:b] for name, (a, b) in made.spans.items()}
        noun = scene.things[0].kind
        assert said["kind"] == (noun if truth["count"] == "1" else PLURALS[noun])
        assert said.get("color", truth["color"]) == truth["color"]
        assert said["subject"].endswith(said["kind"])
        if full:
            assert set(made.stated) == set(truth)


def test_every_stated_value_has_its_words_in_the_text():
    for _, made in drawn("train", full=True) + drawn("test", full=True):
        assert set(made.stated) <= set(made.spans), (made.text, set(made.stated) - set(made.spans))


def test_test_patterns_hold_no_word_unseen_in_training():
    seen = set().union(*(words(made.text) for _, made in drawn("train")))
    assert set().union(*(words(made.text) for _, made in drawn("test"))) <= seen
    prompts = exam.test_prompts() + exam.test_prompts(core=False)
    assert set().union(*(words(made.text) for made in prompts)) <= seen
    assert len(seen) < 150


def test_the_same_seed_draws_the_same_paraphrases():
    assert captions(SCENES[0], 5, 3) == captions(SCENES[0], 5, 3)
    assert len(set(captions(SCENES[0], 30, 3))) > 10


def test_how_often_values_are_stated():
    made = drawn("train")
    colors = np.mean(["color" in c.stated for _, c in made])
    painted = np.mean(["style" in c.stated for s, c in made if s.style != "photo"])
    photo = np.mean(["style" in c.stated for s, c in made if s.style == "photo"])
    assert abs(colors - 0.9) < 0.03
    assert abs(painted - 0.8) < 0.05
    assert abs(photo - 0.35) < 0.1
    assert all("relation" in c.stated for s, c in made if s.relation)


def test_a_caption_from_values():
    made = from_values(kind="torus", color="orange", count=2, style="night", pose="lying", place="moon")
    assert made.text == "a night picture of two orange tori lying on their sides on the moon"
    assert from_values(kind="airplane").text == "an airplane"
    made = from_values(kind="mug", color="red", relation="left of", other_kind="apple", other_color="green")
    assert made.text == "a red mug to the left of a green apple"
    floating = from_values(kind="duck", pose="floating", place="wooden table")
    assert floating.text == "a duck floating above a wooden table"
    assert from_values(kind="duck", pose="floating").text == "a duck floating in the air"


@pytest.mark.parametrize(
    "values",
    [{"color": "red"}, {"kind": "dog"}, {"kind": "mug", "color": "teal"}, {"kind": "mug", "shape": "flat"},
     {"kind": "mug", "relation": "behind"}, {"kind": "mug", "count": 4}, {"kind": "mug", "family": "none"}],
)  # fmt: skip
def test_unknown_values_are_refused(values):
    with pytest.raises(ConfigError):
        from_values(**values)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_pattern_can_say_everything(family):
    for kind, color, style in zip(KINDS, list(COLORS) * 3, STYLES * 4, strict=False):
        made = from_values(
            kind=kind, color=color, style=style, viewpoint="from above", count=3, pose="tilted",
            place="tiles", material="striped", family=family,
        )  # fmt: skip
        assert set(made.stated) <= set(made.spans), made.text


def test_a_near_miss_changes_one_stated_value_and_is_false():
    for number, (scene, made) in enumerate(drawn("train")):
        missed = near_miss(made, number)
        changed = [name for name in made.stated if missed.stated[name] != made.stated[name]]
        assert len(changed) == 1
        assert missed.stated.keys() == made.stated.keys()
        assert missed.text != made.text
        assert is_true(made, scene)
        assert not is_true(missed, scene)
