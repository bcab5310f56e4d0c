import shutil

import numpy as np
import pytest
from PIL import Image

from diffwright.bench import scenetext, scenetext_methods, scenetext_styles, scenetext_tune, scenetext_words
from diffwright.bench.baselines import font_classifier
from diffwright.bench.scenetext_gate import shipped
from diffwright.bench.scenetext_sets import SETS, cases
from diffwright.bench.scenetext_words import ARMS, Bench, second_judge, word_figures
from diffwright.core.errors import ConfigError, DiffwrightError, InputError, WeightsMissing
from diffwright.metrics.ink import find_ink
from diffwright.scenetext.region import strip_of
from diffwright.world.lettering.colors import BASIC, names
from diffwright.world.lettering.faces import installed, named
from diffwright.world.lettering.words import words
from tests.bench.test_scenetext_gate import Coder
from tests.support import text_standins as standins

FEW = 2
OF_ISSUE = {
    "word_accuracy", "word_accuracy_best4", "random_accuracy", "insert_accuracy", "ceiling_accuracy", "color_accuracy",
    "surround_color_agreement", "seam_ratio", "background_max_diff", "bold_thicker_share", "italic_lean_share",
    "natural_language_drop", "erase_residual", "seconds_per_word", "vae_gate", "instruction_only_accuracy",
    "photo_accuracy", "length_1_4_accuracy", "copy_accuracy", "paste_accuracy",
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
    return Bench(editor, Reads(), FEW, {"instruction_only": editor}, samples={"instruction_only": 7, "": 7})


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


def test_development_scenes_share_nothing_with_the_test():
    ours, tests = cases("word", 3, split="development"), cases("word", 3)
    assert not {case.text for case in tests} & {case.text for case in ours}
    assert all(case.text.lower() in words("train", (len(case.text),) * 2) for case in ours)
    with pytest.raises(ConfigError, match="split"):
        cases("word", 1, split="train")


def test_guidance_is_tried(editor):
    of = cases("style", 1, split="development")
    found = scenetext_tune.trial(editor, Reads(of[0].text), of, of, (3.0, 1.5))
    assert found["guidance"] == [3.0, 1.5]
    assert found["words"] == 1
    assert found["score"] == (1 + found["colors"]) / 2


def test_the_length_sweep_counts_up():
    some = cases("length", 17)
    assert [len(case.text) for case in some] == [*range(1, 17), 1]
    assert {case.ask.font or case.ask.color for case in some[:16]} == {None}, "one wording for all lengths"
    assert some[16].ask.font


def test_photographs_are_asked_for():
    with pytest.raises(InputError, match="photographs"):
        cases("photo", 1)
    with pytest.raises(ConfigError, match="set"):
        cases("words", 1)
    assert set(SETS) >= {"word", "random", "hard", "insert", "length", "unseen_font", "photo"}


def test_the_right_pictures_have_the_named_colors():
    right = [
        scenetext_methods.basic_name(scenetext_methods.color_of(case.truth, case)) == case.ask.color
        for case in cases("style", 10)
    ]
    assert np.mean(right) >= 0.9


def test_held_out_colors_are_told_by_names_that_no_model_was_trained_on():
    held = [case.ask.color for case in cases("unseen_color", 3)]
    assert set(held) <= set(names("test"))
    assert not set(held) & set(names("train"))


def test_a_case_is_drawn_in_another_face():
    case = cases("surround", 1)[0]
    assert np.array_equal(case.drawn(), case.truth)
    other = next(face for face in installed("train") if face.kind != case.face.kind)
    assert not np.array_equal(case.drawn(face=other), case.truth)


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
    assert found["instruction_only_accuracy"].note.startswith(
        "the instruction encoder alone, 7 samples, ours 7"
    )
    assert "copy 0, paste 0, instruction alone 0" in found["random_accuracy"].note


def test_fonts_and_their_mixtures_are_told_by_the_classifier(bench, monkeypatch):
    class Sure:
        """Sees the family that was asked for last, the more the larger its weight."""

        families = ("A", "Karla", *sorted({case.face.family for case in cases("style", FEW)}))

        def within(self, shapes, wanted):
            assert all(shape.shape == (32, 128) for shape in shapes)
            return [True] * len(wanted)

        def log_shares(self, shapes):
            rows = np.zeros((len(shapes), len(self.families)))
            rows[:, 1] = np.arange(len(shapes))
            return rows

    monkeypatch.setattr(scenetext_styles, "train", lambda *_, **__: Sure())
    monkeypatch.setattr(scenetext_styles, "_pairs", lambda of, faces: [(case, "Karla") for case in of])
    found = scenetext_styles.font_figures(bench, 1)
    assert {name: figure.value for name, figure in found.items()} == {
        "font_top5": 1, "font_ceiling_top5": 1, "font_mix_monotonic_share": 1
    }  # fmt: skip


def test_fonts_that_are_not_installed_are_not_measured(bench, monkeypatch):
    monkeypatch.setattr(scenetext_styles, "held_out_variants", list)
    monkeypatch.setattr(scenetext_words, "has_held_out_faces", lambda: False)
    found = word_figures(Bench(bench.editor, Reads(), 1)) | scenetext_styles.variant_figures(bench)
    for name in ("unseen_font_words", "bold_words", "italic_words", "instruction_only_words"):
        assert found[name].note.startswith("not run: no ")


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
    for name in ARMS[:1]:
        (tmp_path / "arms" / name).mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)).save(
        tmp_path / "a.png"
    )
    found = scenetext.run(True, arms=tmp_path / "arms", photos=tmp_path)
    assert set(found) >= OF_ISSUE
    assert found["background_max_diff"].value == 0
    assert found["public_data_words"].note.startswith("not run: no data")
    assert all(np.isfinite(f.value) for name, f in found.items() if not name.startswith("vae_gate"))


def test_what_is_given_is_looked_at_before_anything_is_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(scenetext, "RapidJudge", Reads)
    monkeypatch.setattr(scenetext, "false_acceptance", lambda *_: pytest.fail("too early"))
    for wrong in (
        {"photos": tmp_path},
        {"arms": tmp_path},
        {"data": ("icdar13", tmp_path)},
        {"model": tmp_path},
    ):
        with pytest.raises(DiffwrightError):
            scenetext.run(True, **wrong)


def test_a_second_judge_that_is_missing_is_said(editor, monkeypatch):
    monkeypatch.setattr(scenetext, "RapidJudge", Reads)
    monkeypatch.setattr(scenetext.SceneTextEditor, "from_pretrained", classmethod(lambda cls, source: editor))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    found = scenetext.run(parts=("second",), cases=1)
    assert found["second_judge_words"].note.startswith("not run: Tesseract")


def test_the_judge_needs_no_model_and_the_words_do(monkeypatch, tmp_path):
    monkeypatch.setattr(scenetext, "RapidJudge", Reads)
    found = scenetext.run(True, parts=("judge",))
    assert found["judge_mended"].value == 0
    with pytest.raises(WeightsMissing):
        scenetext.run(True, parts=("words",), model=tmp_path)


def test_erased_words_leave_nothing_of_themselves(bench):
    few = Bench(bench.editor, Reads(), 1)
    found = scenetext_styles.place_figures(few)
    assert found["erase_residual"].value > 0.2, "the stand-in writes noise"
    assert found["erase_residual_ceiling"].value < found["erase_residual"].value
    assert found["seam_ratio"].value > 0
    case = few.cases("word")[0]
    assert np.array_equal(scenetext_methods.filled(case)[~case.region.mask], case.source[~case.region.mask])
