from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from diffwright.core.errors import ConfigError
from diffwright.training.recipe import load_recipe


@dataclass(frozen=True)
class Net:
    widths: tuple[int, ...] = (1, 2)
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    name: str
    lr: float = 1e-3
    steps: int = 10
    flag: bool = False
    cache: Path = Path("cache")
    betas: tuple[float, float] = (0.9, 0.99)
    minutes: float | None = None
    net: Net = field(default_factory=Net)
    weights: dict[str, float] = field(default_factory=dict)


def load(tmp_path, text, **overrides):
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    return load_recipe(path, Recipe, **overrides)


def test_values_become_the_declared_types(tmp_path):
    text = """
    name: judge
    lr: 6e-4
    cache: /data/x
    betas: [0.9, 1]
    net: {widths: [3, 4, 5], kind: b}
    weights: {kind: 1, color: 0.5}
    """
    assert load(tmp_path, text) == Recipe(
        name="judge",
        lr=6e-4,
        cache=Path("/data/x"),
        betas=(0.9, 1.0),
        net=Net((3, 4, 5), "b"),
        weights={"kind": 1.0, "color": 0.5},
    )


def test_overrides_win_and_none_means_not_given(tmp_path):
    recipe = load(tmp_path, "name: a\nsteps: 3\nminutes: 5", steps=7, minutes=None)
    assert (recipe.steps, recipe.minutes) == (7, 5.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nsteep: 3", "did you mean 'steps'"),
        ("name: a\nnet: {width: [1]}", "did you mean 'widths'"),
        ("lr: 1", "lacks 'name'"),
        ("name: a\nname: b", "given twice"),
        ("name: a\nsteps: 1.5", "steps is 1.5"),
        ("name: a\nsteps: true", "steps is True"),
        ("name: a\nlr: fast", "expected a number"),
        ("name: a\nflag: 1", "flag is 1"),
        ("name: a\nnet: {kind: c}", "one of 'a', 'b'"),
        ("name: a\nbetas: [1]", "expected 2 values"),
        ("name: a\nnet: 3", "net is 3"),
        ("name: 3", "name is 3"),
        ("- a", "expected a mapping"),
        ("name: [", "not valid YAML"),
        ("name: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
    ],
)
def test_anything_else_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml", Recipe)
