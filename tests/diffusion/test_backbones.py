from types import SimpleNamespace

import pytest

from diffwright.core.errors import UnsupportedBackbone
from diffwright.diffusion.backbones import TABLE, describe, require, table
from tests.support.tiny import pipeline

LAYOUTS = {
    "sd1": ("sd", "epsilon"),
    "sd2": ("sd", "v_prediction"),
    "sdxl": ("sdxl", "epsilon"),
    "sdxl_v": ("sdxl", "v_prediction"),
    "inpaint": ("sd-inpaint", "epsilon"),
    "pocket": ("pocket", "v_prediction"),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_supported_layouts_are_told_apart(kind):
    found = describe(pipeline(kind))
    assert (found.layout, found.prediction) == LAYOUTS[kind]


def test_foreign_pipelines_and_predictions_are_refused_by_name():
    with pytest.raises(UnsupportedBackbone, match="SimpleNamespace"):
        describe(SimpleNamespace(transformer=None))
    pipe = pipeline("sd1")
    pipe.scheduler.register_to_config(prediction_type="sample")
    with pytest.raises(UnsupportedBackbone, match="sample"):
        describe(pipe)
    pipe = pipeline("sdxl")
    pipe.text_encoder = None
    with pytest.raises(UnsupportedBackbone, match="text encoders te2"):
        describe(pipe)


def test_a_system_is_refused_where_the_table_lacks_it():
    assert require(pipeline("inpaint"), "fix").layout == "sd-inpaint"
    with pytest.raises(UnsupportedBackbone, match="'generate' does not work on the layout 'sd-inpaint'"):
        require(pipeline("inpaint"), "generate")


def test_the_table_lists_every_row():
    assert all(row.title in table() for row in TABLE)
