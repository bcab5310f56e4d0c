import json

import pytest
from PIL import Image

from diffwright.core.errors import InputError
from diffwright.training import curves


def run(folder, count=200, **figures):
    folder.mkdir(parents=True)
    lines = [{"event": "start", "samples": 0}]
    lines += [
        {"event": "step", "samples": 1000 * i, "loss": float(i), **figures} for i in range(1, count + 1)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"event": "st')
    return folder


def test_a_curve_is_the_means_of_equal_parts(tmp_path):
    across, up = curves.learning_curve(run(tmp_path / "a", 120), "loss")
    assert len(across) == len(up) == curves.POINTS
    assert (across[0], up[0], across[-1]) == (2.0, 2.0, 119.0)


def test_figures_of_several_runs_are_drawn_together(tmp_path):
    pytest.importorskip("matplotlib")
    runs = [run(tmp_path / "a"), run(tmp_path / "b", aepe=2.0)]
    with Image.open(curves.plot(tmp_path / "c.png", runs, ["loss", "aepe"])) as picture:
        assert picture.width > 400


def test_what_lacks_is_named(tmp_path):
    with pytest.raises(InputError, match="no log"):
        curves.learning_curve(tmp_path, "loss")
    with pytest.raises(InputError, match="it has event, loss, samples"):
        curves.learning_curve(run(tmp_path / "a"), "los")
    with pytest.raises(InputError, match="no run has the figure 'los'"):
        curves.plot(tmp_path / "c.png", [tmp_path / "a"], ["los"])
