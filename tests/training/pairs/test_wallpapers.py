import numpy as np
import pytest
from PIL import Image

from diffwright.core.errors import InputError
from diffwright.training.pairs import wallpapers


def picture(path, side, step):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (side // step, side // step, 3), dtype=np.uint8)
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return path


def test_wallpapers_are_shrunk_and_smooth_or_small_ones_left_out(tmp_path):
    fine, smooth = picture(tmp_path / "fine.png", 1200, 20), picture(tmp_path / "smooth.png", 1200, 600)
    small = picture(tmp_path / "small.png", 300, 5)
    files = [("trees", fine), ("trees", smooth), ("trees", small)]
    written = wallpapers.gather(tmp_path / "out", iter(files))
    assert [path.name for path in written] == [f"trees-{tmp_path.name}-fine.jpg"]
    with Image.open(written[0]) as kept:
        assert kept.size == (wallpapers.SIDE, wallpapers.SIDE)


def test_without_packages_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(wallpapers, "installed", lambda: iter(()))
    with pytest.raises(InputError, match="make wallpapers"):
        wallpapers.gather(tmp_path)
