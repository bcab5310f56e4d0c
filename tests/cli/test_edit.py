import json
import shutil

import numpy as np
import pytest
from PIL import Image

from diffwright.cli.main import VERBS, main, parse
from diffwright.core.images import save_png
from tests.editing.conftest import SIZE, box, noise_picture
from tests.support.tiny import folder

VERB = [verb for verb in VERBS if verb.startswith("edit ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, two pictures and their masks."""
    root = tmp_path_factory.mktemp("edit")
    folder("sd1", root / "model")
    save_png(noise_picture(), root / "photo.png")
    save_png(noise_picture((36, 36), 5), root / "other.png")
    Image.fromarray(box(8, 8, 20, 20).astype(np.uint8) * 255).save(root / "mask.png")
    Image.fromarray(box(4, 4, 24, 20, (36, 36)).astype(np.uint8) * 255).save(root / "theirs.png")
    return root


def code(*words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return left.value.code


def edit(place, verb, *words, steps=4):
    return code("edit", verb, *words, "--model", place / "model", "--preset", "fast", "--steps", steps)


def opened(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_all_verbs_are_there():
    assert [f"edit {v}" for v in ("move", "resize", "drag", "replace", "paste", "remove", "replay")] == VERB


def test_move_writes_a_picture_and_replays_it(place, tmp_path, capsys):
    out, record = tmp_path / "moved.png", tmp_path / "record.json"
    photo, mask = place / "photo.png", place / "mask.png"
    flags = ("--mask", mask, "--by", 14, 2, "--seed", 5, "--json", record, "--out", out)
    assert edit(place, "move", photo, *flags) == 0
    assert opened(out).shape == (*SIZE, 3)
    assert json.loads(record.read_text())["figures"]["unet_passes"] > 0
    shown = capsys.readouterr()
    assert "UNet passes" in shown.out
    assert "warning:" in shown.err, "a random autoencoder loses the picture"
    saved = tmp_path / "moved"
    assert {"edited-5.png", "mask-0.png", "selection.png", "source.png"} <= {p.name for p in saved.iterdir()}
    assert json.loads((saved / "result.json").read_text())["command"].startswith("diffwright")
    again = tmp_path / "again.png"
    assert code("edit", "replay", saved, "--model", place / "model", "--out", again) == 0
    assert np.array_equal(opened(again), opened(out))
    other = tmp_path / "other.png"
    assert code("edit", "replay", saved, "--model", place / "model", "--seed", 6, "--out", other) == 0
    assert not np.array_equal(opened(other), opened(out))
    assert "edited-6.png" in {path.name for path in (tmp_path / "other").iterdir()}


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("resize", ("--mask", "mask.png", "--scale", 1.3)),
        ("drag", ("--start", 10, 10, "--end", 16, 10, "--start", 30, 20, "--end", 30, 26)),
        ("replace", ("--mask", "mask.png", "--reference", "other.png", "--reference-mask", "theirs.png")),
        (
            "paste",
            ("--reference", "other.png", "--reference-mask", "theirs.png", "--at", 24, 16, "--scale", 0.5),
        ),
        ("remove", ("--box", 8, 8, 20, 20)),
    ],
)
def test_the_other_verbs_write_a_folder(place, tmp_path, monkeypatch, verb, words):
    if "--box" in words:
        pytest.importorskip("cv2")
    monkeypatch.chdir(place)
    assert edit(place, verb, "photo.png", *words, "--count", 2, "--out", tmp_path / "out") == 0
    assert opened(tmp_path / "out" / "edited-1.png").shape == (*SIZE, 3)


def test_preview_needs_no_steps(place, tmp_path):
    out = tmp_path / "collage.png"
    words = ("--mask", place / "mask.png", "--by", 14, 2, "--preview", "--out", out)
    assert edit(place, "move", place / "photo.png", *words) == 0
    np.testing.assert_array_equal(opened(out)[10:22, 22:34], noise_picture()[8:20, 8:20])


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (("move", "photo.png", "--by", "1", "1"), 2, "exactly one"),
        (
            ("move", "photo.png", "--by", "1", "1", "--mask", "mask.png", "--point", "3", "3"),
            2,
            "2 of --mask",
        ),
        (("move", "photo.png", "--by", "900", "1", "--mask", "mask.png"), 3, "off the picture"),
        (("remove", "photo.png", "--mask", "theirs.png"), 3, "picture's size"),
        (("remove", "nothing.png", "--mask", "mask.png"), 3, "not a file"),
        (("resize", "photo.png", "--mask", "mask.png", "--scale", "0"), 2, "scale"),
        (("replay", "."), 3, "result.json"),
    ],
)
def test_wrong_use_is_one_sentence(place, tmp_path, monkeypatch, capsys, words, exit_code, said):
    monkeypatch.chdir(place)
    assert code("edit", *words, "--model", "model", "--out", tmp_path / "out") == exit_code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", VERB)
def test_help_explains_each(verb, capsys):
    with pytest.raises(SystemExit) as left:
        parse(verb, ["--help"])
    assert left.value.code == 0
    assert "--out" in capsys.readouterr().out


def test_no_output_replaces_what_is_read(place, tmp_path, capsys):
    for name in ("photo.png", "mask.png"):
        shutil.copy(place / name, tmp_path)
    photo, mask = tmp_path / "photo.png", tmp_path / "mask.png"
    before = photo.read_bytes(), mask.read_bytes()
    (tmp_path / "dir.png").mkdir()
    for out, number, said in (
        (photo, 3, "write over the input"),
        (mask, 3, "write over the input"),
        (tmp_path / "moved.jpg", 2, "written as PNG"),
        (tmp_path / "dir.png", 2, "is a folder"),
        (photo / "x.png", 2, "is a file"),
    ):
        assert (
            code("edit", "move", photo, "--mask", mask, "--by", 9, 0, "--model", "no/such", "--out", out)
            == number
        )
        assert said in capsys.readouterr().err
    assert before == (photo.read_bytes(), mask.read_bytes())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir.png", "mask.png", "photo.png"]


def test_what_cannot_be_done_is_said_before_the_model_is_loaded(place, tmp_path, capsys):
    flags = ("--mask", place / "mask.png", "--model", "no/such/model", "--out", tmp_path / "o")
    assert code("edit", "move", place / "photo.png", "--by", 900, 0, *flags) == 3
    assert "off the picture" in capsys.readouterr().err
    assert code("edit", "move", place / "photo.png", "--by", 9, 0, "--preview", *flags) == 0
    assert code("edit", "move", place / "photo.png", "--by", 9, 0, "--preview", *flags) == 0, (
        "a preview is ours to replace"
    )
