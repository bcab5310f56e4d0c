from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffwright.core.errors import ConfigError, InputError
from diffwright.world.lettering import glyphs, looks
from diffwright.world.lettering.camera import Camera
from diffwright.world.lettering.colors import to_lab
from diffwright.world.lettering.draw import Lettering, draw
from diffwright.world.lettering.faces import named
from diffwright.world.lettering.grounds import KINDS as GROUNDS
from diffwright.world.lettering.grounds import Ground, paint
from diffwright.world.lettering.scene import KINDS, TextScene, sample
from diffwright.world.lettering.strips import grown, inside
from diffwright.world.lettering.word import BLENDS, Shadow, Word

VIEW = (1.0, 0.05, 0.0, -0.03, 1.0, 0.0, 0.0001, 0.0, 1.0)
FACE = named("DejaVu Sans", folders=())


def plain(**traits) -> TextScene:
    word = Word("Ship", FACE, 30.0, (250, 240, 30), "yellow", (64.0, 40.0))
    word = replace(word, **traits)
    return TextScene(
        (word,), 0, Ground("flat", (20, 30, 90), (0, 0, 0), 3), VIEW, Camera(), (80, 128), "word"
    )


def changed(lettering: Lettering) -> np.ndarray:
    return np.abs(lettering.image.astype(int) - lettering.clean).max(axis=2)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_the_same_again(kind):
    scene = sample(11, "test", kind=kind, size=(96, 160))
    drawn = draw(scene)
    assert drawn.image.shape == drawn.clean.shape == (96, 160, 3)
    assert drawn.image.dtype == np.uint8
    again = draw(sample(11, "test", kind=kind, size=(96, 160)))
    assert (again.image == drawn.image).all()
    assert drawn.target == (-1 if kind == "empty" else scene.target)
    for word in drawn.words:
        assert word.boxes.shape == (len(word.text), 4, 2)
        assert word.color_name
    if kind == "insert":
        assert len(drawn.words) == 1
    if kind == "random":
        assert sample(12, "test", kind=kind).words != scene.words


def test_ink_lies_in_the_boxes_and_fills_the_polygon():
    level = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    lettering = draw(replace(plain(), view=level))
    ink = changed(lettering) > 60
    word = lettering.words[0]
    assert not (ink & ~inside(grown(word.polygon, 0.06), ink.shape)).any()
    letters = np.any([inside(grown(box, 0.06), ink.shape) for box in word.boxes], axis=0)
    assert not (ink & ~letters).any()
    for box in word.boxes:
        assert ink[inside(grown(box, 0.06), ink.shape)].mean() > 0.15
    rows, columns = np.nonzero(ink)
    assert rows.min() - 2.5 <= word.polygon[:, 1].min() <= rows.min() + 2.5
    assert columns.max() - 2.5 <= word.polygon[:, 0].max() <= columns.max() + 2.5
    solid = lettering.image[changed(lettering) > 200]
    assert np.abs(np.median(solid, axis=0) - word.rgb).max() <= 3


def test_edges_are_antialiased():
    levels = changed(draw(plain()))
    edge = ((levels > 20) & (levels < 180)).sum()
    assert edge > 0.2 * (levels >= 180).sum()


@pytest.mark.parametrize(
    "traits",
    [
        {"outline": (0.06, (255, 255, 255))},
        {"shadow": Shadow((0.05, 0.05), 0.03, 0.8, (0, 0, 0))},
        {"shadow": Shadow((-0.05, 0.06), 0.0, 1.0, (90, 90, 0), solid=True)},
        {"second": (255, 0, 0)},
        {"bump": 0.9},
        {"opacity": 0.8},
        {"curve": glyphs.Curve("arc", 0.8)},
        {"curve": glyphs.Curve("wave", 0.2)},
        {"text": "A b"},
        *({"blend": blend} for blend in BLENDS[1:]),
    ],
)  # fmt: skip
def test_effects_change_the_picture_and_keep_the_word(traits):
    lettering = draw(plain(**traits))
    assert (lettering.image != draw(plain()).image).any()
    assert (lettering.clean == draw(plain()).clean).all()
    if traits.get("blend") != "multiply":  # yellow on blue multiplied is dark, as it should be
        shown = inside(lettering.words[0].polygon, lettering.image.shape[:2])
        assert (changed(lettering)[shown] > 40).mean() > 0.12


def test_paint_blended_by_gradients_keeps_color_and_rim():
    scene = plain(blend="gradient")
    wood = replace(scene, ground=Ground("wood", (120, 80, 40), (0, 0, 0), 5))
    image, alpha = draw(wood).image, draw(replace(wood, words=(replace(wood.words[0], blend="alpha"),))).image
    assert np.abs(image.astype(int) - alpha)[0].max() <= 3
    assert np.abs(image.astype(float).mean(axis=(0, 1)) - alpha.mean(axis=(0, 1))).max() < 4


def test_a_word_is_fitted_into_its_room():
    wide, tall = plain().words[0].extent
    narrow = replace(plain().words[0], room=(0.8 * wide, 2 * tall))
    assert narrow.extent == pytest.approx((0.8 * wide, tall))
    small = replace(plain().words[0], room=(0.35 * wide, tall))
    assert small.extent == pytest.approx((0.35 * wide, 0.5 * tall))
    low = replace(plain().words[0], room=(2 * wide, 0.5 * tall))
    assert low.extent == pytest.approx((0.5 * wide, 0.5 * tall))


def test_colors_stand_out_unless_low_contrast_is_asked_for():
    for seed in range(12):
        scene = sample(seed, "train", size=(64, 64))
        mean = looks.ground_colors(paint(scene.ground, scene.size))[0]
        lighter = abs(to_lab(scene.words[scene.target].rgb)[0] - mean[0])
        assert lighter >= looks.LEAST_IN_HUE - 1e-6


def test_on_an_uneven_photograph_the_target_stands_out_where_it_is(tmp_path: Path):
    pixels = np.zeros((256, 256, 3), np.uint8)
    pixels[:, 128:] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for seed in range(8):
        lettering = draw(sample(seed, "test", kind="insert", photos=tmp_path, size=(96, 256)))
        shown = inside(lettering.words[0].polygon, (96, 256))
        assert (changed(lettering)[shown] > 40).mean() > 0.08


@pytest.mark.parametrize("kind", GROUNDS[:-1])
def test_grounds_are_pictures(kind):
    ground = paint(Ground(kind, (150, 90, 60), (220, 220, 210), 4), (48, 70))
    assert ground.shape == (48, 70, 3)
    assert ground.dtype == np.float32
    assert 0 <= ground.min() <= ground.max() <= 1
    assert np.abs(ground.mean(axis=(0, 1)) * 255 - (150, 90, 60)).max() < 90


def test_photographs_are_stood_on(tmp_path: Path):
    with pytest.raises(InputError, match="no PNG"):
        sample(1, "train", photos=tmp_path)
    pixels = np.zeros((90, 300, 3), np.uint8)
    pixels[:] = (10, 200, 30)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    scene = sample(1, "train", photos=tmp_path, size=(64, 96), kind="empty")
    assert np.abs(draw(scene).image.astype(float).mean(axis=(0, 1)) - (10, 200, 30)).max() < 60


def test_the_camera_spares_nothing_and_repeats_itself():
    camera = Camera(blur=0.6, motion=3, shrink=0.7, noise=0.03, vignette=0.2, quality=60, seed=5)
    scene = replace(plain(), camera=camera)
    lettering = draw(scene)
    assert (lettering.image == draw(scene).image).all()
    away = ~inside(grown(lettering.words[0].polygon, 1.0), lettering.image.shape[:2])
    assert changed(lettering)[away].mean() < 2
    assert changed(lettering)[away].max() < 60
    with pytest.raises(ConfigError, match="48"):
        sample(0, "train", size=(32, 200))
    with pytest.raises(ConfigError, match="'word'"):
        sample(0, "train", kind="words")
