import pytest

from diffwright.concepts.choice import PAPER_TEMPLATES, WORLD_TEMPLATES
from diffwright.concepts.judged import Change, Gallery, turned
from diffwright.concepts.phrase import Phrase
from diffwright.concepts.probes import CORE, probes, words_of
from diffwright.concepts.wordings import FRAMES, PARAPHRASES, REWORDINGS, paraphrased, reworded
from diffwright.diffusion.prompts import named


def test_twenty_sentences_that_no_edit_is_made_from():
    assert len(set(PARAPHRASES)) == len(set(FRAMES)) == 20
    assert not set(PARAPHRASES) & {*PAPER_TEMPLATES, *WORLD_TEMPLATES}
    for text in PARAPHRASES:
        assert named(Phrase.of(text, "owl").prompt, "owl")


@pytest.mark.parametrize("attribute", CORE)
def test_paraphrases_state_their_value_and_no_other_of_its_kind(attribute):
    for value in CORE[attribute]:
        asked = paraphrased(attribute, value, first_seed=5)
        assert [probe.seed for probe in asked] == list(range(5, 25))
        assert len({probe.prompt for probe in asked}) == 20
        others = [words_of(attribute, other) for other in CORE[attribute] if other != value]
        for probe in asked:
            assert named(probe.prompt, words_of(attribute, value)), probe.prompt
            if attribute != "style":  # "pixel art as a photo" would be two styles; the frames never say that
                assert not any(named(probe.prompt, other) for other in others), probe.prompt


def test_rewordings_keep_the_seed_and_change_the_prompt():
    (first, *_) = probes("style", "pencil", 1)
    for how in REWORDINGS:
        changed = reworded(first, how)
        assert (changed.seed, changed.value) == (first.seed, first.value)
        assert changed.prompt != first.prompt
    assert "PENCIL DRAWING" in reworded(first, "case").prompt


class Scripted(Gallery):
    def before(self, asked):
        return ["mug", "mug", "duck"]

    def after(self, edit, asked):
        return ["duck", "mug", "duck"]


def test_only_pictures_of_the_source_can_turn(gallery):
    asked, scripted = probes("kind", "mug", 1)[:3], Scripted(gallery.pipe, None)
    assert turned(scripted, None, Change("kind", "mug", "duck"), asked) == [True, False]
    assert turned(scripted, None, Change("kind", "mug", ""), asked) == [True, False]
    assert Change("kind", "mug", "").done("car")
