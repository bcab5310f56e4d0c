import json

import numpy as np
import pytest

from diffwright.cli import main as cli
from diffwright.core.images import save_png
from tests.support import tiny_match
from tests.support.match_files import texture, write_flow_pair


def run(*words):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["match", *map(str, words)])
    return stopped.value.code


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny"
    tiny_match.folder(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    for name, size in (("a", (48, 64)), ("b", (40, 56))):
        save_png(texture(*size), tmp_path / f"{name}.png")
    return tmp_path / "a.png", tmp_path / "b.png"


def test_two_pictures_give_the_promised_files(model, pictures, tmp_path, capsys):
    record = tmp_path / "r.json"
    flags = ("--model", model, "--samples", 2, "--all-samples", "--json", record)
    assert run(*pictures, *flags, "--out", tmp_path / "m") == 0
    files = {path.name for path in (tmp_path / "m").iterdir()}
    assert {"flow.npz", "flow.flo", "warped.png", "confidence.png", "matches.png", "result.json"} <= files
    with np.load(tmp_path / "m" / "flow.npz") as npz:
        assert npz["flow"].shape == (48, 64, 2)
        assert npz["flow"].dtype == np.float32
        assert npz["confidence"].shape == npz["occlusion"].shape == (48, 64)
        assert str(npz["direction"]) == "a_to_b"
        assert npz["samples"].shape == (2, 48, 64, 2)
    written = json.loads(record.read_text())
    assert written["a"].endswith("a.png")
    assert written["command"].startswith("diffwright")
    assert json.loads((tmp_path / "m" / "result.json").read_text())["command"] == written["command"]
    said = capsys.readouterr().out
    assert "mean confidence" in said
    assert str(tmp_path / "m") in said


def test_a_table_of_pairs_gives_a_folder_each(model, pictures, tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text("a.png, b.png\n\nb.png,a.png\n")
    flags = ("--model", model, "--steps", 1, "--faithful", "--reverse", "off", "--json", "-")
    assert run("--pairs", tmp_path / "pairs.csv", *flags, "--out", tmp_path / "many") == 0
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == ["0001-a-b", "0002-b-a"]
    shown = capsys.readouterr()
    assert [pair["size_a"] for pair in json.loads(shown.out)["pairs"]] == [[64, 48], [56, 40]]
    assert "[2/2]" in shown.err


def test_the_flow_of_another_matcher_is_refined(model, tmp_path):
    write_flow_pair(tmp_path, unknown=4)
    pair = (tmp_path / "noise_1.png", tmp_path / "noise_2.png")
    flags = ("--model", model, "--steps", 1, "--samples", 1, "--out", tmp_path / "m")
    assert run(*pair, "--refine", tmp_path / "noise.flo", *flags) == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "nothing was given"),
        (("a.png",), 2, "two pictures A and B"),
        (("a.png", "b.png", "--pairs", "p.csv"), 2, "a and b and pairs was given"),
        (("--pairs", "none.csv"), 3, "none.csv"),
        (("--pairs", "p.csv", "--refine", "f.flo"), 2, "--refine"),
        (("a.png", "nowhere.png"), 3, "nowhere.png is not a file"),
        (("a.png", "b.png", "--samples", "0"), 2, "samples is 0"),
        (("a.png", "b.png", "--model", "nowhere"), 4, "nowhere"),
    ],
)
def test_wrong_words_are_one_sentence(model, pictures, tmp_path, monkeypatch, capsys, words, code, message):
    (tmp_path / "p.csv").write_text("a.png,b.png\n")
    monkeypatch.chdir(tmp_path)
    if "--model" not in words:
        words = (*words, "--model", model)
    assert run(*words, "--out", tmp_path / "m") == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no pair"), ("a.png\n", "row 1"), ("a.png,b.png,c.png\n", "row 1"), ("a.png,x.png\n", "x.png")],
)
def test_tables_that_hold_no_pairs_are_refused(pictures, tmp_path, capsys, text, message):
    (tmp_path / "p.csv").write_text(text)
    assert run("--pairs", tmp_path / "p.csv", "--model", "nowhere", "--out", tmp_path / "m") == 3
    assert message in capsys.readouterr().err
