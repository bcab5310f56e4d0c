import numpy as np
import pytest
import torch
from PIL import Image

from diffwright.core.errors import InputError
from diffwright.core.masks import load_mask

SIZE = (24, 32)


def region():
    mask = np.zeros(SIZE, bool)
    mask[4:12, 8:20] = True
    return mask


def test_file_pil_array_and_tensor_agree(tmp_path):
    gray = Image.fromarray(region().astype(np.uint8) * 255)
    gray.save(tmp_path / "mask.png")
    gray.convert("1").save(tmp_path / "bits.png")
    gray.convert("RGBA").save(tmp_path / "opaque.png")
    sources = [
        tmp_path / "mask.png",
        tmp_path / "bits.png",
        tmp_path / "opaque.png",
        gray,
        gray.convert("RGB"),
        region(),
        region().astype(np.uint8) * 255,
        torch.from_numpy(region()),
    ]
    for source in sources:
        got = load_mask(source, SIZE)
        assert got.dtype == bool
        np.testing.assert_array_equal(got, region())


def test_array_is_copied():
    source = region()
    load_mask(source, SIZE)[:] = False
    assert source.any()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (np.zeros(SIZE, bool), "selects nothing"),
        (np.ones((12, 32), bool), "32 x 12"),
        (np.ones(SIZE, np.float32), "float32"),
        (np.ones((*SIZE, 3), bool), "mask"),
        (Image.new("CMYK", (32, 24)), "CMYK"),
        (Image.new("RGBA", (32, 24), (255, 255, 255, 128)), "transparent"),
        ("nowhere.png", "not a file"),
        (None, "no picture"),
    ],
)
def test_unclear_masks_are_refused(source, reason):
    with pytest.raises(InputError, match=reason):
        load_mask(source, SIZE)
