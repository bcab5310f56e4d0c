import sys

import pytest
from PIL import Image

from diffwright.core.errors import InputError, MissingExtra
from diffwright.viz.plots import bars, curves


def test_plots_are_pictures(tmp_path):
    with Image.open(bars(tmp_path / "b.png", {"ours": 0.9, "theirs": 0.4}, control={"ours": 0.1})) as opened:
        assert opened.size == (900, 540)
    drawn = curves(tmp_path / "c.svg", {"a": ([0, 1], [1, 2]), "b": ([0, 1], [2, 1])}, across="s", up="dB")
    assert drawn.read_text().count("<path") > 5


@pytest.mark.parametrize("call", [lambda p: bars(p, {}), lambda p: curves(p, {"a": ([1], [])})])
def test_nothing_to_draw_is_refused(call, tmp_path):
    with pytest.raises(InputError):
        call(tmp_path / "x.png")


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"diffwright\[viz\]"):
        bars(tmp_path / "b.png", {"a": 1.0})
