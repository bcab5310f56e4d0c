"""A pipeline around a text encoder of CLIP ViT-L/14's shape at random weights: timing needs no download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

WORDS = ("van", "gogh", "painting", "photo", "image", "picture", "of", "an", "a")


def clip_l_pipeline(words: Sequence[str] = ()) -> Any:
    """Build a Stable Diffusion 1 pipeline whose text encoder has the published shape, 123 M parameters.

    The UNet and the VAE are tiny: a text-encoder edit never calls them.

    Args:
        words: more words that are one token each, lower-case.

    Returns:
        A stock pipeline in float32 on the CPU; the same weights each time.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    shape = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        projection_dim=768,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return StableDiffusionPipeline(
            text_encoder=CLIPTextModel(shape).eval(),
            tokenizer=_tokenizer((*WORDS, *words)),
            unet=UNet2DConditionModel(
                sample_size=8,
                block_out_channels=(8,),
                layers_per_block=1,
                norm_num_groups=4,
                cross_attention_dim=768,
                attention_head_dim=4,
                mid_block_type=None,
                down_block_types=("CrossAttnDownBlock2D",),
                up_block_types=("CrossAttnUpBlock2D",),
            ).eval(),
            vae=AutoencoderKL(block_out_channels=(4,), norm_num_groups=4).eval(),
            scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),  # pyright: ignore[reportArgumentType]
            safety_checker=None,  # pyright: ignore[reportArgumentType]
            feature_extractor=None,  # pyright: ignore[reportArgumentType]
            requires_safety_checker=False,
        )


def _tokenizer(words: Sequence[str]) -> Any:
    """Make a CLIP tokenizer that reads each of these words as one token and spells all others."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    merges, symbols = [], [*letters, *(f"{letter}</w>" for letter in letters)]
    for word in words:
        head, *rest = [*word[:-1], f"{word[-1]}</w>"]
        for symbol in rest:
            merges.append((head, symbol))
            head += symbol
            symbols.append(head)
    vocab = {symbol: number for number, symbol in enumerate(dict.fromkeys(symbols))}
    vocab |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    return CLIPTokenizer(vocab=vocab, merges=list(dict.fromkeys(merges)), model_max_length=77)
