import numpy as np
import pytest

from diffwright.core.errors import ConfigError
from diffwright.world.lettering import colors


def test_the_survey_and_its_splits():
    assert len(colors.NAMED) > 900
    assert set(colors.BASIC) <= set(colors.NAMED)
    assert len(colors.BASIC) == 11
    train, test = (set(colors.names(split)) for split in ("train", "test"))
    assert len(test) == 60
    assert not train & test
    assert train | test == set(colors.NAMED)
    assert {*colors.BASIC, "white", "yellow"} <= train
    with pytest.raises(ConfigError):
        colors.names("development")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("teal", (2, 147, 134)),
        ("  Dark-Teal ", (1, 77, 78)),
        ("gray", (146, 149, 145)),
        ("#0a0B0c", (10, 11, 12)),
    ],
)
def test_colors_are_parsed(said, meant):
    assert colors.parse(said) == meant


def test_modifiers_move_a_color_the_way_they_say():
    def light(color):
        return colors.to_lab(colors.parse(color))[0]

    assert "very dark teal" not in colors.NAMED
    assert light("very dark teal") < light("teal") - 15
    assert light("light crimson") > light("crimson") + 10
    pale, full = (np.hypot(*colors.to_lab(colors.parse(c))[1:]) for c in ("pale crimson", "crimson"))
    assert pale < 0.8 * full


@pytest.mark.parametrize("said", ["tael", "#12", "#GGGGGG", "", "dark", "light nothing"])
def test_what_is_no_color_gets_advice(said):
    with pytest.raises(ConfigError, match="expected #RRGGBB or a name such as"):
        colors.parse(said)


def test_lab_agrees_with_known_values_and_inverts():
    assert colors.to_lab((255, 255, 255)) == pytest.approx([100, 0, 0], abs=0.05)
    assert colors.to_lab((255, 0, 0)) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    assert colors.to_lab((0, 0, 255)) == pytest.approx([32.30, 79.19, -107.86], abs=0.05)
    for rgb in [(0, 0, 0), (12, 200, 99), (255, 254, 3), (1, 2, 3)]:
        assert colors.from_lab(colors.to_lab(rgb)) == rgb
    assert all(colors.nearest(colors.NAMED[name]) == name for name in colors.BASIC)
