import numpy as np
import pytest

from diffwright.core.errors import ConfigError
from diffwright.world.lettering.instructions import Ask, mixed, sentence
from diffwright.world.lettering.phrasing import ERASING, TEMPLATES
from diffwright.world.splits import TEST_TEMPLATES


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (Ask("W"), 'Write "W"'),
        (Ask("W", font="Lato"), 'Write "W" in font: Lato'),
        (Ask("W", color="teal"), 'Write "W" in color: teal'),
        (Ask("W", "Lato", "teal"), 'Write "W" in font: Lato and color: teal'),
        (Ask("W", "Lato", None, True, True), 'Write "W" in font: Lato-BoldItalic'),
        (Ask("W", bold=True), 'Write "W" in font: Bold'),
        (Ask("W", mixed("Lato", "Hack"), "red"), 'Write "W" in font: Lato and Hack and color: red'),
        (Ask(""), 'Write ""'),
    ],
)
def test_the_canonical_form(ask, said):
    assert sentence(ask) == said


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    "ask",
    [
        Ask("a {b}"), Ask("Zq7", "Lato"), Ask("Zq7", None, "dark teal"), Ask("Zq7", "serif", "#00FF00"),
        Ask("Zq7", "script", None, True), Ask("Zq7", None, "red", False, True),
        Ask("Zq7", "Lato and Hack", "red", True),
    ],
)  # fmt: skip
def test_every_way_to_say_it_says_everything(ask, split):
    rng = np.random.default_rng(1)
    said = {sentence(ask, rng, split) for _ in range(150)}
    assert len(said) >= 8
    for line in said:
        assert ask.text in line
        assert ask.color is None or ask.color in line
        assert ask.font is None or all(part in line for part in ask.font.split(" and "))
        assert not ask.bold or "bold" in line.lower()
        assert not ask.italic or "italic" in line or "slanted" in line
        assert not set("[]") & set(line)
        assert "  " not in line


def test_templates_are_enough_and_ten_are_held_out():
    assert len(set(TEMPLATES)) == len(TEMPLATES) >= 70
    assert len(TEST_TEMPLATES & set(TEMPLATES)) == 10
    assert set(TEMPLATES) | set(ERASING) >= TEST_TEMPLATES
    train = {sentence(Ask("x"), np.random.default_rng(i)) for i in range(300)}
    test = {sentence(Ask("x"), np.random.default_rng(i), "test") for i in range(100)}
    assert not {line for line in test if len(line) > 8} & train
    assert "x" not in sentence(Ask(""), np.random.default_rng(0), "test").split()
    with pytest.raises(ConfigError):
        sentence(Ask("x"), None, "tset")
