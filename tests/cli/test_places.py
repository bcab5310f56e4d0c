"""No verb writes over what it reads, whatever ``--out`` and ``--json`` say, and says so before it loads a model."""

import numpy as np
import pytest

from diffwright.cli.main import main
from diffwright.core.images import save_png
from tests.support.text_standins import photo

TEXT = ("text", "photo.png", "--box", 20, 16, 76, 40, "--write", "A", "--model", "no/such")
EDITS = ("text", "photo.png", "--edits", "edits.json", "--model", "no/such")
MOVE = ("edit", "move", "photo.png", "--mask", "mask.png", "--by", 1, 1, "--model", "no/such")
MATCH = ("match", "photo.png", "other.png", "--model", "no/such")
PAIRS = ("match", "--pairs", "pairs.csv", "--model", "no/such")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what the verbs read."""
    for name in ("photo.png", "other.png"):
        save_png(photo(), tmp_path / name)
    mask = np.zeros((64, 96, 3), np.uint8)
    mask[20:40, 20:70] = 255
    save_png(mask, tmp_path / "mask.png")
    (tmp_path / "edits.json").write_text('{"edits": [{"mask": "mask.png", "write": "A"}]}')
    (tmp_path / "pairs.csv").write_text("photo.png, other.png\n")
    (tmp_path / "concepts.csv").write_text("cat, dog\n")
    (tmp_path / "effects.json").write_text('{"te.0.attn.out": 0.5}')
    (tmp_path / "flow.flo").write_bytes(b"PIEH")
    (tmp_path / "e.safetensors").write_bytes(b"edit")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def code(*words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return left.value.code


@pytest.mark.parametrize(
    "words",
    [
        (*TEXT, "--out", "photo.png"),
        (*TEXT, "--json", "photo.png"),
        (*EDITS, "--json", "edits.json"),
        (*EDITS, "--json", "mask.png"),
        (*EDITS, "--out", "mask.png"),
        ("text", "photo.png", "--mask", "mask.png", "--write", "A", "--json", "mask.png"),
        ("text", "find", "photo.png", "--out", "photo.png"),
        ("text", "find", "photo.png", "--json", "./photo.png"),
        (*MOVE, "--json", "photo.png"),
        (*MOVE, "--json", "mask.png"),
        (*MATCH, "--json", "photo.png"),
        (*MATCH, "--json", "other.png"),
        (*MATCH, "--refine", "flow.flo", "--json", "flow.flo"),
        (*PAIRS, "--json", "pairs.csv"),
        (*PAIRS, "--json", "other.png"),
        ("fix", "make", "--pairs", "concepts.csv", "--model", "no/such", "--json", "concepts.csv"),
        ("fix", "sweep", "--effects", "effects.json", "--model", "no/such", "--json", "effects.json"),
        ("fix", "report", "--edit", "e.safetensors", "--json", "e.safetensors"),
        ("fix", "apply", "--edit", "e.safetensors", "--out", "new", "--json", "e.safetensors"),
        ("fix", "compose", "--edit", "e.safetensors", "--out", "f.safetensors", "--json", "e.safetensors"),
        ("fix", "export", "--edit", "e.safetensors", "--out", "f.safetensors", "--json", "e.safetensors"),
        ("generate", "a mug", "--with", "e.safetensors", "--model", "no/such", "--json", "e.safetensors"),
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_what_is_read_stays(place, capsys, words):
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    assert code(*words) == 3
    shown = capsys.readouterr().err
    assert "would write over the input" in shown
    assert shown.count("\n") == 1
    assert before == {path.name: path.read_bytes() for path in place.iterdir()}


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "jpeg", "webp", "bmp", "tif", "tiff", "gif"])
@pytest.mark.parametrize("verb", [TEXT, MOVE], ids=["text", "edit"])
def test_pictures_of_other_formats_are_no_folders(place, capsys, verb, suffix):
    assert code(*verb, "--out", f"new.{suffix}") == 2
    assert "written as PNG, so name new.png or a folder" in capsys.readouterr().err
    assert not list(place.glob("new*"))


@pytest.mark.parametrize(("out", "said"), [("dir.png", "is a folder"), ("edits.json/new.png", "is a file")])
def test_a_place_that_cannot_be_is_said_early(place, capsys, out, said):
    (place / "dir.png").mkdir()
    assert code(*TEXT, "--out", out) == 2
    assert said in capsys.readouterr().err


def test_a_matched_folder_that_holds_a_picture_of_the_next_match_is_kept(place, capsys):
    save_png(photo(), place / "matched" / "warped.png")
    (place / "matched" / ".diffwright").write_text("warped.png\n")
    assert code("match", "matched/warped.png", "other.png", "--model", "no/such", "--out", "matched") == 3
    assert "would write over the input" in capsys.readouterr().err
