import json

import numpy as np
import pytest

from diffwright.batch import engine
from diffwright.cli import main as cli
from diffwright.cli.batch import Lines
from diffwright.core.images import load_image, save_png
from diffwright.scenetext.editor import SceneTextEditor
from tests.batch.inline import InlineCrew
from tests.scenetext import tiny as tiny_text
from tests.support import tiny, tiny_match
from tests.support.match_files import texture
from tests.support.text_standins import photo


@pytest.fixture(autouse=True)
def inline(monkeypatch):
    monkeypatch.setattr(engine, "_crew", lambda job, out, workers, ray: InlineCrew(job, out))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.folder("sd1", tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def table(tmp_path):
    def write(*lines):
        (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "t.csv"

    return write


def run(*words):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["batch", *map(str, words)])
    return stopped.value.code


def results(out):
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("results/*/result.json")}


TRACE = ("--steps", 1, "--seeds", 1, "--text", "--metric", "embedding")


def test_prompts_are_traced_and_a_bad_one_is_an_error_row(model, table, tmp_path, capsys):
    out, record = tmp_path / "out", tmp_path / "r.json"
    lines = [
        "id,prompt,subject,seed",
        "mug,the red mug,mug,5",
        "no,the red mug,duck,",
        "cat,the cat,cat,",
        "bad,a,a,x",
    ]
    flags = ("--model", model, *TRACE, "--out", out, "--json", record)
    assert run("trace", table(*lines), *flags, "--seed", 3) == 0
    found = results(out)
    assert {name: traced["seeds"] for name, traced in found.items()} == {"mug": [5], "cat": [3]}
    assert found["mug"]["command"].startswith("diffwright")
    assert (out / "results" / "mug" / "trace.json").is_file()
    said = json.loads(record.read_text())
    assert [said[name] for name in ("rows", "done", "errors", "earlier")] == [4, 2, 2, 0]
    shown = capsys.readouterr()
    assert "2 of 4 rows done, 2 errors" in shown.out
    assert '"no": The subject' in shown.err or "'duck'" in shown.err
    assert "seed of row 'bad' is 'x'" in shown.err
    assert run("trace", table(*lines), *flags, "--seed", 3) == 0
    assert "4 of them earlier" in capsys.readouterr().out
    assert run("trace", table(*lines), *flags, "--seed", 4) == 3
    assert "another job: seed was 3, now 4" in capsys.readouterr().err
    assert (
        run("trace", table("prompt,subject", "a,b"), "--model", model, *TRACE, "--out", tmp_path / "none")
        == 5
    )
    assert "no row gave a result; the first says: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--window", 4), 2, "window is 4"),
        (("--seeds", 0), 2, "seeds is 0"),
        (("--scorer", "clip"), 2, "A scorer looks at pictures"),
        (("--model", "nowhere"), 4, "nowhere"),
        (("--workers", 0), 2, "workers is 0"),
    ],
)
def test_wrong_options_end_the_batch(model, table, tmp_path, capsys, flags, code, said):
    flags = (*TRACE, *flags) if "--model" in flags else ("--model", model, *TRACE, *flags)
    assert run("trace", table("prompt,subject", "the mug,mug"), *flags, "--out", tmp_path / "out") == code
    assert said in capsys.readouterr().err


def test_pairs_are_matched_seen_from_the_table(table, tmp_path):
    tiny_match.folder(tmp_path / "model")
    for name, size in (("a", (48, 64)), ("b", (40, 56))):
        save_png(texture(*size), tmp_path / f"{name}.png")
    lines = ["a,b,seed", "a.png,b.png,", "b.png,a.png,2", "a.png,none.png,"]
    flags = ("--model", tmp_path / "model", "--steps", 1, "--faithful", "--reverse", "off")
    assert run("match", table(*lines), *flags, "--out", tmp_path / "out") == 0
    assert [found["size_a"] for found in results(tmp_path / "out").values()] == [[64, 48], [56, 40]]
    told = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert "none.png is not a file" in told[2]["message"]


def test_pictures_are_edited_each_in_its_own_way(model, table, tmp_path, capsys):
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    save_png(picture, tmp_path / "p.png")
    mask = np.zeros((32, 48), dtype=np.uint8)
    mask[8:20, 8:20] = 255
    save_png(mask, tmp_path / "m.png")
    lines = [
        "id,image,edit,mask,box,by,scale,start,end,reference,reference_mask,at,prompt",
        "move,p.png,move,m.png,,6 2,,,,,,,a mug",
        "resize,p.png,resize,m.png,,,1.2,,,,,,a mug",
        "drag,p.png,drag,,,,,10 10; 20 20,14 10; 20 22,,,,",
        "replace,p.png,replace,m.png,,,,,,p.png,m.png,,",
        "paste,p.png,paste,,,,,,,p.png,m.png,30 16,",
        "remove,p.png,remove,m.png,,,,,,,,,",
        "both,p.png,move,m.png,1 1 9 9,6 2,,,,,,,",
        "none,p.png,remove,,,,,,,,,,",
        "huge,p.png,resize,m.png,,,1000,,,,,,",
        "fly,p.png,fly,m.png,,,,,,,,,",
        "odd,p.png,resize,m.png,,6 2,1.2,,,,,,",
        "off,p.png,move,m.png,,600 2,,,,,,,",
    ]
    out = tmp_path / "out"
    assert run("edit", table(*lines), "--model", model, "--steps", 5, "--count", 2, "--out", out) == 0
    found = results(out)
    assert sorted(found) == ["drag", "move", "paste", "remove", "replace", "resize"]
    assert all(edited["seeds"] == [0, 1] for edited in found.values())
    assert found["resize"]["figures"]["unet_passes"] < found["move"]["figures"]["unet_passes"], (
        "one inversion"
    )
    told = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    said = {line["id"]: line["message"] for line in told if line["status"] == "error"}
    for name, words in {
        "both": "2 of mask, box, point; fill exactly one",
        "none": "0 of mask, box, point",
        "huge": "scale is 1000.0",
        "fly": "edit of row 'fly' is 'fly'",
        "odd": "is a resize, which has no by",
        "off": "takes the whole object off the picture",
    }.items():
        assert words in said.pop(name)
    assert not said
    assert "error: and 1 more" in capsys.readouterr().err


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text") / "model"
    tiny_text.model().save_pretrained(folder)
    return folder


@pytest.fixture
def words(writer, tmp_path):
    """Pictures and a mask beside the table; and ``batch text`` with one step of the tiny model."""
    save_png(photo(), tmp_path / "p.png")
    mask = np.zeros((64, 96), dtype=np.uint8)
    mask[20:40, 20:70] = 255
    save_png(mask, tmp_path / "m.png")

    def run_words(file, *flags):
        return run("text", file, "--model", writer, "--steps", 1, "--out", tmp_path / "out", *flags)

    return run_words


WORDS = (
    "id,image,write,box,polygon,mask,font,color,bold,italic,mix,instruction,seed",
    "box,p.png,OPEN,20 16 76 40,,,Lato,teal,true,FALSE,,,5",
    'corners,p.png,"Tea, hot",,10 20; 60 10; 64 30; 14 40,,Lato,,,,Open Sans 0.3,,',
    "mask,p.png,OPEN,,,m.png,,,,,,a word in ink,",
    "erased,p.png,,20 16 76 40,,,,,,,,,",
)


def test_words_are_written_and_erased_and_the_same_command_again_does_nothing(
    words, table, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    flags = ("--candidates", 2, "--guidance", 2, 1, "--seed", 3)
    assert words(table(*WORDS), *flags) == 0
    found = results(out)
    assert {name: written["text"] for name, written in found.items()} == {
        "box": "OPEN", "corners": "Tea, hot", "mask": "OPEN", "erased": "",
    }  # fmt: skip
    assert found["box"]["instruction"] == 'Write "OPEN" in font: Lato-Bold and color: teal'
    assert found["mask"]["instruction"] == "a word in ink"
    assert sorted(found["box"]["seeds"]) == [5, 6]
    assert sorted(found["erased"]["seeds"]) == [3, 4]
    assert found["mask"]["command"].startswith("diffwright")
    assert all(written["figures"]["outside_changed_px"] == 0 for written in found.values())
    picture = load_image(out / "results" / "erased" / "written.png")
    np.testing.assert_array_equal(picture[:, :20], photo()[:, :20])
    assert (out / "results" / "corners" / "strips.png").is_file()
    capsys.readouterr()

    monkeypatch.setattr(SceneTextEditor, "from_pretrained", lambda *_: pytest.fail("nothing is to be done"))
    assert words(table(*WORDS), *flags) == 0
    assert "4 of 4 rows done, 0 errors, 4 of them earlier" in capsys.readouterr().out
    assert words(table(*WORDS), *flags, "--candidates", 3) == 3
    assert "another job: candidates was 2, now 3" in capsys.readouterr().err


def test_a_row_that_cannot_be_written_says_why_and_stops_no_other(words, table, tmp_path):
    said = {
        "none,p.png,OPEN,,,,,,,,,,": "0 of box, polygon, mask; fill exactly one",
        "both,p.png,OPEN,2 2 60 30,,m.png,,,,,,,": "2 of box, polygon, mask; fill exactly one",
        "three,p.png,OPEN,2 2 60,,,,,,,,,": "box of row 'three' is '2 2 60'; give 4 numbers",
        "half,p.png,OPEN,2.5 2 60 30,,,,,,,,,": "four whole numbers",
        "line,p.png,OPEN,,2 2; 60 30,,,,,,,,": "three or more points",
        "off,p.png,OPEN,2 2 600 30,,,,,,,,,": "leaves the picture",
        "color,p.png,OPEN,2 2 60 30,,,,octarine,,,,,": "octarine",
        "bold,p.png,OPEN,2 2 60 30,,,,,very,,,,": "bold of row 'bold' is 'very'; give true or false",
        "mix,p.png,OPEN,2 2 60 30,,,Lato,,,,Karla,,": "mix of row 'mix' is 'Karla'; give another font",
        "share,p.png,OPEN,2 2 60 30,,,Lato,,,,Karla 3,,": "the weight of mix is 3.0",
        "alone,p.png,OPEN,2 2 60 30,,,,,,,Karla 0.3,,": "mix was given without font",
        "told,p.png,OPEN,2 2 60 30,,,Lato,,,,,in ink,": "instruction and font were given",
        "styled,p.png,,2 2 60 30,,,,teal,,,,,": "text is empty, which erases",
        "odd,p.png,é,2 2 60 30,,,,,,,,,": "the text holds 'é'",
        "seed,p.png,OPEN,2 2 60 30,,,,,,,,,-1": "seed of row 'seed' is '-1'",
        "gone,none.png,OPEN,2 2 60 30,,,,,,,,,": "none.png is not a file",
        "short,p.png": "2 cells for 13 columns, none for 'write'",
    }
    assert words(table(*WORDS, *said), "--candidates", 1) == 0
    assert len(results(tmp_path / "out")) == 4
    told = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    messages = {line["id"]: (line["error"], line["message"]) for line in told if line["status"] == "error"}
    assert set(messages) == {line.split(",")[0] for line in said}
    for line, part in said.items():
        error, message = messages[line.split(",")[0]]
        assert error == "InputError"
        assert part in message


@pytest.mark.parametrize(
    ("flags", "code", "part"),
    [
        (("--candidates", 0), 2, "candidates is 0"),
        (("--steps", 0), 2, "steps is 0"),
        (("--guidance", -1, 1), 2, "guidance is -1.0"),
        (("--model", "pocket-nowhere"), 4, "pocket-nowhere"),
    ],
)
def test_options_of_all_words_that_do_not_fit_end_the_batch(
    words, table, tmp_path, capsys, flags, code, part
):
    assert words(table("image,write,box", "p.png,OPEN,2 2 60 30"), *flags) == code
    assert part in capsys.readouterr().err
    assert not results(tmp_path / "out")


def test_a_table_of_words_has_its_columns_and_no_others(words, table, capsys):
    for heading, part in {
        "image,box": "no column 'write'",
        "image,write,colour": "unknown column 'colour'; did you mean 'color'",
        "image,write,candidates": "unknown column 'candidates'",
    }.items():
        assert words(table(heading, "p.png,,")) == 3
        assert part in capsys.readouterr().err


def test_progress_without_a_terminal_is_a_line_with_the_time_left(monkeypatch, capsys):
    clock = iter([0.0, 10.0, 31.0, 40.0, 90.0])
    monkeypatch.setattr("diffwright.cli.batch.time.monotonic", lambda: next(clock))
    lines = Lines(30)
    for done in (100, 101, 110, 111, 200):
        lines("rows", done, 10_000)
    assert capsys.readouterr().err == "110 of 10000 rows, 8:31 h left\n200 of 10000 rows, 2:27 h left\n"
