import json

import pytest

from diffwright.cli.main import main
from diffwright.concepts.edit import ConceptEdit
from diffwright.weights.fingerprint import fingerprint
from diffwright.weights.load import load
from tests.support.tiny import folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return folder("sd1", tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("fix") / "edit"
    words = ["--from", "cat", "--to", "dog", "--from", "red mug", "--to", "mug", "--preserve", "the"]
    flags = [
        "--preview",
        "the red cat",
        "--preview",
        "a zebra",
        "--steps",
        "2",
        "--count",
        "2",
        "--lam",
        "1e-5",
    ]
    assert code("fix", "make", "--model", str(model), *words, *flags, "--out", str(out)) == 0
    return out


def code(*words):
    with pytest.raises(SystemExit) as left:
        main(words)
    return left.value.code


def test_make_writes_the_edit_the_strip_and_the_report(made):
    record = json.loads((made / "result.json").read_text())
    assert record["pairs"] == [["cat", "dog"], ["red mug", "mug"]]
    assert record["preserve"] == ["the"]
    assert [fit["source"] for fit in record["fits"]] == ["cat", "red mug"]
    assert any("a zebra" in warning for warning in record["warnings"])
    assert record["figures"]["size_kib"] < 10
    assert (made / "before-and-after.png").is_file()
    assert "cat -> dog" in (made / "report.txt").read_text()
    assert ConceptEdit.load(made).choice.lam == 1e-5


def test_pairs_come_from_a_file_too(model, tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("cat, dog\n\nred mug,mug\n")
    flags = ["--steps", "1", "--count", "1", "--out", str(tmp_path / "out")]
    assert code("fix", "make", "--model", str(model), "--pairs", str(table), *flags) == 0
    assert ConceptEdit.load(tmp_path / "out").pairs == (("cat", "dog"), ("red mug", "mug"))


@pytest.mark.parametrize("text", ["cat,dog,mug\n", "cat,\n", "cat\n", ""])
def test_tables_that_hold_no_pairs_are_refused(model, tmp_path, text, capsys):
    table = tmp_path / "pairs.csv"
    table.write_text(text)
    assert (
        code("fix", "make", "--model", str(model), "--pairs", str(table), "--out", str(tmp_path / "o")) == 3
    )
    assert "pair" in capsys.readouterr().err or text.startswith("cat")
    assert not (tmp_path / "o").exists()


def test_unequal_numbers_of_from_and_to_are_refused(model, capsys):
    assert code("fix", "make", "--model", str(model), "--from", "cat") == 3
    assert "1 --from and 0 --to" in capsys.readouterr().err


def test_an_edit_without_effect_warns(model, tmp_path, capsys):
    words = ["--from", "cat", "--to", "cat", "--steps", "1", "--count", "1", "--out", str(tmp_path / "out")]
    assert code("fix", "make", "--model", str(model), *words, "--json", "-") == 0
    shown = capsys.readouterr()
    assert "changes nothing" in shown.err
    assert "changed no picture" in shown.err
    assert json.loads(shown.out)["pairs"] == [["cat", "cat"]], "nothing but JSON on standard output"


def test_apply_and_revert_on_disk(model, made, tmp_path):
    base = fingerprint(load(model))
    edited, back = tmp_path / "edited", tmp_path / "back"
    assert code("fix", "apply", "--model", str(model), "--edit", str(made), "--out", str(edited)) == 0
    assert fingerprint(load(edited)) != base
    assert code("fix", "revert", "--model", str(edited), "--out", str(back)) == 0
    assert fingerprint(load(back)) == base
    assert (
        code("fix", "apply", "--model", str(edited), "--edit", str(made), "--out", str(tmp_path / "no")) == 4
    )


def test_report_measures_a_saved_edit(model, made, tmp_path, capsys):
    record = tmp_path / "report.json"
    words = ["--edit", str(made), "--neighbour", "mug", "--json", str(record)]
    assert code("fix", "report", "--model", str(model), *words) == 0
    moved = json.loads(record.read_text())["figures"]["encoding"]["cat -> dog"]
    assert set(moved) == {"paraphrases", "neighbours"}
    assert "of the way" in capsys.readouterr().out


def test_sweep_screens_without_a_judge(model, tmp_path, capsys):
    record = tmp_path / "sweep.json"
    words = ["--pairs", "1", "--finalists", "0", "--json", str(record)]
    assert code("fix", "sweep", "--model", str(model), *words) == 0
    rows = json.loads(record.read_text())["rows"]
    assert len(rows) > 20
    assert {"recovery", "drift", "choice"} <= set(rows[0])
    assert code("fix", "sweep", "--model", str(model), "--pairs", "1") == 3
    assert "No judge" in capsys.readouterr().err
