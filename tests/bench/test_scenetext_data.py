import json
from pathlib import Path

import numpy as np
import pytest

from diffwright.bench.scenetext_data import READERS, data_figures, labelled
from diffwright.bench.scenetext_words import Bench
from diffwright.core.errors import ConfigError, InputError
from diffwright.core.images import save_png
from tests.bench.test_scenetext_gate import Coder, Scripted
from tests.support import text_standins as standins

CORNERS = [[10, 12], [70, 14], [70, 40], [10, 38]]
OTHERS = [[10, 50], [60, 50], [60, 70], [10, 70]]
FLAT = [value for point in CORNERS for value in point]


def icdar13(folder):
    (folder / "gt_img_1.txt").write_text('10, 12, 70, 40, "Tiredness"\n10, 50, 60, 70, "it\'s"\n')
    (folder / "gt_img_2.txt").write_text('10 12 70 40 "OPEN"\n\n', encoding="utf-8-sig")


def art(folder):
    def label(points, text, language="Latin", illegible=False):
        return {"points": points, "transcription": text, "language": language, "illegibility": illegible}

    content = {
        "img_1": [label(CORNERS, "Tiredness"), label(OTHERS, "###", illegible=True)],
        "img_2": [label(CORNERS, "OPEN"), label(OTHERS, "开门", "Chinese")],
    }
    (folder / "train_labels.json").write_text(json.dumps(content))


def tables(folder, name, labels, file_name):
    content = {
        "imgs": {str(k): {"id": k, "file_name": file_name.format(k)} for k in (1, 2)},
        "anns": {str(i): label for i, label in enumerate(labels)},
        "imgToAnns": {},
    }
    (folder / name).write_text(json.dumps(content))


def coco_text(folder):
    def label(image, text, mask=FLAT, **other):
        return {"image_id": image, "utf8_string": text, "mask": mask, "legibility": "legible",
                "language": "english", **other}  # fmt: skip

    faded = label(1, "faded", legibility="illegible")
    foreign = label(2, "porte", language="not english")
    tables(
        folder, "cocotext.v2.json", [label(1, "Tiredness"), faded, label(2, "OPEN"), foreign], "img_{}.png"
    )


def textocr(folder):
    labels = [
        {"image_id": k, "utf8_string": text, "points": FLAT}
        for k, text in ((1, "Tiredness"), (1, "."), (2, "OPEN"))
    ]
    tables(folder, "TextOCR_0.1_val.json", labels, "train/img_{}.png")


WRITERS = {"icdar13": icdar13, "art": art, "coco-text": coco_text, "textocr": textocr}


@pytest.fixture
def unpacked(tmp_path):
    """A set with two pictures, by its name."""

    def make(name):
        (tmp_path / "images").mkdir()
        for k in (1, 2):
            save_png(standins.photo(80, 96, seed=k), tmp_path / "images" / f"img_{k}.png")
        WRITERS[name](tmp_path)
        return tmp_path

    return make


@pytest.mark.parametrize("name", READERS)
def test_the_words_that_can_be_written_are_read(name, unpacked):
    found = list(labelled(name, unpacked(name)))
    assert [(word.picture.stem, word.text) for word in found] == [("img_1", "Tiredness"), ("img_2", "OPEN")]
    assert found[0].polygon.shape == (4, 2)
    assert found[0].polygon[0].tolist() == [10, 12]


@pytest.mark.parametrize("name", READERS)
def test_a_folder_without_annotations_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="unpacked"):
        list(labelled(name, tmp_path))
    with pytest.raises(InputError, match="no folder"):
        list(labelled(name, tmp_path / "missing"))


@pytest.mark.parametrize(
    ("name", "file", "text"),
    [
        ("icdar13", "gt_img_1.txt", "ten, twelve"),
        ("art", "labels.json", "{"),
        ("art", "labels.json", '{"img_1": [{"points": [[0, 0]]}]}'),
        ("art", "labels.json", '{"img_1": [{"points": "all", "transcription": "word"}]}'),
        ("coco-text", "c.json", '{"imgs": {}, "anns": {"1": {"image_id": 7, "utf8_string": "a"}}}'),
        ("textocr", "t.json", '{"imgs": {"1": {"file_name": "a.png"}}, "anns": {"1": {"image_id": 1}}}'),
    ],
)
def test_damaged_annotations_are_named(name, file, text, tmp_path):
    (tmp_path / file).write_text(text)
    with pytest.raises(InputError):
        list(labelled(name, tmp_path))


def art_of(**label):
    return {"img_1": [{"points": CORNERS, "transcription": "word", **label}]}


def table_of(**label):
    good = {"image_id": 1, "utf8_string": "word", "points": FLAT, "mask": FLAT, "legibility": "legible"}
    label = {**good, "language": "english", **label}
    return {"imgs": {"1": {"file_name": "img_1.png"}}, "anns": {"1": label}}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("art", {"img_1": ["word"]}, "an entry .* expected an object"),
        ("art", {"img_1": [None]}, "an entry .* expected an object"),
        ("art", art_of(transcription=7), "'transcription' .* expected text"),
        ("art", art_of(points=7), "'points' .* expected a list"),
        ("art", art_of(points=[[10**400, 1]]), "no pairs of numbers"),
        ("art", art_of(points=[[1, 2], [3, None]]), "not finite"),
        ("art", art_of(points=[1, 2, 3]), "no pairs of numbers"),
        ("art", art_of(language=["Latin"]), "'language' .* expected text"),
        ("art", art_of(illegibility="no"), "'illegibility' .* expected true or false"),
        ("coco-text", table_of() | {"anns": []}, "'anns' .* expected an object"),
        ("coco-text", table_of() | {"imgs": []}, "'imgs' .* expected an object"),
        ("coco-text", table_of() | {"imgs": {"1": 5}}, "an entry .* expected an object"),
        ("coco-text", table_of() | {"imgs": {"1": {"file_name": 5}}}, "'file_name' .* expected text"),
        ("coco-text", table_of() | {"anns": {"1": []}}, "an entry .* expected an object"),
        ("coco-text", table_of(utf8_string=5), "'utf8_string' .* expected text"),
        ("coco-text", table_of(legibility=1), "'legibility' .* expected text"),
        ("coco-text", table_of(language=None), "'language' .* expected text"),
        ("coco-text", table_of(mask=5), "'mask' .* expected a list"),
        ("coco-text", table_of(mask=[], polygon=5), "'polygon' .* expected a list"),
        ("coco-text", table_of(mask=["far"]), "no pairs of numbers"),
        ("coco-text", table_of(image_id={}), "does not list"),
        ("textocr", table_of() | {"anns": [1]}, "'anns' .* expected an object"),
        ("textocr", table_of(utf8_string=5), "'utf8_string' .* expected text"),
        ("textocr", table_of(points={"x": 1}), "'points' .* expected a list"),
    ],
)
def test_damaged_values_are_named_with_their_file(name, content, expected, tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=expected) as caught:
        list(labelled(name, tmp_path))
    assert str(tmp_path / "labels.json") in str(caught.value)


def test_numbers_beyond_all_pictures_and_folders_named_like_files_are_refused(tmp_path):
    (tmp_path / "gt_img_1.txt").write_text(f'{"9" * 5000} 12 70 40 "OPEN"')
    with pytest.raises(InputError, match=r"line 1 of .*gt_img_1"):
        list(labelled("icdar13", tmp_path))
    (tmp_path / "gt_img_0.txt").mkdir()
    with pytest.raises(InputError, match=r"gt_img_0\.txt cannot be read"):
        list(labelled("icdar13", tmp_path))


def test_an_unknown_set_is_named():
    with pytest.raises(ConfigError, match="public set"):
        list(labelled("icdar15", Path()))


def test_words_are_written_anew_and_replaced(unpacked, monkeypatch):
    editor = standins.editor(monkeypatch)
    editor.vae = Coder()
    judge = Scripted(["tiredness"], ["tiredness"], ["?"], ["?"], ["open"], ["?"], ["OPEN"], ["?"])
    found = data_figures(Bench(editor, judge, 4), "icdar13", unpacked("icdar13"))
    values = {name: figure.value for name, figure in found.items()}
    assert values == {
        "icdar13_words": 2, "icdar13_original_accuracy": 1, "icdar13_ceiling_accuracy": 0.5,
        "icdar13_reconstruct_accuracy": 0.5, "icdar13_change_accuracy": 0,
    }  # fmt: skip
    assert np.isfinite(list(values.values())).all()


def test_without_data_the_figure_says_so():
    found = data_figures(Bench(None, None, 4), None, None)
    assert found["public_data_words"].note.startswith("not run: no data")
