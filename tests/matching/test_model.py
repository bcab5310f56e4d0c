import json
from dataclasses import asdict, replace

import pytest
import torch

from diffwright.core.errors import ConfigError, UnsupportedBackbone, WeightsCorrupt, WeightsMissing
from diffwright.matching.model import MatchConfig, MatchModel
from tests.support import tiny_match


def test_saved_and_loaded_it_has_the_same_weights_at_half_precision(tmp_path):
    model = tiny_match.model()
    model.save_pretrained(tmp_path / "m", card="# A matcher")
    again = MatchModel.from_pretrained(tmp_path / "m")
    assert again.config == model.config
    assert not again.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value.half().float())


@pytest.mark.parametrize("stages", [0, 1])
def test_a_model_may_have_fewer_stages(tmp_path, stages):
    tiny_match.folder(tmp_path / "m", stages=stages)
    model = MatchModel.from_pretrained(tmp_path / "m")
    assert (model.stage1 is None) == (stages == 0)
    assert model.stage2 is None
    with pytest.raises(ConfigError, match="stage 2 was asked of a model with"):
        model.denoiser(2)


def test_the_configuration_survives_json():
    config = tiny_match.config(variable="fraction", residual_scale=(2.5, 1.0))
    assert MatchConfig(**json.loads(json.dumps(asdict(config)))) == config
    assert config.channels == 87
    assert replace(config, cost_injection=False, extra_channels=False).channels == 2
    assert replace(config, extra_channels=False).channels == 83
    assert [config.grid(stage) for stage in (1, 2)] == [8, 32]


@pytest.mark.parametrize(
    "change",
    [
        {"size": 100},
        {"size": 64.0},
        {"stages": 3},
        {"variable": "flow"},
        {"feature_widths": (8, 8, 16)},
        {"feature_widths": (8, 8, 16, 12)},
        {"stage1_widths": ()},
        {"stage1_widths": "abc"},
        {"residual_scale": (0.0, 1.0)},
        {"residual_scale": (float("nan"), 1.0)},
        {"cost_injection": 1},
        {"confidence": (1.0,)},
    ],
)
def test_a_senseless_configuration_is_refused(change):
    with pytest.raises(ConfigError):
        tiny_match.config(**change)


def test_an_unknown_setting_is_named():
    with pytest.raises(ConfigError, match="did you mean 'radius'"):
        MatchModel(radios=4)


@pytest.mark.parametrize(
    "change", [{"radios": 3}, {"size": 10**9}, {"stage1_widths": [32, 32]}, {"stages": 1}, {"size": None}]
)
def test_a_configuration_that_does_not_fit_is_refused(tmp_path, change):
    folder = tiny_match.folder(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(WeightsCorrupt):
        MatchModel.from_pretrained(folder)


def test_another_model_or_none_is_refused(tmp_path):
    with pytest.raises(WeightsMissing):
        MatchModel.from_pretrained(tmp_path / "nothing")
    folder = tiny_match.folder(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_class": "Judge"}))
    with pytest.raises(UnsupportedBackbone):
        MatchModel.from_pretrained(folder)
