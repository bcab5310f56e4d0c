from collections import Counter

import pytest

from diffwright.core.errors import ConfigError
from diffwright.world import exam, splits
from diffwright.world.sample import legible, propose, sample
from diffwright.world.vocabulary import COLORS, CORE_COLORS, CORE_KINDS, KINDS, poses_of


def test_seed_ranges_follow_each_other_without_a_gap():
    train, development, test = splits.SEEDS.values()
    assert train.start == 0
    assert train.stop == development.start == 2**30
    assert development.stop == test.start
    assert [splits.split_of(r.start) for r in (train, development, test)] == list(splits.SEEDS)
    assert splits.seeds("test", 3, 5) == [test.start + i for i in (5, 6, 7)]
    with pytest.raises(ConfigError):
        splits.split_of(test.stop)
    with pytest.raises(ConfigError):
        splits.seeds("train", 2, 2**30 - 1)


def test_held_out_pairs_are_of_the_vocabulary_and_known_in_scenes():
    assert len(splits.HELD_OUT_PAIRS) >= 5
    assert all(kind in KINDS and color in COLORS for kind, color in splits.HELD_OUT_PAIRS)
    kind, color = sorted(splits.HELD_OUT_PAIRS)[0]
    scene = propose(0, 0, False, {"kind": kind, "color": color})
    assert splits.is_held_out(scene)
    assert not splits.is_held_out(scene.with_(0, kind="torus").with_(relation=None, things=scene.things[:0]))
    allowed = splits.allowed_pairs(CORE_KINDS, CORE_COLORS)
    assert not set(allowed) & splits.HELD_OUT_PAIRS
    assert len(allowed) > 85


@pytest.mark.parametrize("core", [True, False])
def test_the_test_prompts_are_balanced_possible_and_distinct(core):
    prompts = exam.test_prompts(core=core)
    assert len({p.text for p in prompts}) == len(prompts) == 500
    assert {p.family for p in prompts} == splits.TEST_FAMILIES
    for name in exam.TEST_SHARES:
        stated = Counter(p.stated[name] for p in prompts if name in p.stated)
        assert sum(stated.values()) >= 100
        assert max(stated.values()) - min(stated.values()) <= 1, stated
        assert set(stated) == set(exam.values(name, core))
    for p in prompts:
        assert (p.stated["kind"], p.stated["color"]) not in splits.HELD_OUT_PAIRS
        assert p.stated.get("pose", "standing") in poses_of(p.stated["kind"])
    assert [p.text for p in prompts] == [p.text for p in exam.test_prompts(core=core)]


def test_the_sampler_draws_what_test_prompts_ask_for():
    prompts = exam.test_prompts()[:40]
    waiting = list(range(len(prompts)))
    for attempt in range(12):
        scenes = [propose(i, attempt, True, {**prompts[i].stated, "relation": None}) for i in waiting]
        waiting = [i for i, fine in zip(waiting, legible(scenes), strict=True) if not fine]
    assert len(waiting) <= 3, [prompts[i].text for i in waiting]


def test_fixed_values_appear_in_sampled_scenes():
    scene = sample(
        [4], kind="mug", color="red", viewpoint="from above", style="pencil", count=1, relation=None
    )[0]
    assert (scene.things[0].kind, scene.things[0].color) == ("mug", "red")
    assert (scene.camera.viewpoint, scene.style) == ("from above", "pencil")
