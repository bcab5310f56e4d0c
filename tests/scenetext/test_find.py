from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from diffwright.core.errors import ConfigError, InputError, MissingExtra
from diffwright.scenetext.find import find_words
from diffwright.scenetext.region import choose
from tests.support.text_standins import photo


def square(x, y, wide=20, high=10):
    return [[x, y], [x + wide, y], [x + wide, y + high], [x, y + high]]


class Engine:
    """Answers as RapidOCR does."""

    def __init__(self, lines):
        self.lines = lines

    def __call__(self, picture, return_word_box=True):
        self.seen, self.words = picture, return_word_box
        if not self.lines:
            return SimpleNamespace(boxes=None, txts=None, scores=None, word_results=(("", 1.0, None),))
        whole = [(" ".join(w[0] for w in line), 0.9, square(1, 1)) for line in self.lines]
        texts, scores, boxes = zip(*whole, strict=True)
        return SimpleNamespace(
            boxes=np.array(boxes), txts=texts, scores=scores, word_results=tuple(self.lines)
        )


def test_words_come_in_reading_order():
    lines = [
        (("right", 0.9, square(60, 7)), ("left", 0.8, square(10, 5))),
        (("below", 0.9, square(5, 40)),),
        (("faint", 0.3, square(50, 40)), (" ", 0.9, square(50, 40))),
    ]
    engine = Engine(lines)
    picture = photo()
    words = find_words(picture, engine=engine)
    assert [word.text for word in words] == ["left", "right", "below"]
    np.testing.assert_array_equal(engine.seen, picture[..., ::-1])
    assert words[0].record() == {"text": "left", "confidence": 0.8, "polygon": square(10.0, 5.0)}
    assert len(find_words(picture, engine=engine, least=0.0)) == 4


def test_lines_are_given_whole():
    engine = Engine([(("a", 0.9, square(1, 1)), ("b", 0.9, square(30, 1)))])
    assert [word.text for word in find_words(photo(), lines=True, engine=engine)] == ["a b"]
    assert engine.words is False


def test_polygons_are_regions_even_at_the_border():
    word = find_words(photo(), engine=Engine([(("a", 0.9, square(-4, 60, 300, 20)),)]))[0]
    assert word.polygon.min() >= 0
    wide = find_words(photo(), engine=Engine([(("a", 0.9, square(-4, 20, 300, 20)),)]))[0]
    assert choose(wide.polygon, (64, 96)).mask.sum() > 1000


def test_no_word_is_no_error():
    assert find_words(photo(), engine=Engine([])) == ()


def test_bad_input_is_typed(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="least"):
        find_words(photo(), least=2)
    with pytest.raises(InputError, match="nowhere"):
        find_words(tmp_path / "nowhere.png")
    monkeypatch.setitem(__import__("sys").modules, "rapidocr", None)
    with pytest.raises(MissingExtra, match=r"diffwright\[text\]"):
        find_words(photo())


def test_rapidocr_finds_drawn_words():
    pytest.importorskip("rapidocr", reason="finding words needs RapidOCR: pip install 'diffwright[text]'")
    pytest.importorskip("onnxruntime", reason="RapidOCR needs onnxruntime: pip install 'diffwright[text]'")
    picture = Image.new("RGB", (180, 180), (200, 210, 190))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(40)
    pen.text((30, 30), "OPEN", (20, 40, 120), font=font)
    pen.text((30, 100), "DAILY", (120, 40, 20), font=font)
    words = find_words(picture)
    assert [word.text for word in words] == ["OPEN", "DAILY"]
    assert abs(words[0].polygon[0] - (30, 33)).max() < 12
