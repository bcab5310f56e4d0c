"""The regression control: the network of stage 1, trained in one pass."""

import pytest
import torch

from diffwright.core.errors import ConfigError
from diffwright.matching.model import MatchModel
from diffwright.matching.regression import regress
from diffwright.matching.stages import condition_stage1, initial_field, volume
from diffwright.training.catalog import train
from diffwright.training.pairs.views import Views
from diffwright.training.recipes.match_regression import MatchRegressionOptions, MatchRegressionTask
from tests.support import tiny_match

TOY = {"samples": 4, "batch_size": 2, "precision": "fp32", "evaluate_minutes": None, "warmup_samples": 0}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regression")
    Views(folder / "views", 64, "development").batch([0])
    features = tiny_match.folder(folder / "features", stages=0)
    pairs = {"render_share": 0.0, "view_pairs": 0, "size": 64, "pool": 3, "fixed": 1, "turned": 0.0}
    return {**pairs, "views": folder / "views", "features": features, "widths": (16, 16), "blocks": 1}


def test_the_recipe_writes_a_model_with_stage_1_that_regresses(options, tmp_path):
    result = train("match-regression", {"out": tmp_path / "run", **TOY}, options, lambda *_: None)
    assert {"aepe", "aepe_start", "reduction", "world_aepe"} <= set(result)
    model = MatchModel.from_pretrained(tmp_path / "run" / "model")
    assert model.config.stages == 1
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        features = model.features(image)
        pair = volume(model, features, features)
        start = initial_field(pair)
        x0, log_b = regress(model, 1, condition_stage1(model.config, pair, start), start)
    assert x0.shape == (1, 2, 8, 8)
    assert log_b.shape == (1, 1, 8, 8)


def test_the_loss_draws_no_noise_and_no_time(options, monkeypatch):
    task = MatchRegressionTask(MatchRegressionOptions(**options))
    seen = {}
    denoiser = task.model.denoiser(1)
    forward = denoiser.forward
    monkeypatch.setattr(
        denoiser,
        "forward",
        lambda x, time, *rest: seen.update(x=x, time=time) or forward(x, time, *rest),
    )
    loss, figures = task.loss(task.modules(), task.batch(torch.arange(2)), torch.Generator().manual_seed(0))
    loss.backward()
    assert torch.isfinite(loss)
    assert "aepe_px" in figures
    assert not seen["x"].any()
    assert seen["time"].eq(1).all()
    assert any(p.grad is not None for p in denoiser.parameters())


def test_it_is_as_large_as_the_diffusion_network(options):
    ours = tiny_match.model(stages=1)
    theirs = MatchRegressionTask(MatchRegressionOptions(**{**options, "blocks": 1})).model
    count = [sum(p.numel() for p in model.denoiser(1).parameters()) for model in (ours, theirs)]
    assert count[0] == count[1]


def test_joint_training_is_refused(options):
    with pytest.raises(ConfigError, match="joint"):
        MatchRegressionOptions(**options, joint=True)
