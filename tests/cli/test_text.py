import json
import re

import numpy as np
import pytest
from PIL import Image

from diffwright.cli import main as cli
from diffwright.core.images import save_png
from diffwright.scenetext.editor import SceneTextEditor
from diffwright.scenetext.find import Word
from tests.support import text_standins as standins
from tests.support.text_standins import photo

BOX = ("--box", 20, 16, 76, 40)


def run(*words):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["text", *map(str, words)])
    return stopped.value.code


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a picture and a mask, and stand-ins for the networks."""
    editor = standins.editor(monkeypatch)
    monkeypatch.setattr(SceneTextEditor, "from_pretrained", classmethod(lambda *_, **__: editor))
    save_png(photo(), tmp_path / "photo.png")
    mask = np.zeros((64, 96), np.uint8)
    mask[20:40, 20:70] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_word_is_written_beside_its_record(place, capsys):
    flags = ("--write", "OPEN", "--color", "teal", "--bold", "--seed", 3, "--json", "r.json")
    assert run("photo.png", *BOX, *flags, "--out", "new.png") == 0
    picture = opened(place / "new.png")
    assert picture.shape == (64, 96, 3)
    np.testing.assert_array_equal(picture[:, :20], photo()[:, :20])
    files = {path.name for path in (place / "new").iterdir()}
    assert {"written.png", "candidate-4.png", "strips.png", "difference.png", "result.json"} <= files
    record = json.loads((place / "r.json").read_text())
    assert record["instruction"] == 'Write "OPEN" in font: Bold and color: teal'
    assert sorted(record["seeds"]) == [3, 4, 5, 6]
    assert record["command"].startswith("diffwright")
    shown = capsys.readouterr()
    assert re.search(r"sure of the best of 4; \d", shown.out)
    assert "new.png" in shown.out
    assert "warning: the reader finds 'WORD'" in shown.err


@pytest.mark.parametrize(
    "where",
    [
        ("--polygon", 10, 20, 60, 10, 64, 30, 14, 40),
        ("--polygon", 10, 20, 60, 10, 64, 30),
        ("--mask", "mask.png"),
    ],
)
def test_other_regions_and_a_folder_as_output(place, where):
    flags = ("--candidates", 1, "--steps", 1, "--guidance", 2, 1, "--font", "Lato", "--mix", "Karla", 0.3)
    assert run("photo.png", *where, "--write", "OPEN", *flags, "--out", "out") == 0
    assert (place / "out" / "written.png").is_file()


def test_nothing_but_an_empty_word_erases(place, capsys):
    assert run("photo.png", *BOX, "--write", "", "--candidates", 1, "--json", "-", "--out", "out") == 0
    assert json.loads(capsys.readouterr().out)["text"] == ""


def test_several_edits_come_from_a_file(place, capsys):
    edits = [
        {"box": [2, 2, 40, 20], "write": "OPEN", "color": "teal"},
        {"mask": "mask.png", "write": ""},
    ]
    (place / "edits.json").write_text(json.dumps({"edits": edits}))
    assert run("photo.png", "--edits", "edits.json", "--candidates", 1, "--out", "new.png") == 0
    assert "2 edits done" in capsys.readouterr().out
    record = json.loads((place / "new" / "result.json").read_text())
    assert [edit["text"] for edit in record["edits"]] == ["OPEN", ""]
    np.testing.assert_array_equal(opened(place / "new.png")[50:], photo()[50:])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--write", "A"), 2, "exactly one"),
        ((*BOX, "--mask", "mask.png", "--write", "A"), 2, "2 of --box"),
        (BOX, 2, "--write is missing"),
        (("--polygon", 1, 2, 3, "--write", "A"), 2, "--polygon has 3 numbers"),
        (("--polygon", 1, 2, 3, 4, 5, 6, 7, "--write", "A"), 2, "--polygon has 7 numbers"),
        ((*BOX, "--write", "é"), 3, "'é'"),
        ((*BOX, "--write", "A", "--color", "octarine"), 2, "octarine"),
        ((*BOX, "--write", "A", "--candidates", 0), 2, "candidates is 0"),
        (("--box", 0, 0, 900, 20, "--write", "A"), 3, "leaves the picture"),
        (("--edits", "edits.json", *BOX), 2, "--edits and a region"),
        (("--edits", "edits.json", "--bold"), 2, "--edits and --bold"),
        (("--edits", "edits.json"), 3, "edits.json"),
    ],
)
def test_wrong_use_is_one_sentence(place, capsys, words, code, said):
    assert run("photo.png", *words, "--out", "out") == code
    assert said in capsys.readouterr().err
    assert not (place / "out").exists()


def test_without_its_weights_it_says_so(tmp_path, capsys):
    save_png(photo(), tmp_path / "photo.png")
    flags = ("--write", "A", "--model", "pocket-nowhere", "--out", tmp_path / "out")
    assert run(tmp_path / "photo.png", *BOX, *flags) == 4
    assert "pocket-nowhere" in capsys.readouterr().err


def test_a_folder_of_the_user_is_not_written_into(place, capsys):
    (place / "mine").mkdir()
    (place / "mine" / "letter.txt").write_text("dear")
    assert run("photo.png", *BOX, "--write", "A", "--out", "mine") == 3
    assert "letter.txt" in capsys.readouterr().err


def test_words_are_listed_with_the_flags_that_name_them(place, monkeypatch, capsys):
    found = (Word("OPEN", 0.98, np.array([(20, 16), (76, 16), (76, 40), (20, 40.5)])),)
    monkeypatch.setattr("diffwright.scenetext.find.find_words", lambda *_, **__: found)
    assert run("find", "photo.png", "--out", "words.png", "--json", "w.json") == 0
    line = capsys.readouterr().out
    assert "'OPEN'  98 %  --polygon 20 16 76 16 76 40 20 40.5" in line
    assert json.loads((place / "w.json").read_text())["words"][0]["text"] == "OPEN"
    assert not np.array_equal(opened(place / "words.png"), photo())
    flags = line.split("  ")[-1].split()
    assert run("photo.png", *flags, "--write", "SHUT", "--candidates", 1, "--out", "out") == 0


def test_a_picture_without_words_is_no_error(place, monkeypatch, capsys):
    monkeypatch.setattr("diffwright.scenetext.find.find_words", lambda *_, **__: ())
    assert run("find", "photo.png") == 0
    assert "no words" in capsys.readouterr().out
    assert run("find", "photo.png", "--out", "words.jpg") == 2
    assert run("find", "photo.png", "--least", 3) == 2


@pytest.mark.parametrize("verb", ["text", "text find"])
def test_help_explains_each(verb, capsys):
    with pytest.raises(SystemExit) as left:
        cli.parse(verb, ["--help"])
    assert left.value.code == 0
    assert "--out" in capsys.readouterr().out
