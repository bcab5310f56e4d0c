import json
from functools import cache

import pytest
import torch

from diffwright.bench.editing_cases import cases
from diffwright.cli import main as cli
from diffwright.cli.demo_page import fix, match, move, paint, trace
from diffwright.core.images import save_png
from diffwright.matching.matcher import Matcher
from diffwright.metrics.judge import Judge
from diffwright.world.vocabulary import ATTRIBUTES
from tests.support import tiny, tiny_match
from tests.support.match_files import texture


@cache
def one_case():
    return cases("move", "test", 1)


@pytest.fixture
def small(monkeypatch):
    """The demo's two models as tiny random ones, and few steps."""
    torch.manual_seed(0)
    pipe = tiny.pipeline("pocket")
    judge = Judge(ATTRIBUTES, size=32, widths=(8, 8, 16), depths=(0, 0, 0)).eval()
    monkeypatch.setattr("diffwright.weights.load.load", lambda *_, **__: pipe)
    monkeypatch.setattr(Judge, "from_pretrained", classmethod(lambda *_: judge))
    monkeypatch.setattr("diffwright.cli.demo._matcher", lambda: None)
    monkeypatch.setattr("diffwright.cli.demo._writer", lambda: None)
    monkeypatch.setattr(paint, "STEPS", 2)
    monkeypatch.setattr(fix, "STEPS", 2)
    monkeypatch.setattr(trace, "STEPS", 2)
    monkeypatch.setattr(paint, "CAPTIONS", 4)
    monkeypatch.setattr(move, "CASES", 1)
    monkeypatch.setattr(move, "cases", lambda *_: one_case())
    return pipe


def run(*words):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["demo", *map(str, words)])
    return stopped.value.code


def test_the_tour_writes_one_page_with_all_chapters(small, tmp_path, capsys):
    before = {name: tensor.clone() for name, tensor in small.text_encoder.state_dict().items()}
    record = tmp_path / "r.json"
    assert run("--out", tmp_path / "d", "--prompt", "a <i>pink</i> rocket", "--json", record) == 0
    html = (tmp_path / "d" / "index.html").read_text()
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["index.html"]
    assert html.count("<article") == 4
    assert html.count("a &lt;i&gt;pink&lt;/i&gt; rocket (seed") >= 4
    assert "ships no weights" in html
    assert set(json.loads(record.read_text())["figures"]) == {"paint", "trace", "fix", "move"}
    assert "Open " in capsys.readouterr().out
    after = small.text_encoder.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_with_a_matcher_the_tour_ends_with_the_users_two_pictures(small, tmp_path, monkeypatch):
    monkeypatch.setattr("diffwright.cli.demo._matcher", lambda: Matcher(tiny_match.model()))
    monkeypatch.setattr(match, "VIEWS", 1)
    monkeypatch.setattr(match, "SIZE", 32)
    for name in ("a", "b"):
        save_png(texture(48, 64), tmp_path / f"{name}.png")
    record = tmp_path / "r.json"
    assert (
        run("--out", tmp_path / "d", "--pair", tmp_path / "a.png", tmp_path / "b.png", "--json", record) == 0
    )
    assert "match" in json.loads(record.read_text())["figures"]
    html = (tmp_path / "d" / "index.html").read_text()
    assert "Your two pictures" in html
    assert html.count("<article") == 5


def test_a_missing_picture_ends_the_tour_before_it_begins(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("diffwright.weights.load.load", lambda *_, **__: pytest.fail("a model was loaded"))
    assert run("--out", tmp_path / "d", "--pair", tmp_path / "nowhere.png", tmp_path / "b.png") == 3
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_json_on_standard_output_is_nothing_but_json(small, tmp_path, capsys):
    assert run("--out", tmp_path / "d", "--json", "-") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["seeds"] == [0]
    assert "[4/4] an object moved" in shown.err


def test_a_word_without_weights_to_write_it_is_refused(small, tmp_path, capsys):
    assert run("--out", tmp_path / "d", "--write", "OPEN") == 2
    assert "ships no pocket-text" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_an_unknown_kind_is_refused_before_anything_is_written(small, tmp_path, capsys):
    assert run("--out", tmp_path / "d", "--fix", "mug", "dukc") == 2
    assert "did you mean 'duck'" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()
