import numpy as np
import pytest
import torch

from diffwright.bench import scenetext, scenetext_methods, scenetext_styles
from diffwright.bench.baselines import font_classifier
from diffwright.bench.scenetext_gate import shipped
from diffwright.bench.scenetext_sets import SETS, cases
from diffwright.bench.scenetext_words import Bench, second_judge, word_figures
from diffwright.core.errors import ConfigError, InputError, WeightsMissing
from diffwright.metrics.ink import find_ink
from diffwright.scenetext.region import strip_of
from diffwright.world.lettering.colors import BASIC
from diffwright.world.lettering.faces import installed, named
from diffwright.world.lettering.words import words
from tests.bench.test_scenetext_gate import Coder
from tests.support import text_standins as standins

FEW = 2
OF_ISSUE = {
    "word_accuracy", "word_accuracy_best4", "random_accuracy", "insert_accuracy", "ceiling_accuracy", "color_accuracy",
    "surround_color_agreement", "seam_ratio", "background_max_diff", "bold_thicker_share", "italic_lean_share",
    "natural_language_drop", "erase_residual", "seconds_per_word", "vae_gate", "instruction_only_accuracy",
}  # fmt: skip


class Reads:
    """Says the same of every picture."""

    name = "constant"

    def __init__(self, text=""):
        self.text = text

    def read(self, images):
        assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in images)
        return [self.text] * len(images)


@pytest.fixture
def editor(monkeypatch):
    made = standins.editor(monkeypatch)
    made.vae = Coder()
    return made


@pytest.fixture
def bench(editor):
    return Bench(editor, Reads(), FEW, editor)


@pytest.mark.parametrize("name", ["word", "random", "hard", "insert", "unseen_font", "surround"])
def test_sets_are_fixed_and_of_held_out_words(name):
    case = cases(name, 1)[0]
    assert case.source.shape == case.truth.shape == (256, 256, 3)
    beyond = ~case.region.mask
    assert (case.source == case.truth)[beyond].mean() > 0.95
    assert not np.array_equal(case.truth, case.clean)
    assert np.array_equal(case.source, case.clean) == (name == "insert")
    if name in ("word", "insert", "surround") and len(case.text) > 1:
        assert case.text.lower() in words("test", (len(case.text),) * 2)
    known = installed("test" if name == "unseen_font" else "train")
    assert case.face in known


def test_instructions_name_what_differs_from_the_surroundings():
    none, font, color, both = cases("word", 4)
    assert (none.ask.font, none.ask.color) == (None, None)
    assert font.ask.font == font.face.family
    assert color.ask.color in BASIC
    assert color.ask.font is None
    assert both.ask.font
    assert both.ask.color
    assert cases("word", 2)[0] is not None


def test_the_length_sweep_counts_up():
    assert [len(case.text) for case in cases("length", 3)] == [1, 2, 3]


def test_photographs_are_asked_for():
    with pytest.raises(InputError, match="photographs"):
        cases("photo", 1)
    with pytest.raises(ConfigError, match="set"):
        cases("words", 1)
    assert set(SETS) >= {"word", "random", "hard", "insert", "length", "unseen_font", "photo"}


def test_the_right_picture_has_the_named_color_and_keeps_it_through_a_lossless_autoencoder():
    top = scenetext_methods.ceiling(Coder())
    right = [
        scenetext_methods.basic_name(scenetext_methods.ink_of(picture, case.region).lab) == case.ask.color
        for case in cases("style", 6)
        for picture in (case.truth, top(case))
    ]
    assert np.mean(right) >= 0.5


def test_pasting_changes_the_region_alone_and_copying_nothing():
    case = cases("word", 1)[0]
    pasted = scenetext_methods.paste(case)
    assert np.array_equal(pasted[~case.region.mask], case.source[~case.region.mask])
    assert not np.array_equal(pasted, case.source)
    assert np.array_equal(scenetext_methods.source(case), case.source)
    strip = strip_of(case.truth, case.region)
    seen = scenetext_methods.crop(case.truth, case.region)
    assert seen.shape[0] <= strip.shape[0]
    assert seen.shape[1] <= strip.shape[1]


def test_readings_decide_the_accuracies(editor):
    case = cases("word", 1)[0]
    assert scenetext_methods.judged(Reads(case.text.swapcase()), [case.source], [case]) == [True]
    assert scenetext_methods.judged(Reads("?"), [case.source], [case]) == [False]
    found = second_judge(Bench(editor, Reads(), 1), Reads(case.text))
    assert found["word_accuracy_constant"].value == 1


def test_words_are_measured_beside_ceiling_and_baselines(bench):
    found = word_figures(bench)
    assert {
        "word_accuracy",
        "ceiling_accuracy",
        "copy_accuracy",
        "paste_accuracy",
        "two_encoders_gain",
    } <= set(found)
    assert found["word_accuracy"].value == 0
    assert "not run: no photographs" in found["photo_words"].note
    assert max(bench.outside) == 0
    assert "not run: no arm" in word_figures(Bench(bench.editor, Reads(), 1))["instruction_only_words"].note


def test_fonts_are_judged_by_a_classifier_that_learns(bench, monkeypatch):
    faces = (*shipped(), named("DejaVu Sans Mono", folders=()))
    monkeypatch.setattr(scenetext_styles, "installed", lambda split: faces)
    monkeypatch.setattr(font_classifier, "BATCH", 4)
    net = font_classifier.train(faces, 2)
    again = font_classifier.train(faces, 2)
    shape = font_classifier.centered(
        find_ink(cases("word", 1)[0].truth[:32, :128], np.ones((32, 128), bool)).coverage
    )
    assert net.families == ("DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif")
    assert net.log_shares([shape]) == pytest.approx(again.log_shares([shape]), abs=1e-4)
    assert net.within([shape], ["DejaVu Serif"], first=3) == [True]
    assert not font_classifier.centered(np.zeros((5, 9))).any()


def test_the_quick_form_gives_the_figures_of_every_part(editor, monkeypatch, tmp_path):
    monkeypatch.setattr(scenetext, "RapidJudge", Reads)
    monkeypatch.setattr(scenetext, "FEW", FEW)
    monkeypatch.setattr(scenetext.SceneTextEditor, "from_pretrained", classmethod(lambda cls, source: editor))
    monkeypatch.setattr(scenetext, "load", lambda *_, **__: type("Pipe", (), {"vae": Coder()}))
    found = scenetext.run(True, arms=tmp_path)
    assert set(found) >= OF_ISSUE
    assert found["background_max_diff"].value == 0
    assert found["public_data_words"].note.startswith("not run: no data")
    assert all(np.isfinite(f.value) for name, f in found.items() if not name.startswith("vae_gate"))


def test_the_judge_needs_no_model_and_the_words_do(monkeypatch, tmp_path):
    monkeypatch.setattr(scenetext, "RapidJudge", Reads)
    found = scenetext.run(True, parts=("judge",))
    assert found["judge_mended"].value == 0
    with pytest.raises(WeightsMissing):
        scenetext.run(True, parts=("words",), model=tmp_path)


def test_erased_words_leave_nothing_of_themselves(bench):
    torch.manual_seed(0)
    found = scenetext_styles.place_figures(Bench(bench.editor, Reads(), 1))
    assert found["erase_residual"].value > 0
    assert found["seam_ratio"].value > 0
