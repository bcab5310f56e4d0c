import sys

import numpy as np
import pytest

from diffwright.bench.baselines import classical_flow
from diffwright.core.errors import MissingExtra
from tests.support.match_files import texture

SHIFTED = texture(96, 112)


@pytest.mark.parametrize("name", ["dis", "farneback", "deepflow", "sift_magsac"])
def test_a_small_shift_is_found(name):
    pytest.importorskip("cv2")
    a, b = SHIFTED[4:-4, 4:-4], SHIFTED[2:-6, 1:-7]
    flow = classical_flow.classical_flows()[name](a, b)
    assert flow.shape == (88, 104, 2)
    assert flow.dtype == np.float32
    assert np.median(flow, axis=(0, 1)) == pytest.approx([3, 2], abs=0.3)
    assert np.array_equal(flow, classical_flow.classical_flows()[name](a, b))


def test_pictures_of_unequal_size_give_flow_in_pixels_of_both():
    cv2 = pytest.importorskip("cv2")
    a = SHIFTED[:88, :104]
    half = cv2.resize(a, (52, 44), interpolation=cv2.INTER_AREA)
    flow = classical_flow.classical_flows()["dis"](a, half)
    landed = flow + np.stack(np.meshgrid(np.arange(104), np.arange(88)), -1)
    wanted = (np.stack(np.meshgrid(np.arange(104), np.arange(88)), -1) + 0.5) / 2 - 0.5
    assert np.abs(landed - wanted)[20:-20, 20:-20].mean() < 0.3


def test_a_blank_picture_has_no_homography():
    pytest.importorskip("cv2")
    blank = np.full((64, 64, 3), 128, np.uint8)
    assert not classical_flow.classical_flows()["sift_magsac"](blank, SHIFTED).any()


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"diffwright\[bench\]"):
        classical_flow.classical_flows()
