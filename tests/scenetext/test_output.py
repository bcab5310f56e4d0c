import numpy as np
import pytest
from PIL import Image

from diffwright.core.errors import JobFailed
from diffwright.core.results import Result
from diffwright.scenetext.output import BEST, write_picture


def result(level):
    return Result(images=[Image.fromarray(np.full((8, 8, 3), level, np.uint8))], names=[BEST])


def test_a_picture_that_cannot_be_written_leaves_no_folder(tmp_path):
    (tmp_path / "new.png").mkdir()
    with pytest.raises(JobFailed, match=r"new\.png could not be written"):
        write_picture(result(1), tmp_path / "new.png")
    assert [path.name for path in tmp_path.iterdir()] == ["new.png"]


def test_the_folder_of_an_earlier_picture_stays_too(tmp_path):
    folder = write_picture(result(1), tmp_path / "new.png")
    assert folder == tmp_path / "new"
    before = (folder / f"{BEST}.png").read_bytes()
    assert (tmp_path / "new.png").read_bytes() == before
    (tmp_path / "new.png").unlink()
    (tmp_path / "new.png").mkdir()
    with pytest.raises(JobFailed):
        write_picture(result(2), tmp_path / "new.png")
    assert (folder / f"{BEST}.png").read_bytes() == before
