"""Tiny random pipelines of the stock classes, in the published layouts, for tests without downloads.

``pipeline(kind)`` builds one in memory, ``folder(kind, path)`` saves it as a diffusers directory.
Latents are a quarter of the picture in ``pocket`` and half of it elsewhere; the native picture is 32 x 32.
"""

import json
from pathlib import Path

import torch

KINDS = ("sd1", "sd2", "sdxl", "sdxl_v", "inpaint", "pocket")
PREDICTION = {"sd2": "v_prediction", "sdxl_v": "v_prediction", "pocket": "v_prediction"}
MERGES = (
    *("c a", "ca t</w>", "t h", "th e</w>", "r e", "re d</w>"),
    *("o n</w>", "m u", "mu g</w>", "d o", "do g</w>"),
)


def tokenizer():
    """CLIP tokenizer over bytes and a few merges: cat, red, mug, dog, the are one token, others several."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    merges = [tuple(merge.split()) for merge in MERGES]
    words = letters + [letter + "</w>" for letter in letters] + ["".join(merge) for merge in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)


def text_encoder(size, *, width=32, layers=3, act="quick_gelu", projection=None):
    """CLIP text model; with ``projection`` the class that SDXL uses for its second encoder."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=size,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=77,
        hidden_act=act,
        projection_dim=projection or width,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def vae(*, latents=4, levels=2):
    """AutoencoderKL with 2^(levels - 1) pixels a latent."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=(8, 16, 16)[:levels],
        layers_per_block=1,
        latent_channels=latents,
        norm_num_groups=4,
        sample_size=32,
    ).eval()


def unet(kind, *, latents=4, width=32, size=16):
    """UNet with two levels, cross-attention in the second and the middle, as far as the layout allows."""
    from diffusers import UNet2DConditionModel

    extra = {}
    if kind.startswith("sdxl"):
        extra = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 32 + 6 * 8,
            "transformer_layers_per_block": (1, 2),
            "use_linear_projection": True,
        }
    elif kind in ("sd2", "pocket"):
        extra = {"use_linear_projection": True}
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=2 * latents + 1 if kind == "inpaint" else latents,
        out_channels=latents,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=(2, 4),
        norm_num_groups=8,
        **extra,
    ).eval()


def scheduler(kind):
    """The scheduler class of the published index, with the prediction type of the layout."""
    from diffusers import DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler

    shared = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    shared["prediction_type"] = PREDICTION.get(kind, "epsilon")
    if kind == "sd1":
        return PNDMScheduler(**shared, skip_prk_steps=True, set_alpha_to_one=False)
    if kind.startswith("sdxl"):
        return EulerDiscreteScheduler(**shared)
    if kind == "pocket":
        return DDIMScheduler(
            **shared, clip_sample=False, rescale_betas_zero_snr=True, timestep_spacing="trailing"
        )
    return DDIMScheduler(**shared, clip_sample=False, set_alpha_to_one=False)


def pipeline(kind="sd1", seed=0):
    """Build a random pipeline in float32 on the CPU; the same seed gives the same weights.

    Kinds: sd1 (epsilon), sd2 (v), sdxl (epsilon), sdxl_v (v), inpaint (SD 1.5, nine channels), pocket (eight
    latent channels, four pixels a latent, v, zero terminal SNR).
    """
    import diffusers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words = tokenizer()
        latents = 8 if kind == "pocket" else 4
        parts = {
            "vae": vae(latents=latents, levels=3 if kind == "pocket" else 2),
            "tokenizer": words,
            "text_encoder": text_encoder(len(words), act="gelu" if kind == "sd2" else "quick_gelu"),
            "scheduler": scheduler(kind),
        }
        if kind.startswith("sdxl"):
            second = text_encoder(len(words), act="gelu", projection=32)
            parts |= {"text_encoder_2": second, "tokenizer_2": tokenizer()}
            parts["unet"] = unet(kind, width=64)
            pipe = diffusers.StableDiffusionXLPipeline(**parts, add_watermarker=False)
        else:
            parts["unet"] = unet(kind, latents=latents, size=8 if kind == "pocket" else 16)
            name = "StableDiffusionInpaintPipeline" if kind == "inpaint" else "StableDiffusionPipeline"
            none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
            pipe = getattr(diffusers, name)(**parts, **none)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def folder(kind, path, *, seed=0, index=None, variant=None):
    """Save ``pipeline(kind, seed)`` as a diffusers directory and return its path.

    Args:
        kind: see ``pipeline``.
        path: the folder to make.
        seed: of the weights.
        index: content for ``model_index.json`` in place of the one that diffusers writes.
        variant: for example "fp16", which also stores half precision.
    """
    path = Path(path)
    pipe = pipeline(kind, seed)
    if variant == "fp16":
        pipe = pipe.to(torch.float16)
    pipe.save_pretrained(path, variant=variant)
    if index is not None:
        (path / "model_index.json").write_text(json.dumps(index, indent=2))
    return path
