import pytest

from diffwright.concepts.pairs import DEVELOPMENT, TEST
from diffwright.concepts.probes import CORE, probes, value_of, words_of, world_prompts
from diffwright.core.errors import InputError
from diffwright.diffusion.prompts import named
from diffwright.world.captions import FAMILIES
from diffwright.world.splits import HELD_OUT_PAIRS, TEST_FAMILIES
from diffwright.world.vocabulary import COLORS, KINDS


@pytest.mark.parametrize("attribute", CORE)
def test_each_probe_names_its_value_in_every_test_pattern_and_its_own_seed(attribute):
    for value in CORE[attribute]:
        found = probes(attribute, value, 8, first_seed=7)
        assert len(found) == 8 * len(TEST_FAMILIES)
        assert len({probe.seed for probe in found}) == len(found)
        assert all(named(probe.prompt, words_of(attribute, value)) for probe in found)
        assert len({probe.prompt for probe in found}) > 0.8 * len(found)


def test_probes_avoid_pairs_that_no_model_has_seen():
    for attribute, values in CORE.items():
        for value in values:
            for probe in probes(attribute, value, 8):
                assert not any(named(probe.prompt, f"{color} {kind}") for kind, color in HELD_OUT_PAIRS)


def test_splits_use_different_patterns():
    assert len(probes("kind", "mug", 1, "train")) == len(FAMILIES) - len(TEST_FAMILIES)
    seen, unseen = ({p.prompt for p in probes("kind", "mug", 8, split)} for split in ("train", "test"))
    assert not seen & unseen


def test_words_and_values_lead_to_each_other():
    for attribute, values in CORE.items():
        for value in values:
            assert value_of(words_of(attribute, value)) == (attribute, value)
    assert value_of(" Pencil Drawing") == ("style", "pencil")
    with pytest.raises(InputError, match="measured concepts are sphere"):
        value_of("van gogh")


def test_the_worlds_prompts_use_every_kind_and_color():
    prompts = world_prompts()
    assert len(set(prompts)) == len(prompts)
    for word in (*KINDS, *COLORS):
        assert any(named(prompt, word) for prompt in prompts)


def test_pairs_are_disjoint_and_of_the_core_vocabulary():
    assert (len(DEVELOPMENT), len(TEST)) == (10, 20)
    seen = [frozenset((c.attribute, v) for v in (c.source, c.target)) for c in DEVELOPMENT]
    for change in (*DEVELOPMENT, *TEST):
        assert change.source != change.target
        assert {change.source, change.target} <= set(CORE[change.attribute])
    assert not any(frozenset((c.attribute, v) for v in (c.source, c.target)) in seen for c in TEST)
    assert {change.attribute for change in TEST} == {change.attribute for change in DEVELOPMENT} == set(CORE)
