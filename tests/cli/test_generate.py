import json

import pytest
from PIL import Image

from diffwright.cli import main as cli
from diffwright.concepts.edit import edit_concepts
from diffwright.weights.fingerprint import fingerprint
from diffwright.weights.load import load
from tests.support import tiny


def run(*words):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["generate", *map(str, words)])
    return stopped.value.code


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.folder("pocket", tmp_path_factory.mktemp("model") / "tiny")


def test_pictures_sheet_and_record_are_written(model, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        run("a red mug", "a dog", "--count", 2, "--seed", 5, "--steps", 2, "--model", model, "--out", out)
        == 0
    )
    record = json.loads((out / "result.json").read_text())
    assert record["seeds"] == [5, 6, 5, 6]
    assert record["images"][0] == "000-a-red-mug-seed5.png"
    assert record["model"] == fingerprint(load(model))
    with Image.open(out / record["images"][3]) as picture, Image.open(out / "sheet.png") as sheet:
        assert picture.size == (32, 32)
        assert sheet.width > 4 * 256
    assert "4 pictures in" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(model, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("a cat", "--steps", 2, "--seed", seed, "--model", model, "--out", tmp_path / name) == 0
    first, again, other = ((next((tmp_path / n).glob("000*"))).read_bytes() for n in "abc")
    assert first == again
    assert first != other


def test_json_on_standard_output_is_nothing_but_json(model, tmp_path, capsys):
    with pytest.warns(UserWarning, match="changes nothing"):
        null = edit_concepts(load(model), [("mug", "mug")])
    null.save(tmp_path / "null.safetensors")
    flags = ("--steps", 1, "--model", model, "--with", tmp_path / "null.safetensors", "--out", tmp_path / "o")
    assert run("a cat", *flags, "--json", "-") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["seeds"] == [0]
    assert "warning: " in shown.err


def test_an_edit_changes_its_prompt_and_warns_where_it_changes_nothing(model, tmp_path, capsys):
    edit = edit_concepts(load(model), [("mug", "dog")])
    edit.save(tmp_path / "edit.safetensors")
    common = ("--steps", 2, "--model", model)
    assert run("a red mug", *common, "--out", tmp_path / "plain") == 0
    assert (
        run("a red mug", *common, "--with", tmp_path / "edit.safetensors", "--out", tmp_path / "edited") == 0
    )
    assert "warning" not in capsys.readouterr().err
    plain, edited = (next((tmp_path / name).glob("000*")).read_bytes() for name in ("plain", "edited"))
    assert plain != edited
    of_plain, of_edited = (
        json.loads((tmp_path / name / "result.json").read_text())["model"] for name in ("plain", "edited")
    )
    assert of_plain != of_edited, "an edit of the text encoder is part of the model that painted"

    with pytest.warns(UserWarning, match="changes nothing"):
        null = edit_concepts(load(model), [("mug", "mug")])
    null.save(tmp_path / "null.safetensors")
    assert run("a red mug", *common, "--with", tmp_path / "null.safetensors", "--out", tmp_path / "n") == 0
    assert "changes none of these prompts" in capsys.readouterr().err


def test_an_edit_of_cross_attention_warns_where_it_changes_nothing(model, tmp_path, capsys):
    edit = edit_concepts(load(model), [("mug", "dog")], site="unet.*.attn2.*.v")
    edit.save(tmp_path / "edit.safetensors")
    for patch in edit.patches:
        patch.factors.up.zero_()
    edit.save(tmp_path / "null.safetensors")
    for name, warned in (("edit", False), ("null", True)):
        with_edit = ("--with", tmp_path / f"{name}.safetensors", "--out", tmp_path / name)
        assert run("a red mug", "--steps", 1, "--model", model, *with_edit) == 0
        assert ("changes none of these prompts" in capsys.readouterr().err) is warned


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["a", "--count", "0"], 2),
        (["a\0b"], 3),
        (["a", "--model", "nowhere/at/all"], 4),
        (["a", "--model", "some.ckpt"], 4),
    ],
)
def test_unusable_requests_are_refused_with_their_code(words, code, tmp_path):
    assert run(*words, "--out", tmp_path / "o") == code
    assert not (tmp_path / "o").exists()


def test_words_that_the_model_never_saw_are_named(model, tmp_path, capsys):
    assert run("a zebra", "a cat", "--steps", 1, "--model", model, "--out", tmp_path / "o") == 0
    (warning,) = json.loads((tmp_path / "o" / "result.json").read_text())["warnings"]
    assert warning.startswith("the model never saw 'zebra' in")
    assert warning in capsys.readouterr().err


def test_a_folder_of_the_user_is_not_overwritten(model, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    assert run("a cat", "--model", model, "--out", tmp_path) == 3
    assert (tmp_path / "thesis.txt").read_text() == "mine"
