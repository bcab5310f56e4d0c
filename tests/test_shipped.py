"""What is shipped: whole, within its limits, opened by stock diffusers, and measured by the short benches."""

import json

import numpy as np
import pytest
import torch

from diffwright.bench.scenetext_gate import plain_strip, shipped
from diffwright.cli.main import main
from diffwright.matching.matcher import Matcher
from diffwright.matching.model import MatchConfig
from diffwright.metrics.judge import Judge
from diffwright.scenetext.editor import SceneTextEditor
from diffwright.training.pairs.textures import texture
from diffwright.weights.load import load
from diffwright.weights.names import POCKET, shipped_names

BOUNDS = {
    "revert_exact": (1, 1),
    "artifact_kib_clip_l": (0, 32),
    "reference_path_ratio": (1, 1e9),
    "lora_max_abs_diff": (0, 1e-5),
    "mass_100_drift": (0, 100),
    "mass_100_drift_null_space": (0, 100),
}
"""What holds of the short benches on every machine, however random the weights or busy the cores."""

LIMITS = {"unet": 7.5e6, "vae": 2.5e6, "text_encoder": 3.0e6}


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_each_part_is_within_its_limit():
    pipe = load("pocket")
    for part, limit in LIMITS.items():
        assert count(getattr(pipe, part)) <= limit, part
    assert count(Judge.from_pretrained("pocket-judge")) <= 1e6
    assert pipe.vae.config.latent_channels == 8
    assert pipe.scheduler.config.prediction_type == "v_prediction"


def test_stock_diffusers_opens_pocket_unchanged():
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(POCKET / "pocket")
    assert count(pipe.image_encoder) <= 1.5e6
    pipe.set_progress_bar_config(disable=True)
    out = pipe("a red mug on grass", num_inference_steps=2, generator=torch.Generator().manual_seed(0))
    assert out.images[0].size == (64, 64)


def test_the_writer_is_within_its_limit_reads_and_keeps_what_lies_outside():
    editor = SceneTextEditor.from_pretrained()
    assert count(editor.model) <= 3.7e6
    word = plain_strip("PARKING", shipped()[0], 18)
    picture, box = np.full((96, 200, 3), 255, np.uint8), (36, 34, 36 + word.shape[1], 62)
    picture[32:64, 36 : box[2]] = word
    assert editor.read(picture, box)[0].lower() == "parking"
    result = editor.write(picture, box, "Open", color="red", candidates=1)
    outside = ~result.region.mask
    assert np.array_equal(np.asarray(result.images[0])[outside], picture[outside])
    assert result.figures["changed_share"] > 0.05


@pytest.fixture(scope="module")
def matcher():
    return Matcher.from_pretrained()


@pytest.fixture(scope="module")
def drawn():
    return texture(np.random.Generator(np.random.PCG64([77, 1])), 384)


def test_the_matcher_is_within_its_limit_and_its_confidence_is_fitted(matcher):
    assert count(matcher.model) <= 4e6
    assert matcher.model.config.stages == 2
    assert matcher.model.config.confidence != MatchConfig().confidence


def test_a_picture_matches_itself_and_a_shifted_one_within_two_pixels(matcher, drawn):
    a = drawn[64:320, 64:320]
    same = matcher.match(a, a)
    assert np.linalg.norm(same.flow, axis=2).mean() < 0.2
    assert same.confidence.mean() > 0.6
    shifted = matcher.match(a, drawn[54:310, 78:334])
    error = np.linalg.norm(shifted.flow - (-14.0, 10.0), axis=2)[:246, 14:]
    assert np.median(error) < 3


def test_a_picture_on_its_side_is_turned_first(matcher, drawn):
    a = drawn[64:320, 64:320]
    found = matcher.match(a, np.rot90(a))
    assert found.rotation == 270
    y, x = np.mgrid[:256, :256]
    truth = np.stack([y, 255 - x], axis=2) - np.stack([x, y], axis=2)
    assert np.median(np.linalg.norm(found.flow - truth, axis=2)) < 3


def test_a_blank_picture_is_not_matched_with_confidence(matcher, drawn):
    found = matcher.match(np.full((64, 64, 3), 117, np.uint8), drawn)
    assert found.confidence.max() < 0.05
    assert found.warnings


def test_each_model_has_a_card():
    for name in shipped_names():
        card = (POCKET / name / "README.md").read_text("utf-8")
        for word in ("Data", "licence", "diffwright train", "samples", "seed", "Machine"):
            assert word in card, (name, word)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "figures"),
    [
        (
            "t2i",
            ("kind_accuracy color_accuracy style_accuracy viewpoint_accuracy count_accuracy pose_accuracy "
             "judge_accuracy_min judge_vae_accuracy_min judge_accuracy_min_core judge_vae_accuracy_min_core "
             "vae_psnr seconds_per_image"),
        ),
        (
            "concepts",
            ("edit_ms_clip_l reference_path_ratio revert_exact efficacy unrelated_drop artifact_kib_clip_l "
             "lora_max_abs_diff mass_100_s mass_100_residual_median mass_100_drift mass_100_drift_null_space"),
        ),
    ],
)  # fmt: skip
def test_the_short_bench_gives_the_promised_figures(name, figures, tmp_path, capsys):
    out = tmp_path / "bench.json"
    with pytest.raises(SystemExit) as ended:
        main(["bench", name, "--quick", "--json", str(out)])
    assert ended.value.code == 0
    found = json.loads(out.read_text())["figures"]
    assert set(figures.split()) <= set(found)
    assert all(set(f) >= {"value", "unit", "better"} for f in found.values())
    values = {figure: found[figure]["value"] for figure in set(BOUNDS) & set(found)}
    assert {f: value for f, value in values.items() if not BOUNDS[f][0] <= value <= BOUNDS[f][1]} == {}
    assert capsys.readouterr().out
