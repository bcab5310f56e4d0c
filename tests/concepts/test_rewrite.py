from dataclasses import asdict

import pytest

from diffwright.concepts.phrase import Phrase, without
from diffwright.concepts.rewrite import Rewrite, rewrites
from diffwright.core.errors import InputError


def test_a_pair_is_a_replacement():
    assert rewrites([("mug", " duck ")]) == (Rewrite.replace("mug", "duck"),)
    assert Rewrite.replace("mug", "duck").target == "duck"


def test_an_erasure_ends_the_text_or_leaves_the_class():
    plain, painting = Rewrite.erase("mug"), Rewrite.erase("van gogh", "painting")
    assert plain.target == "nothing"
    assert plain.wanted("a photo of a {} on grass") == [Phrase("a photo of", 10, 10)]
    assert plain.wanted("{}") == [Phrase("", 0, 0)]
    assert plain.said("a photo of a {} on grass") == ["a photo of on grass"]
    assert painting.wanted("a {}") == [Phrase.of("a {}", "painting")]
    assert (plain.kind, painting.kind) == ("erase", "erase")


def test_a_fact_holds_the_words_of_its_phrase():
    fact = Rewrite.fact("president of france", "red mug")
    assert fact.parts() == ["president", "president of", "of", "of france", "france"]
    assert Rewrite.fact("king", "mug").parts() == []
    assert Rewrite.replace("president of france", "mug").parts() == []


def test_a_mixture_has_shares_that_sum_to_one():
    even = Rewrite.debias("doctor", ["man", "woman"])
    assert even.shares == (0.5, 0.5)
    assert even.target == "man | woman"
    assert Rewrite.debias("doctor", ["man", "woman"], [3, 1]).shares == (0.75, 0.25)
    assert [phrase.prompt for phrase in even.wanted("a {}")] == ["a man", "a woman"]
    for targets, shares in ((["man"], None), (["man", "woman"], [1]), (["man", "woman"], [1, 0])):
        with pytest.raises(InputError):
            Rewrite.debias("doctor", targets, shares)


def test_rewrites_survive_json():
    for one in (
        Rewrite.erase("mug"),
        Rewrite.debias("doctor", ["man", "woman"], [2, 1]),
        Rewrite.fact("a b", "c"),
    ):
        record = asdict(one)
        assert Rewrite.parsed({**record, "targets": list(one.targets), "shares": list(one.shares)}) == one
    with pytest.raises(ValueError, match="0 targets"):
        Rewrite.parsed({"source": "mug", "targets": [], "shares": [], "kind": "erase"})


@pytest.mark.parametrize(
    "pairs",
    [[], "cat=dog", ["cat"], [("cat",)], [("cat", "")], [("cat", 3)], [Rewrite.erase(" ")]],
)
def test_what_is_no_request_is_refused(pairs):
    with pytest.raises(InputError):
        rewrites(pairs)


def test_one_source_goes_to_one_target():
    with pytest.raises(InputError, match=r"'Red  Mug' is sent to 'nothing' and to 'dog'"):
        rewrites([Rewrite.erase("red mug"), ("Red  Mug", "dog")])
    assert len(rewrites([("cat", "dog"), ("cat", "dog")])) == 2


def test_the_article_goes_with_the_concept():
    assert Phrase.ending("The {} there") == Phrase("", 0, 0)
    assert Phrase.ending("a red {}").prompt == "a red"
    assert Phrase.ending("banana {}").prompt == "banana"
    assert without("one picture with a {} on grass") == "one picture with on grass"
