import numpy as np
import pytest
from PIL import Image

from diffwright.core.errors import ConfigError
from diffwright.world.captions import caption
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.sheet import contact_sheet, save_contact_sheet


def test_a_sheet_shows_the_scenes_of_its_seeds(tmp_path):
    path = save_contact_sheet(tmp_path / "sheet.png", 3, 40, size=32, columns=3)
    page = np.asarray(Image.open(path))
    assert page.shape[1] > 3 * 256
    first = render(sample([40]), 32).image_u8[0].numpy().repeat(8, 0).repeat(8, 1)
    corner = np.argwhere((page != page[0, 0]).any(2)).min(0)
    y, x = corner
    assert (page[y : y + 256, x : x + 256] == first).all()


def test_captions_of_a_sheet_repeat():
    scene = sample([40])[0]
    assert caption(scene, 40) == caption(scene, 40)


def test_a_sheet_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="count"):
        contact_sheet(0)
