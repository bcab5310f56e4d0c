from types import SimpleNamespace

import pytest
import torch
from torch import nn

from diffwright.core.errors import InputError, UnsupportedBackbone
from diffwright.diffusion.sites import find, match, sites
from tests.support.tiny import pipeline, text_encoder


@pytest.fixture(scope="module")
def pipes():
    return {kind: pipeline(kind) for kind in ("sd1", "sd2", "sdxl", "pocket")}


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "pocket"])
def test_each_name_leads_to_its_module_and_back(pipes, kind):
    pipe = pipes[kind]
    known = sites(pipe)
    assert len({site.name for site in known}) == len(known)
    assert len({(site.owner, site.path) for site in known}) == len(known)
    for site in known:
        assert getattr(pipe, site.owner).get_submodule(site.path) is site.module
    assert find(pipe, known[-1].name) == known[-1]


def test_text_sites_of_flat_and_nested_encoders(pipes):
    pipe = pipes["sdxl"]
    flat, nested = find(pipe, "te.0.attn.out"), find(pipe, "te2.0.attn.out")
    assert flat.path == "encoder.layers.0.self_attn.out_proj"
    assert nested.path == "text_model.encoder.layers.0.self_attn.out_proj"
    assert find(pipe, "te.1.mlp.out").module is pipe.text_encoder.encoder.layers[1].mlp.fc2
    assert find(pipe.text_encoder_2, "te.2.block").module is pipe.text_encoder_2.text_model.encoder.layers[2]


def test_unet_sites_count_layers_inside_their_block(pipes):
    pipe = pipes["sdxl"]
    up = pipe.unet.up_blocks[0]
    assert find(pipe, "unet.up.0.attn2.1.k").module is up.attentions[0].transformer_blocks[1].attn2.to_k
    assert find(pipe, "unet.up.0.attn2.2").module is up.attentions[1].transformer_blocks[0].attn2
    assert find(pipe, "unet.mid.0.resnet.1").module is pipe.unet.mid_block.resnets[1]
    assert find(pipe, "unet.down.0.down.0").module is pipe.unet.down_blocks[0].downsamplers[0]
    assert find(pipe, "unet.up.0.ff.0.out").module is up.attentions[0].transformer_blocks[0].ff.net[2]


def test_the_published_unet_has_seventy_layers():
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
    counts = {kind: len(sites(unet, [kind])) for kind in ("resnet", "attn1", "attn2", "ff", "down", "up")}
    assert counts == {"resnet": 22, "attn1": 16, "attn2": 16, "ff": 16, "down": 3, "up": 3}


def test_kinds_and_patterns_choose(pipes):
    pipe = pipes["sd1"]
    values = match(pipe, "unet.*.attn2.*.v")
    assert values == sites(pipe, ["attn2.v"])
    assert len(values) == 4
    assert [site.name for site in match(pipe, ["te.1.attn.out", "te.?.attn.out"])] == [
        "te.1.attn.out",
        "te.0.attn.out",
        "te.2.attn.out",
    ]


@pytest.mark.parametrize("name", ["te.9.attn", "te.0.attn.outer", "unet.up.0.attn2", "te2.0.attn", "", "x"])
def test_unknown_names_are_input_errors(pipes, name):
    with pytest.raises(InputError, match="No site"):
        match(pipes["sd1"], name)


def test_a_part_that_is_not_linear_is_refused(pipes):
    with pytest.raises(InputError, match="CLIPAttention"):
        _ = find(pipes["sd1"], "te.0.attn").linear


def test_adapters_fused_projections_and_foreign_models_are_refused():
    pipe = pipeline("sd1")
    linear = find(pipe, "te.0.attn.out").linear
    linear.base_layer = nn.Linear(1, 1)
    with pytest.raises(UnsupportedBackbone, match="adapter"):
        _ = find(pipe, "te.0.attn.out").linear
    pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.fused_projections = True
    with pytest.raises(UnsupportedBackbone, match="fused"):
        sites(pipe)
    with pytest.raises(UnsupportedBackbone, match="Linear"):
        sites(SimpleNamespace(text_encoder=nn.Linear(1, 1)))


def test_bare_encoder_is_a_model():
    encoder = text_encoder(64)
    assert find(encoder, "te.0.mlp").module is encoder.encoder.layers[0].mlp
