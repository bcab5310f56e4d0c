from itertools import islice

import numpy as np
import pytest

from diffwright.core.errors import ConfigError, InputError
from diffwright.world.lettering.draw import draw
from diffwright.world.lettering.scene import sample
from diffwright.world.lettering.strips import StripStream, strip_of
from diffwright.world.lettering.words import words

COUNT = 64


@pytest.fixture(scope="module")
def strips():
    return list(islice(StripStream(0, "train", 0, 1), COUNT))


def test_strips_are_whole(strips):
    for strip in strips:
        assert strip.image.shape == strip.clean.shape == strip.source.shape == (32, 128, 3)
        assert strip.image.dtype == strip.source.dtype == np.uint8
        assert strip.mask.shape == (32, 128)
        assert 0.02 < strip.mask.mean() < 0.9  # the widest faces of `make fonts` cover four fifths
        assert strip.text == strip.ask.text
        assert strip.boxes.shape == (len(strip.text), 4)
        assert (strip.boxes[:, 2:] >= strip.boxes[:, :2]).all()


def test_the_stream_changes_inserts_and_erases(strips):
    erased = [s for s in strips if not s.text]
    inserted = [s for s in strips if s.text and (s.source == s.clean).all()]
    assert 1 <= len(erased) <= 0.16 * COUNT
    assert 0.1 * COUNT < len(inserted) < 0.45 * COUNT
    assert all((s.image == s.clean).all() for s in erased)
    asked = [s.ask for s in strips if s.text]
    assert 0.25 < np.mean([a.font is not None for a in asked]) < 0.75
    assert 0.25 < np.mean([a.color is not None for a in asked]) < 0.7
    assert any(a.bold for a in asked)
    assert len({s.face_id for s in strips}) >= 3


def test_nothing_of_a_word_reaches_far_beyond_the_mask(strips):
    spill = []
    for strip in strips:
        outside = ~strip.mask
        for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            outside &= ~np.roll(strip.mask, shift, axis)
        change = np.abs(strip.image.astype(int) - strip.source).max(axis=2)
        spill.append(float((change[outside] > 60).mean()))
    assert np.median(spill) < 0.001
    assert np.mean([value > 0.03 for value in spill]) < 0.1


def test_letters_lie_in_the_mask_in_reading_order(strips):
    covered, ordered = [], []
    for strip in strips:
        if len(strip.text) > 1:
            middles = (strip.boxes[:, :2] + strip.boxes[:, 2:]) / 2
            x, y = middles.T.astype(int).clip(0, [[127], [31]])
            covered.append(strip.mask[y, x].mean())
            ordered.append((np.diff(middles[:, 0]) > 0).all())
    assert np.mean(covered) > 0.97
    assert np.mean(ordered) > 0.97


def test_workers_share_one_stream_and_may_start_later(strips):
    for worker in (0, 1, 2):
        for k, strip in enumerate(islice(StripStream(0, "train", worker, 3), 2)):
            assert (strip.image == strips[worker + 3 * k].image).all()
    later = next(iter(StripStream(0, "train", 0, 1, start=5)))
    assert (later.image == strips[5].image).all()
    assert (next(iter(StripStream(1, "train", 0, 1))).image != strips[0].image).any()
    with pytest.raises(ConfigError):
        StripStream(0, "train", 2, 2)


def test_a_test_stream_says_only_words_of_the_test():
    train = set(words("train", (2, 16)))
    said = [s.text.lower() for s in islice(StripStream(0, "test", 0, 1), 12)]
    assert not [word for word in said if word in train and len(word) > 3]


def test_the_strip_of_a_picture_holds_its_target_word():
    lettering = draw(sample(5, "test", size=(128, 160)))
    strip = strip_of(lettering)
    word = lettering.words[lettering.target]
    assert strip.text == word.text
    assert strip.ask.font == word.face.family
    assert (strip.source == strip.image).all()
    wider = strip_of(lettering, widen=1.6)
    assert wider.mask.sum() >= strip.mask.sum()
    drawn = [strip_of(lettering, rng=np.random.default_rng(i)).mask.sum() for i in range(4)]
    assert len(set(drawn)) > 1
    assert strip_of(lettering, height=64, width=256).image.shape == (64, 256, 3)
    with pytest.raises(InputError, match="target"):
        strip_of(draw(sample(5, "test", kind="empty", size=(64, 64))))
    with pytest.raises(ConfigError):
        strip_of(lettering, widen=9.0)
