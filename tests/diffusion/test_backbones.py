from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from diffwright.concepts.edit import edit_concepts
from diffwright.core.errors import UnsupportedBackbone
from diffwright.diffusion.backbones import TABLE, describe, require, table
from diffwright.diffusion.prompts import encode
from diffwright.diffusion.sampling import generate
from diffwright.editing.editor import ImageEditor
from diffwright.editing.operations import Move
from diffwright.editing.presets import PRESETS
from diffwright.tracing.trace import causal_trace
from diffwright.tracing.unet import Sampling
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
    pipe.scheduler.register_to_config(prediction_type="epsilon", rescale_betas_zero_snr=True)
    with pytest.raises(UnsupportedBackbone, match="ends in pure noise"):
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


def paints(pipe):
    assert generate(pipe, "red cat", seeds=1, steps=2).std() > 0


def rewrites(pipe):
    before = encode(pipe, ["red cat"])
    edit_concepts(pipe, [("cat", "dog")], lam=1e-4).apply(pipe)
    assert not torch.allclose(encode(pipe, ["red cat"]), before, atol=1e-3)


def traces(pipe):
    quick = {"parts": ["unet"], "components": ["attn2"], "metrics": ["denoiser"], "seeds": [0]}
    found = causal_trace(pipe, "red cat", "cat", **quick, sampling=Sampling(steps=1, guidance=3.0))
    scores = found.traces["unet"].scores["denoiser"]
    assert (scores.corrupted < scores.clean).all()


def edits(pipe):
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mask = np.zeros((32, 32), dtype=bool)
    mask[4:12, 4:12] = True
    editor = ImageEditor(pipe, replace(PRESETS["fast"], steps=4)).set_image(picture)
    assert (
        np.asarray(editor.edit([Move(mask, (12, 8))]).images[0])[12:20, 16:24] != picture[12:20, 16:24]
    ).any()


WORKS = {"generate": paints, "fix": rewrites, "trace": traces, "edit": edits}
KIND = {"sd": "sd1", "sd-inpaint": "inpaint", "sdxl": "sdxl", "pocket": "pocket"}
CELLS = [
    (r.layout, prediction, system) for r in TABLE for prediction in r.predictions for system in r.systems
]


@pytest.mark.parametrize(("layout", "prediction", "system"), CELLS)
def test_each_cell_of_the_table_works_at_random_weights(layout, prediction, system):
    pipe = pipeline(KIND[layout])
    pipe.scheduler.register_to_config(prediction_type=prediction)
    assert require(pipe, system).prediction == prediction
    WORKS[system](pipe)
