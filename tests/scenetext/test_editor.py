import json

import numpy as np
import pytest
import torch

from diffwright.core.errors import (
    Cancelled,
    ConfigError,
    DiffwrightError,
    InputError,
    UnsupportedBackbone,
    WeightsMissing,
)
from diffwright.core.images import to_pil, to_tensor
from diffwright.scenetext.editor import SceneTextEditor
from diffwright.scenetext.json_edits import Edit
from diffwright.scenetext.model import SceneTextModel
from diffwright.scenetext.sd import SdSceneText
from tests.scenetext import tiny
from tests.support import text_standins as standins
from tests.support.text_standins import photo
from tests.support.tiny import pipeline
from tests.support.tiny import vae as tiny_vae

BOX = (20, 16, 76, 40)


@pytest.fixture
def editor(monkeypatch):
    return standins.editor(monkeypatch)


def spied(monkeypatch, home="diffwright.scenetext.editor"):
    """Record what the sampler is asked for."""
    asked = []

    def write(*given, **named):
        asked.append((given, named))
        return standins.write(*given, **named)

    monkeypatch.setattr(f"{home}.write", write)
    return asked


def test_candidates_come_best_first_and_the_rest_keeps_its_bytes(editor):
    picture = photo()
    result = editor.write(picture, BOX, "OPEN", seed=7)
    assert [image.size for image in result.images] == [(96, 64)] * 4
    assert result.candidates.shape == (4, 32, 128, 3)
    assert list(result.confidences) == sorted(result.confidences, reverse=True)
    assert result.confidence == result.confidences[0]
    assert sorted(result.seeds) == [7, 8, 9, 10]
    assert result.instruction == 'Write "OPEN"'
    for image in result.images:
        np.testing.assert_array_equal(np.asarray(image)[~result.region.mask], picture[~result.region.mask])
    assert not np.array_equal(np.asarray(result.images[0]), picture)
    assert result.figures["outside_changed_px"] == 0
    assert result.figures["changed_share"] > 0.5
    assert len(result.model) == 64


def test_a_seed_gives_the_same_bytes_whatever_the_number_of_candidates(editor):
    alone = editor.write(photo(), BOX, "OPEN", candidates=1, seed=8)
    many = editor.write(photo(), BOX, "OPEN", candidates=4, seed=7)
    place = many.seeds.index(8)
    np.testing.assert_array_equal(np.asarray(many.images[place]), np.asarray(alone.images[0]))


@pytest.mark.parametrize("make", [to_pil, to_tensor, np.copy])
def test_pictures_come_in_many_shapes(editor, make):
    result = editor.write(make(photo()), BOX, "OPEN", candidates=1)
    assert np.array_equal(result.source, photo())


@pytest.mark.parametrize(
    ("style", "told"),
    [
        ({}, 'Write "OPEN"'),
        ({"color": "Dark Gray"}, 'Write "OPEN" in color: dark grey'),
        ({"color": "#00FF7f"}, 'Write "OPEN" in color: #00ff7f'),
        ({"font": "dejavu sans"}, 'Write "OPEN" in font: DejaVu Sans'),
        ({"font": "Serif", "bold": True}, 'Write "OPEN" in font: serif-Bold'),
        (
            {"font": "Lato", "color": "teal", "italic": True},
            'Write "OPEN" in font: Lato-Italic and color: teal',
        ),
        ({"bold": True, "italic": True}, 'Write "OPEN" in font: BoldItalic'),
        ({"font": "Lato", "mix": ("Karla", 0.5)}, 'Write "OPEN" in font: Lato and Karla'),
        ({"instruction": "paint it like the sky"}, "paint it like the sky"),
    ],
)
def test_the_style_is_told_in_a_sentence(editor, style, told):
    assert editor.write(photo(), BOX, "OPEN", candidates=1, **style).instruction == told


def test_a_weighted_mixture_tells_both_sentences(editor, monkeypatch):
    asked = spied(monkeypatch)
    editor.write(photo(), BOX, "OPEN", "Lato", candidates=2, mix=("Karla", 0.25))
    given, named = asked[0]
    assert given[5] == ['Write "OPEN" in font: Lato'] * 2
    assert (named["others"], named["mix"]) == (['Write "OPEN" in font: Karla'] * 2, 0.25)


def test_settings_of_the_sampler_are_passed_only_when_given(editor, monkeypatch):
    asked = spied(monkeypatch)
    editor.write(photo(), BOX, "A", candidates=1)
    editor.write(photo(), BOX, "A", candidates=1, steps=3, guidance=(2, 1.5))
    assert set(asked[0][1]) == {"generators", "progress"}
    assert asked[1][1]["steps"] == 3
    assert asked[1][1]["guidance"] == (2.0, 1.5)


def test_an_empty_word_erases(editor):
    result = editor.write(photo(), BOX, "", candidates=2)
    assert result.text == ""
    assert any("no letters" in said for said in result.warnings)


def test_warnings_name_what_a_reader_of_the_picture_would_see(editor, monkeypatch):
    result = editor.write(photo(), BOX, "OPEN")
    assert any("'WORD'" in said for said in result.warnings)
    assert not editor.write(photo(), BOX, "WORD").warnings
    assert any("narrow" in w for w in editor.write(photo(), BOX, "ABCDEFGHIJKLMNOPQRST").warnings)
    assert any("stretched" in w for w in editor.write(photo(), (0, 16, 96, 26), "I").warnings)
    assert any("soft" in w for w in editor.write(photo(160, 200), (10, 10, 190, 150), "WORD").warnings)
    assert any("hardly legible" in w for w in editor.write(photo(), (10, 10, 50, 17), "WORD").warnings)
    monkeypatch.setattr("diffwright.scenetext.editor.write", lambda m, v, strips, *_, **__: strips)
    flat = np.full((64, 96, 3), 90, np.uint8)
    assert "the edit changed nothing" in editor.write(flat, BOX, "WORD").warnings


def test_both_callbacks_see_every_step(editor):
    steps, told = [], []
    editor.write(
        photo(), BOX, "A", candidates=1, steps=3,
        callback_on_step_end=lambda e, step, t, values: steps.append((e is editor, step, t, values)),
        progress=lambda *said: told.append(said),
    )  # fmt: skip
    assert steps == [(True, k, 3, {}) for k in range(3)]
    assert told[-1] == ("writing", 3, 3)
    for name in ("progress", "callback_on_step_end"):
        with pytest.raises(Cancelled):
            editor.write(photo(), BOX, "A", **{name: lambda *_: True})


def test_a_result_is_saved_whole(editor, tmp_path):
    result = editor.write(photo(), BOX, "OPEN", candidates=2, color="teal", command="here")
    folder = result.save(tmp_path / "out")
    names = {"written.png", "candidate-2.png", "strips.png", "mask.png", "selection.png", "difference.png"}
    assert names <= {path.name for path in folder.iterdir()}
    record = json.loads((folder / "result.json").read_text())
    assert record["text"] == "OPEN"
    assert record["command"] == "here"
    assert record["readings"] == ["WORD", "WORD"]
    assert len(record["corners"]) == 4


def test_several_edits_build_on_each_other(editor, tmp_path):
    picture = photo(96, 128)
    edits = [
        Edit((8, 8, 60, 30), "OPEN", color="teal", seed=3, candidates=1),
        Edit([(40, 50), (110, 60), (106, 84), (36, 74)], ""),
        Edit((30, 20, 100, 60), "SHUT", candidates=2),
    ]
    told = []
    result = editor.write_all(picture, edits, candidates=3, seed=1, progress=lambda *said: told.append(said))
    assert [len(step.images) for step in result.steps] == [1, 3, 2]
    assert result.steps[0].seeds == [3]
    np.testing.assert_array_equal(result.steps[1].source, np.asarray(result.steps[0].images[0]))
    touched = np.any([step.region.mask for step in result.steps], axis=0)
    np.testing.assert_array_equal(np.asarray(result.images[0])[~touched], picture[~touched])
    assert all(said.startswith("edit ") for said in result.warnings)
    assert told[-1] == ("writing", 3, 3)
    record = json.loads((result.save(tmp_path / "out") / "result.json").read_text())
    assert [edit["text"] for edit in record["edits"]] == ["OPEN", "", "SHUT"]


def test_no_edit_is_done_when_one_cannot_be(editor, monkeypatch):
    asked = spied(monkeypatch)
    with pytest.raises(InputError, match="leaves the picture"):
        editor.write_all(photo(), [Edit(BOX, "A"), Edit((0, 0, 900, 20), "B")])
    with pytest.raises(InputError, match="no edit"):
        editor.write_all(photo(), [])
    assert not asked


@pytest.mark.parametrize(
    ("text", "style", "error", "said"),
    [
        ("héllo", {}, InputError, "'é'"),
        ("A" * 23, {}, InputError, "at most 22"),
        ("   ", {}, InputError, "blank"),
        ("a\nb", {}, InputError, r"'\\n'"),
        (7, {}, InputError, "expected a string"),
        ("A", {"color": "teall"}, ConfigError, "teal"),
        ("A", {"color": "#12345"}, ConfigError, "#RRGGBB"),
        ("A", {"font": "No Such Font At All"}, ConfigError, "font"),
        ("A", {"mix": ("Karla", 0.5)}, ConfigError, "without font"),
        ("A", {"font": "Lato", "mix": ("Karla", 2)}, ConfigError, "weight of mix"),
        ("A", {"font": "Lato", "mix": "Karla"}, ConfigError, "mix is 'Karla'"),
        ("A", {"instruction": "x", "bold": True}, ConfigError, "instruction and bold"),
        ("A", {"instruction": " "}, InputError, "instruction is empty"),
        ("", {"color": "teal"}, ConfigError, "erases"),
        ("A", {"candidates": 0}, ConfigError, "candidates is 0"),
        ("A", {"steps": 0}, ConfigError, "steps is 0"),
        ("A", {"guidance": 3.0}, ConfigError, "guidance is 3.0"),
        ("A", {"guidance": (3.0, -1)}, ConfigError, "guidance is -1"),
        ("A", {"seed": -1}, ConfigError, "seed -1"),
    ],
)
def test_what_cannot_be_done_says_what_is_allowed(editor, text, style, error, said):
    with pytest.raises(error, match=said):
        editor.write(photo(), BOX, text, **style)


def test_weights_that_are_not_there_are_a_typed_error(tmp_path):
    with pytest.raises(DiffwrightError):
        SceneTextEditor.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(WeightsMissing, match="pocket-nowhere"):
        SceneTextEditor.from_pretrained("pocket-nowhere")


def test_an_unknown_device_is_refused(editor):
    with pytest.raises(ConfigError, match="cannot be used here"):
        editor.to("cuda:99" if torch.cuda.is_available() else "cuda")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny true model in a folder, and a pipeline that holds an autoencoder for it."""
    root = tmp_path_factory.mktemp("text")
    tiny.model().save_pretrained(root / "model")
    tiny_vae(latents=8, levels=3).save_pretrained(root / "pipe" / "vae")
    return root


def test_true_networks_write_and_read(saved):
    editor = SceneTextEditor.from_pretrained(saved / "model", vae=saved / "pipe")
    steps = []
    result = editor.write(
        photo(), BOX, "OPEN", "Lato", "teal", candidates=2, steps=2, mix=("Karla", 0.25),
        callback_on_step_end=lambda *told: steps.append(told[1:3]),
    )  # fmt: skip
    assert steps == [(0, 2), (1, 2)]
    assert 0 <= result.confidences[1] <= result.confidences[0] <= 1
    outside = ~result.region.mask
    np.testing.assert_array_equal(np.asarray(result.images[1])[outside], photo()[outside])
    text, sure = editor.read(photo(), BOX)
    assert isinstance(text, str)
    assert 0 <= sure <= 1
    erased = editor.write(photo(), BOX, "", candidates=1, steps=1)
    assert 0 <= erased.confidence <= 1


def test_a_wrapped_inpainting_pipeline_writes_into_enlarged_strips():
    torch.manual_seed(0)
    model = SdSceneText(pipeline("inpaint"), width=8)
    with pytest.raises(ConfigError, match="no reader"):
        SceneTextEditor(model, model.vae)
    assert SceneTextEditor(model, model.vae, tiny.model().reader).enlarge == 4
    editor = SceneTextEditor(model, model.vae, tiny.model().reader, enlarge=2)
    result = editor.write(photo(), BOX, "a cat", instruction="a cat", candidates=1, steps=1)
    outside = ~result.region.mask
    np.testing.assert_array_equal(np.asarray(result.images[0])[outside], photo()[outside])


def test_what_scenetext_sd_wrote_is_loaded_around_its_checkpoint(saved, tmp_path, monkeypatch):
    torch.manual_seed(0)
    checkpoint = pipeline("inpaint")
    checkpoint.save_pretrained(tmp_path / "base")
    SdSceneText(checkpoint, width=8, enlarge=2).save_pretrained(tmp_path / "learned")
    monkeypatch.setattr(SceneTextModel, "from_pretrained", classmethod(lambda *_: tiny.model()))
    editor = SceneTextEditor.from_pretrained(tmp_path / "learned", base=tmp_path / "base")
    assert editor.enlarge == 2
    assert editor.model.guidance == (7.5, 7.5)


def test_plain_stable_diffusion_is_refused_with_advice(tmp_path):
    pipeline("inpaint").save_pretrained(tmp_path / "base")
    for source in (tmp_path / "base", "pocket", "owner/stable-diffusion-inpainting"):
        with pytest.raises(UnsupportedBackbone, match="scenetext-sd"):
            SceneTextEditor.from_pretrained(source)


def test_strips_are_enlarged_as_the_model_expects(editor, monkeypatch):
    asked = spied(monkeypatch)
    big = SceneTextEditor(editor.model, editor.vae, enlarge=3)
    result = big.write(photo(), BOX, "OPEN", candidates=2)
    assert asked[0][0][2].shape == (2, 3, 96, 384)
    assert asked[0][0][3].shape == (2, 1, 96, 384)
    assert result.candidates.shape == (2, 32, 128, 3)


def test_a_candidate_does_not_depend_on_the_others(saved):
    """Within a level: sums of differently batched numbers may be rounded differently."""
    editor = SceneTextEditor.from_pretrained(saved / "model", vae=saved / "pipe")
    alone = editor.write(photo(), BOX, "OPEN", candidates=1, steps=1, seed=5)
    many = editor.write(photo(), BOX, "OPEN", candidates=3, steps=1, seed=4)
    place = list(many.seeds).index(5)
    apart = np.abs(np.asarray(many.images[place]).astype(int) - np.asarray(alone.images[0]))
    assert apart.max() <= 1
