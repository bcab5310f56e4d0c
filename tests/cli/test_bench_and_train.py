import json

import pytest

from diffwright.bench import harness
from diffwright.cli import main as cli
from diffwright.training import catalog


def run(*words):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*map(str, words)])
    return stopped.value.code


@pytest.fixture
def measured(monkeypatch):
    asked = []

    def fake(name, quick, progress, **data):
        asked.append((name, quick))
        return {"edit_ms": harness.Figure(12.5, "ms", "lower", "five runs")}

    monkeypatch.setattr(harness, "run", fake)
    return asked


def test_a_bench_prints_its_table_and_writes_its_json(measured, tmp_path, capsys):
    assert run("bench", "concepts", "--quick", "--json", tmp_path / "b.json") == 0
    assert measured == [("concepts", True)]
    written = json.loads((tmp_path / "b.json").read_text())
    assert written["figures"]["edit_ms"]["value"] == 12.5
    assert written["environment"]["cores"]
    assert written["environment"]["command"].startswith("diffwright")
    assert "edit_ms" in capsys.readouterr().out


def test_json_on_standard_output_is_nothing_but_json(measured, capsys):
    assert run("bench", "concepts", "--json", "-") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["figures"]["edit_ms"]["better"] == "lower"
    assert "edit_ms" in shown.err


def test_an_unknown_bench_or_recipe_is_named(capsys):
    assert run("bench", "concept") == 2
    assert "did you mean 'concepts'" in capsys.readouterr().err
    assert run("train", "t2") == 2
    assert "did you mean 't2i'" in capsys.readouterr().err


def test_help_of_train_names_every_recipe(capsys):
    assert run("train", "--help") == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"Which recipe: {', '.join(catalog.RECIPES)}." in shown


def test_flags_of_train_reach_the_recipe(monkeypatch, tmp_path, capsys):
    seen = {}

    def fake(name, settings, options, progress=None):
        seen.update(name=name, settings=settings, options=options)
        return {"samples": 64, "psnr_renders": 33.5}

    monkeypatch.setattr(catalog, "train", fake)
    out = tmp_path / "run"
    flags = ("--minutes", 3, "--optimizer", "diffgrad", "--init", tmp_path, "--out", out, "--seed", 7)
    assert run("train", "vae", *flags, "--json", tmp_path / "r.json") == 0
    given = {name: value for name, value in seen["settings"].items() if value is not None}
    assert given == {"out": out, "minutes": 3.0, "optimizer": "diffgrad", "seed": 7}
    assert seen["options"] == {"cache": None, "photos": None, "init": tmp_path}
    assert "psnr_renders" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["samples"] == 64


def test_other_options_of_a_recipe_are_read_as_yaml(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(catalog, "train", lambda *given: seen.update(given[2]) or {})
    words = ("stage1=some/dir", "widths=[16, 32]", "cost_injection=false")
    flags = ("--out", tmp_path, "--photos", tmp_path, "--options", *words)
    assert run("train", "match-stage1", *flags) == 0
    given = {name: value for name, value in seen.items() if value is not None}
    assert given == {
        "photos": tmp_path,
        "stage1": "some/dir",
        "widths": [16, 32],
        "cost_injection": False,
    }


@pytest.mark.parametrize("words", [("photos",), ("=x",), ("photos=",), ("a=1", "a=2"), ("a=[1",)])
def test_an_option_that_cannot_be_read_is_named(words, tmp_path, capsys):
    assert run("train", "match-stage1", "--out", tmp_path, "--options", *words) == 2
    assert "--options" in capsys.readouterr().err


def test_an_unknown_option_is_named_before_anything_is_written(tmp_path, capsys):
    assert run("train", "match-stage1", "--out", tmp_path / "run", "--options", "photo=x") == 2
    assert "did you mean 'photos'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_seed_that_is_not_given_is_left_to_the_recipe(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(catalog, "train", lambda name, settings, *_: seen.update(settings) or {})
    assert run("train", "vae", "--out", tmp_path) == 0
    assert {name for name, value in seen.items() if value is not None} == {"out"}


@pytest.mark.parametrize(("rank", "speaks"), [("0", True), ("1", False)])
def test_only_the_first_of_several_processes_speaks(monkeypatch, tmp_path, capsys, rank, speaks):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(catalog, "train", lambda *_: {"samples": 8})
    assert run("train", "vae", "--out", tmp_path / "run", "--json", tmp_path / "r.json") == 0
    assert bool(capsys.readouterr().out) is speaks
    assert (tmp_path / "r.json").exists() is speaks


def test_two_budgets_are_refused(capsys):
    assert run("train", "vae", "--minutes", 1, "--samples", 1) == 2
    assert "give one of them" in capsys.readouterr().err
