"""What is shipped: whole, within its limits, opened by stock diffusers, and measured by the short benches."""

import json

import pytest
import torch

from diffwright.cli.main import main
from diffwright.metrics.judge import Judge
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
