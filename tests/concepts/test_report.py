import json

import numpy as np
import pytest

from diffwright.concepts.edit import ConceptEdit, edit_concepts
from diffwright.concepts.judged import Change, Plan
from diffwright.concepts.report import (
    EditResult,
    change_of,
    encoding_moves,
    judged_report,
    preview_prompts,
    strip,
)
from diffwright.concepts.rewrite import Rewrite
from diffwright.concepts.wordings import PARAPHRASES
from diffwright.core.errors import InputError
from diffwright.diffusion.prompts import encode
from tests.support.tiny import pipeline


@pytest.fixture(scope="module")
def pipe():
    return pipeline("pocket")


@pytest.fixture(scope="module")
def edit(pipe):
    return edit_concepts(pipe, [("mug", "duck")], lam=1e-6)


def test_the_strip_has_two_rows_a_prompt_and_equal_seeds(pipe, edit):
    picture, unchanged = strip(pipe, edit, ["a red mug", "a mug"], [3, 4, 5], steps=2)
    single, _ = strip(pipe, edit, ["a red mug"], [3, 4, 5], steps=2)
    assert picture.height > 1.8 * single.height
    assert picture.width == single.width
    assert unchanged == []


def test_an_edit_that_changes_no_picture_is_told(pipe):
    still = ConceptEdit([], [("mug", "mug")])
    _, unchanged = strip(pipe, still, ["a red mug"], [3], steps=2)
    assert len(unchanged) == 1
    assert "changed no picture" in unchanged[0]
    with pytest.raises(InputError):
        strip(pipe, still, [], [3])


def test_preview_prompts_warn_about_prompts_without_the_concept(edit):
    assert preview_prompts(edit) == (["a photo of a mug"], [])
    prompts, missed = preview_prompts(edit, ["a red Mug", "a red car"])
    assert prompts == ["a red Mug", "a red car"]
    assert len(missed) == 1
    assert "a red car" in missed[0]


def test_encodings_move_to_the_target_and_back(pipe, edit):
    moves = encoding_moves(pipe, edit, ["tree", "house"])
    assert list(moves) == ["mug -> duck"]
    assert np.isfinite([moves["mug -> duck"].paraphrases, moves["mug -> duck"].neighbours]).all()
    still = ConceptEdit([], [("mug", "duck")])
    moved = encoding_moves(pipe, still, ["tree"])["mug -> duck"]
    assert (moved.paraphrases, moved.neighbours) == (0.0, 0.0)


def test_moves_of_other_kinds_are_measured_against_what_they_should_read_like(pipe):
    asked = [Rewrite.erase("mug"), Rewrite.debias("cat", ["dog", "car"])]
    still = ConceptEdit([], asked)
    assert {name: moved.paraphrases for name, moved in encoding_moves(pipe, still).items()} == {
        "mug -> nothing": 0.0,
        "cat -> dog | car": 0.0,
    }
    assert list(encoding_moves(pipe, still, most=1)) == ["mug -> nothing"]
    edit = edit_concepts(pipe, asked, lam=1e-3)
    prompts = [[text.replace("{}", word) for text in PARAPHRASES] for word in ("cat", "dog", "car")]
    cat, dog, car = (encode(pipe, each).flatten(1) for each in prompts)
    with edit.applied(pipe):
        now = encode(pipe, prompts[0]).flatten(1)
    goal = (dog + car) / 2
    expected = 1 - ((now - goal).norm(dim=1) / (cat - goal).norm(dim=1)).mean()
    assert encoding_moves(pipe, edit)["cat -> dog | car"].paraphrases == pytest.approx(
        float(expected), abs=1e-5
    )


def test_words_of_two_attributes_cannot_be_judged():
    assert change_of(Rewrite.replace("pencil drawing", "photo")) == Change("style", "pencil", "photo")
    assert change_of(Rewrite.erase("mug", "thing")) == Change("kind", "mug", "")
    with pytest.raises(InputError, match="values of one"):
        change_of(Rewrite.replace("mug", "red"))


def test_the_judged_report_counts_its_cost(pipe, edit, judge):
    figures = judged_report(pipe, judge, edit, Plan(seeds=1, near=1, others=1, steps=2))
    assert {"efficacy", "unrelated_drop", "falls", "pictures", "unet_evaluations"} <= set(figures)
    assert figures["unet_evaluations"] > 0
    json.dumps(figures)


def test_a_result_writes_edit_strip_report_and_record(tmp_path, edit, pipe):
    picture, _ = strip(pipe, edit, ["a mug"], [1], steps=2)
    result = EditResult(edit=edit, text="fine", images=[picture], names=["before-and-after"], seeds=[1])
    folder = result.save(tmp_path / "out")
    record = json.loads((folder / "result.json").read_text())
    assert record["pairs"] == [["mug", "duck"]]
    assert record["fits"][0]["site"] == "te.0.mlp.out"
    assert (folder / "before-and-after.png").is_file()
    assert (folder / "report.txt").read_text() == "fine\n"
    assert ConceptEdit.load(folder).pairs == (("mug", "duck"),)
