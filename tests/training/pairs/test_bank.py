import io

import numpy as np
import pytest
from PIL import Image

from diffwright.core.errors import InputError
from diffwright.training.pairs import bank
from diffwright.training.pairs.bank import SIDE, Bank, fingerprint, known_prints, silhouettes
from diffwright.training.pairs.textures import KINDS


def picture(seed, kind="leaves", side=200):
    rng = np.random.Generator(np.random.PCG64(seed))
    return Image.fromarray((KINDS[kind][1](rng, side) * 255).astype(np.uint8))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        picture(seed).resize((240, 180)).save(folder / f"{seed}.jpg")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_the_same_picture_from_the_same_generator(kind):
    first, again, other = (
        KINDS[kind][1](np.random.Generator(np.random.PCG64(seed)), 64) for seed in (1, 1, 2)
    )
    assert first.shape == (64, 64, 3)
    assert 0 <= first.min() <= first.max() <= 1
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_canvases_are_addressed_by_number():
    canvases = Bank().canvases(3, first=5)
    assert canvases.shape == (3, 3, SIDE, SIDE)
    assert np.array_equal(canvases[1].permute(1, 2, 0).numpy(), Bank().canvas(6))


def test_silhouettes_keep_off_the_border():
    shapes = silhouettes(8)
    border = np.ones(shapes.shape[-2:], bool)
    border[1:-1, 1:-1] = False
    assert (shapes[:, 0, border] == 0).all()
    assert all(0.02 < float((shape > 127).float().mean()) < 0.9 for shape in shapes)


def test_photographs_are_cut_and_scaled(photos):
    only = Bank(photos=photos, photo_share=1.0)
    canvas = only.canvas(4)
    assert canvas.shape == (SIDE, SIDE, 3)
    assert np.array_equal(canvas, only.canvas(4))
    assert not np.array_equal(canvas, Bank().canvas(4))


def test_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no picture"):
        Bank(photos=tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        Bank(photos=tmp_path / "none")


def test_a_picture_that_measures_can_never_train(photos, tmp_path):
    held_out = tmp_path / "pairs" / "deep"
    held_out.mkdir(parents=True)
    picture(7, side=400).save(held_out / "1.png")
    assert Bank(photos=photos, held_out=tmp_path / "pairs").photos
    copy = io.BytesIO()
    picture(7, side=400).resize((150, 150)).save(copy, "JPEG", quality=40)
    (photos / "innocent.jpg").write_bytes(copy.getvalue())
    with pytest.raises(InputError, match=r"innocent.jpg looks like 1.png"):
        Bank(photos=photos, held_out=tmp_path / "pairs")


def test_the_pictures_of_the_benches_are_known_by_heart(photos, monkeypatch):
    prints = dict(known_prints())
    assert {name.split("-")[1] for name in prints if name.startswith("oxford")} == {"boat", "graf", "ubc"}
    assert all(0 < value < 2**256 for value in prints.values())
    taken = fingerprint(np.asarray(Image.open(photos / "1.jpg")))
    monkeypatch.setattr(bank, "known_prints", lambda: [("oxford-graf-1", taken)])
    with pytest.raises(InputError, match="oxford-graf-1"):
        Bank(photos=photos)


def test_fingerprints_survive_encoding_and_tell_pictures_apart():
    whole = picture(1, side=300)
    small = io.BytesIO()
    whole.resize((120, 90)).save(small, "JPEG", quality=30)
    ours, copy, other = (
        fingerprint(np.asarray(image)) for image in (whole, Image.open(small), picture(2, side=300))
    )
    assert (ours ^ copy).bit_count() <= bank.LOOKS_ALIKE < 80 < (ours ^ other).bit_count()
