"""The matching recipes at toy size, in the order in which they build on each other."""

import json

import pytest
import torch
from safetensors.torch import load_file

from diffwright.core.errors import Cancelled, ConfigError
from diffwright.matching.model import MatchModel
from diffwright.training.catalog import train
from diffwright.training.pairs.views import Views
from diffwright.training.recipes.match_stage1 import MatchStage1Options, MatchStage1Task
from diffwright.training.store import Store

TOY = {"samples": 4, "batch_size": 2, "precision": "fp32", "evaluate_minutes": None, "warmup_samples": 0}
PAIRS = {"render_share": 0.0, "view_pairs": 0, "size": 64, "pool": 3, "fixed": 2, "turned": 0.5}
NETS = {"features": {"widths": (8, 8, 16, 16), "blocks": (1, 1, 1, 1)}, "stage1": {"widths": (16, 16), "blocks": 1},
        "stage2": {"widths": (16, 16), "blocks": 1}}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matching")
    Views(folder / "views", 64, "development").batch([0, 1])
    return folder


def run(stage, folder, out=None, **options):
    out = folder / (out or stage)
    if not (out / "result.json").exists():
        nets = {} if "init" in options else NETS[stage]
        options = {"views": folder / "views", **PAIRS, **nets, **options}
        result = train(f"match-{stage}", {"out": out, **TOY}, options, lambda *_: None)
        assert result["samples"] == 4
    return out / "model"


@pytest.fixture(scope="module")
def features(folder):
    return run("features", folder)


@pytest.fixture(scope="module")
def stage1(folder, features):
    return run("stage1", folder, features=features)


@pytest.fixture(scope="module")
def stage2(folder, stage1):
    return run("stage2", folder, stage1=stage1)


def result(folder, stage):
    return json.loads((folder / stage / "result.json").read_text())


def test_features_are_written_without_stages(folder, features):
    model = MatchModel.from_pretrained(features)
    assert (model.config.stages, model.config.size) == (0, 64)
    figures = result(folder, "features")
    for name in ("aepe_argmax", "aepe_cleaned", "pck5_cleaned", "world_aepe_argmax", "world_aepe_cleaned"):
        assert figures[name] >= 0


def test_stage1_holds_the_features_it_was_trained_on(folder, features, stage1):
    before, after = MatchModel.from_pretrained(features), MatchModel.from_pretrained(stage1)
    assert after.config.stages == 1
    assert after.config.residual_scale[0] != before.config.residual_scale[0]
    for name, tensor in before.features.state_dict().items():
        assert torch.equal(tensor, after.features.state_dict()[name]), name
    figures = result(folder, "stage1")
    assert figures["reduction"] == pytest.approx(1 - figures["aepe"] / figures["aepe_start"])
    assert {"world_aepe", "world_aepe_start", "world_reduction", "turned_reduction", "pck5"} <= set(figures)


def test_stage2_completes_the_model(folder, stage1, stage2):
    before, after = MatchModel.from_pretrained(stage1), MatchModel.from_pretrained(stage2)
    assert after.config.stages == 2
    assert after.config.residual_scale[0] == before.config.residual_scale[0]
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name]), name
    assert result(folder, "stage2")["aepe"] > 0
    assert after.config.confidence != before.config.confidence


def test_every_stage_trains_its_own_network_alone(folder, stage1):
    logs = [json.loads(line) for line in (folder / "stage1" / "log.jsonl").read_text().splitlines()]
    steps = [line for line in logs if line["event"] == "step"]
    assert steps
    assert {"loss", "aepe_px", "rmse_px", "start_aepe_px", "nll"} <= set(steps[0])
    kept = Store(folder / "stage1" / "checkpoints").load().tensors["model"]
    assert all(name.startswith("stage1.") for name in kept)


def test_recipes_start_from_a_complete_model(folder, stage2):
    whole = MatchModel.from_pretrained(stage2)
    for stage, stages in (("features", 0), ("stage1", 1), ("stage2", 2)):
        again = MatchModel.from_pretrained(run(stage, folder, f"{stage}-again", init=stage2))
        assert again.config.stages == stages
        assert again.config.residual_scale == whole.config.residual_scale
    with pytest.raises(ConfigError, match="stage 2"):
        run("stage2", folder, "none", init=folder / "stage1" / "model")


def test_the_papers_variable_and_a_network_without_cost_can_be_trained(folder, features):
    bare = {
        "variable": "fraction",
        "self_conditioning": False,
        "extra_channels": False,
        "cost_injection": False,
    }
    model = MatchModel.from_pretrained(run("stage1", folder, "bare", features=features, **bare))
    assert model.config.channels == 2
    assert (model.config.variable, model.config.self_conditioning) == ("fraction", False)


def test_joint_training_moves_the_features_too(folder, features):
    joint = MatchModel.from_pretrained(run("stage1", folder, "joint", features=features, joint=True))
    before = MatchModel.from_pretrained(features).features.state_dict()
    assert any(not torch.equal(tensor, before[name]) for name, tensor in joint.features.state_dict().items())


def test_an_interrupted_run_ends_like_one_that_was_not(folder, stage1, tmp_path):
    options = {"views": folder / "views", **PAIRS, **NETS["stage2"], "stage1": stage1}
    common = {**TOY, "samples": 8, "seed": 3, "threads": 1}
    train("match-stage2", {**common, "out": tmp_path / "whole"}, options, lambda *_: None)
    with pytest.raises(Cancelled):
        train(
            "match-stage2", {**common, "out": tmp_path / "cut"}, options, lambda what, done, total: done >= 4
        )
    assert Store(tmp_path / "cut" / "checkpoints").load().step == 2
    torch.rand(7)
    train("match-stage2", {**common, "out": tmp_path / "cut"}, options, lambda *_: None)
    whole, cut = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_other_canvases_make_another_run(folder, features, tmp_path):
    options = {"views": folder / "views", **PAIRS, **NETS["stage1"], "features": features, "turned": 0.0}
    common = {**TOY, "out": tmp_path / "run"}
    with pytest.raises(Cancelled):
        train("match-stage1", common, options, lambda what, done, total: done >= 2)
    photos = tmp_path / "photos"
    photos.mkdir()
    from PIL import Image

    Image.effect_noise((64, 64), 60).convert("RGB").save(photos / "one.png")
    with pytest.raises(ConfigError, match="stream"):
        train("match-stage1", common, {**options, "photos": photos}, lambda *_: None)


def test_a_step_learns_from_all_kinds_of_starts(folder, features):
    task = MatchStage1Task(
        MatchStage1Options(**PAIRS, **NETS["stage1"], views=folder / "views", features=features)
    )
    generator = torch.Generator().manual_seed(0)
    loss, figures = task.loss(task.modules(), task.batch(torch.arange(8)), generator)
    loss.backward()
    assert torch.isfinite(loss)
    assert figures["start_aepe_px"] > 0
    assert all(p.grad is None for p in task.model.features.parameters())
    assert any(p.grad is not None for p in task.model.denoiser(1).parameters())
