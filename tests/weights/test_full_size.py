"""The published sizes pass the limits; built on the meta device, so without memory."""

import pytest

from diffwright.cli.doctor import MILLIONS
from diffwright.weights.components import _construct

SD_BLOCKS = {
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "block_out_channels": [320, 640, 1280, 1280],
    "_class_name": "UNet2DConditionModel",
    "in_channels": 4,
    "out_channels": 4,
}
SDXL_BLOCKS = {
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [320, 640, 1280],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "transformer_layers_per_block": [1, 2, 10],
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
LINEAR = {"use_linear_projection": True, "attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024}
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "sample_size": 512,
}
CLIP = {
    "max_position_embeddings": 77,
    "vocab_size": 49408,
    "torch_dtype": "float32",
    "transformers_version": "4",
}


def clip(width, layers, heads, act="gelu", **more):
    shape = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    return CLIP | shape | {"num_attention_heads": heads, "hidden_act": act} | more


@pytest.mark.parametrize(
    ("part", "class_name", "config", "tensors", "millions"),
    [
        (
            "unet",
            "UNet2DConditionModel",
            SD_BLOCKS | {"attention_head_dim": 8, "cross_attention_dim": 768},
            686,
            859.5,
        ),
        ("unet", "UNet2DConditionModel", SD_BLOCKS | LINEAR, 686, 865.9),
        ("unet", "UNet2DConditionModel", SD_BLOCKS | SDXL_BLOCKS, 1680, 2567.5),
        ("vae", "AutoencoderKL", VAE, 248, 83.7),
        ("text_encoder", "CLIPTextModel", clip(768, 12, 12, "quick_gelu"), 196, 123.1),
        ("text_encoder", "CLIPTextModel", clip(1024, 23, 16), 372, 340.4),
        (
            "text_encoder_2",
            "CLIPTextModelWithProjection",
            clip(1280, 32, 20, projection_dim=1280),
            517,
            694.7,
        ),
    ],
    ids=["sd15 unet", "sd21 unet", "sdxl unet", "vae", "clip-l", "openclip-h", "openclip-g"],
)
def test_published_architecture_is_built(part, class_name, config, tensors, millions):
    model = _construct(part, class_name, config, tensors)
    state = model.state_dict()
    assert len(state) == tensors
    assert all(value.is_meta for value in state.values())
    assert sum(value.numel() for value in state.values()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_the_doctor_adds_these_sizes_up():
    assert MILLIONS["Stable Diffusion 1.x"] == pytest.approx(859.5 + 83.7 + 123.1)
    assert MILLIONS["Stable Diffusion 2.x"] == pytest.approx(865.9 + 83.7 + 340.4)
    assert MILLIONS["Stable Diffusion XL"] == pytest.approx(2567.5 + 83.7 + 123.1 + 694.7)
