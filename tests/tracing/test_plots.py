import builtins

import numpy as np
import pytest

from diffwright.core.errors import ConfigError, MissingExtra
from diffwright.tracing.effects import Scores
from diffwright.tracing.plots import draw_threshold, heat_u8
from diffwright.tracing.result import Trace, TraceResult
from diffwright.tracing.states import State


def result(parts=("text", "unet"), prefixes=("te",)):
    draws = np.random.default_rng(0)
    text = [
        State(f"{prefix}.{layer}.{kind}", kind, layer, token)
        for prefix in prefixes
        for layer in range(3)
        for kind in ("attn", "mlp")
        for token in (2, 3, 4)
    ]
    unet = [State(f"unet.{b}.{k}.0", k, n) for n, (b, k) in enumerate(
        [("down.0", "resnet"), ("down.0", "down"), ("mid.0", "attn1"), ("up.0", "attn2"), ("up.0", "ff")]
    )]  # fmt: skip
    traces = {}
    for name, states in (("text", text), ("unet", unet)):
        if name in parts:
            scores = Scores(np.ones(2), np.zeros(2), draws.normal(size=(len(states), 2)))
            traces[name] = Trace(tuple(states), {"judge": scores})
    return TraceResult(
        prompt="a red mug", subject="red mug", seeds=[0, 1], settings={"noise": 3.0}, traces=traces,
        tokens=dict.fromkeys(prefixes, ("[begin]", "a", "red", "mug", "[end]")), spans=dict.fromkeys(prefixes, (2, 3)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "prefixes"),
    [(("text", "unet"), ("te",)), (("text",), ("te", "te2")), (("unet",), ("te",))],
)
def test_heat_maps_and_bars_are_drawn(tmp_path, parts, prefixes):
    path = result(parts, prefixes).plot(tmp_path / "plot.png")
    assert path.stat().st_size > 10_000
    assert result(parts, prefixes).plot(tmp_path / "plot.svg").read_text().startswith("<?xml")
    assert result(parts, prefixes).plot(tmp_path / "new" / "plot.pdf").is_file()
    with pytest.raises(ConfigError, match="ending"):
        result(parts, prefixes).plot(tmp_path / "plot.foo")
    with pytest.raises(ConfigError, match="metric is 'beauty'"):
        result(parts, prefixes).plot(tmp_path / "plot.png", "beauty")


def test_the_grid_lays_tokens_over_layers():
    found = result()
    grid = found.grid("te", "mlp")
    assert grid.shape == (5, 3)
    assert np.isnan(grid[:2]).all()
    states = found.traces["text"].states
    number = next(n for n, s in enumerate(states) if s.name == "te.1.mlp@3")
    assert grid[3, 1] == pytest.approx(found.traces["text"].scores["judge"].recovery[number])


def test_the_threshold_is_shown(tmp_path):
    found = draw_threshold(np.array([0.1, 0.1, 0.2, 0.8]), tmp_path / "t.png")
    assert found.value == pytest.approx(0.5)
    assert (tmp_path / "t.png").stat().st_size > 5_000


def test_heat_without_a_library():
    grid = np.array([[1.0, -1.0, 0.0], [np.nan, 0.5, 2.0]])
    image = heat_u8(grid, cell=4)
    assert image.shape == (8, 12, 3)
    assert image.dtype == np.uint8
    red, blue, white, gray = image[0, 0], image[0, 4], image[0, 8], image[4, 0]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert white.tolist() == [255] * 3
    assert len(set(gray.tolist())) <= 2
    assert heat_u8(np.full((1, 1), np.nan)).shape == (24, 24, 3)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtra, match=r"diffwright\[viz\]"):
        result().plot(tmp_path / "plot.png")
