import numpy as np
import pytest

from diffwright.cli.demo_page import match as chapter_of
from diffwright.cli.demo_page.page import page
from diffwright.core.errors import InputError
from diffwright.core.images import save_png
from diffwright.matching.matcher import Matcher
from tests.support import tiny_match
from tests.support.match_files import texture


@pytest.fixture
def matcher(monkeypatch):
    monkeypatch.setattr(chapter_of, "VIEWS", 1)
    monkeypatch.setattr(chapter_of, "SIZE", 32)
    return Matcher(tiny_match.model())


def test_the_chapter_shows_found_and_true_flow_with_both_errors(matcher):
    chapter = chapter_of.match(matcher, seed=1)
    assert chapter.key == "match"
    assert chapter.figure.value.endswith(" px")
    assert chapter.figure.control.endswith(" px")
    assert "no motion at all" in chapter.figure.control_name
    assert len(chapter.rows) == 1
    assert [shot.image.shape for _, shots in chapter.rows for shot in shots] == [(32, 32, 3)] * 5
    assert chapter.truth.image.shape == (32, 32, 3)
    assert not np.array_equal(chapter.truth.image, chapter.ours.image)
    assert "Two views matched" in page([chapter], "", [])


def test_the_users_two_pictures_come_first(matcher, tmp_path):
    for name, size in (("a", (48, 64)), ("b", (600, 700))):
        save_png(texture(*size), tmp_path / f"{name} 1.png")
    chapter = chapter_of.match(matcher, pair=(tmp_path / "a 1.png", tmp_path / "b 1.png"))
    heading, shots = chapter.rows[0]
    assert heading == "Your two pictures"
    assert max(shots[1].image.shape) <= chapter_of.WIDEST
    assert f"'{tmp_path / 'a 1.png'}'" in chapter.command


def test_a_picture_that_cannot_be_read_is_refused_before_anything_is_rendered(matcher, tmp_path, monkeypatch):
    monkeypatch.setattr(chapter_of, "render", lambda *_: pytest.fail("rendered"))
    with pytest.raises(InputError, match="nowhere"):
        chapter_of.match(matcher, pair=(tmp_path / "nowhere.png", tmp_path / "b.png"))
