import numpy as np
import pytest

from diffwright.cli.demo_page import text as chapter_of
from diffwright.cli.demo_page.page import page
from diffwright.core.errors import InputError
from tests.support import text_standins as standins


@pytest.fixture
def editor(monkeypatch):
    monkeypatch.setattr(chapter_of, "SIGNS", 2)
    monkeypatch.setattr(chapter_of, "SIZE", 128)
    return standins.editor(monkeypatch)


def test_the_chapter_shows_before_ours_and_truth(editor):
    chapter = chapter_of.write(editor, seed=1)
    assert chapter.key == "text"
    assert chapter.figure.value == "0 of 2", "the stand-in reads WORD everywhere"
    assert chapter.figure.control == "0 of 2"
    assert chapter.command.startswith("diffwright text sign.png --polygon ")
    assert len(chapter.rows) == 2
    for _, shots in chapter.rows:
        before, after, truth, strips = (shot.image for shot in shots)
        assert before.shape == after.shape == truth.shape == (128, 128, 3)
        assert strips.shape == (5 * 32 + 4 * 2, 128, 3)
        assert not np.array_equal(before, truth)
    assert dict(chapter.facts)["pixels changed outside the regions"] == "0"
    assert "A word changed" in page([chapter], "", [])


def test_the_users_word_is_written(editor):
    chapter = chapter_of.write(editor, word="Word")
    assert chapter.figure.value == "2 of 2", "read as asked, whatever the case"
    assert chapter.command.endswith("--write Word --out changed.png")
    assert all("“Word”" in heading for heading, _ in chapter.rows)


def test_a_word_that_cannot_be_written_is_refused_before_anything_is_drawn(editor, monkeypatch):
    monkeypatch.setattr(chapter_of, "sample", lambda *_, **__: pytest.fail("drawn"))
    with pytest.raises(InputError, match="'é'"):
        chapter_of.write(editor, word="é")


def test_new_words_are_like_the_old_ones():
    for said, kind in (("OPEN", str.isupper), ("Open", str.istitle), ("open", str.islower)):
        other = chapter_of._other(said, 3)
        assert len(other) == 4
        assert other.lower() != "open"
        assert kind(other)
