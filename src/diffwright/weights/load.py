"""``load``: a stock diffusers pipeline from a pocket name, a directory or a hub id."""

from __future__ import annotations

import re
from os import PathLike
from typing import TYPE_CHECKING, Any

from diffwright.core.errors import ConfigError, UnsupportedBackbone, WeightsCorrupt
from diffwright.weights.components import load_network, load_scheduler
from diffwright.weights.folder import Folder
from diffwright.weights.hub import fetch
from diffwright.weights.index import Index, read_index
from diffwright.weights.names import is_hub_id, is_pocket, resolve
from diffwright.weights.tokenizer import load_tokenizer

if TYPE_CHECKING:
    import torch
    from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline

DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "float16": "float16",
    "fp16": "float16",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
}


def load(
    source: str | PathLike[str] = "pocket",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    *,
    revision: str | None = None,
    variant: str | None = None,
    offline: bool = False,
) -> StableDiffusionPipeline | StableDiffusionInpaintPipeline | StableDiffusionXLPipeline:
    """Load a text-to-image model as a stock diffusers pipeline.

    Only safetensors are read and only the classes of Stable Diffusion 1.x, 2.x and XL are built. A safety
    checker or feature extractor of a published model is left out. The network is used only for a hub id.

    Args:
        source: a pocket name, a directory saved by diffusers, or a hub id OWNER/NAME.
        device: where to put it, such as ``cuda``; the CPU without it.
        dtype: ``float32`` (also without it), ``float16``, ``bfloat16``, or a torch dtype.
        revision: branch, tag or commit of a hub id.
        variant: such as ``fp16``, for files like ``model.fp16.safetensors``.
        offline: never connect; a hub id must be in the local cache.

    Returns:
        The pipeline, in evaluation mode.

    Raises:
        WeightsMissing: the model or one of its files is not there.
        WeightsCorrupt: a file is damaged or parts do not fit each other.
        UnsafeWeights: the model could execute code, or reaches out of its directory.
        UnsupportedBackbone: the model is of another kind; the message names what was found.
        ConfigError: dtype, variant or device is unknown.
    """
    from diffwright.weights.module import move_to

    kind = _dtype(dtype)
    target = move_to(device or "cpu")
    if variant is not None and not re.fullmatch(r"\w{1,32}", variant, re.ASCII):
        raise ConfigError(f"variant is {variant!r}, expected a short word such as fp16")
    if is_hub_id(source) and not is_pocket(source):
        root = fetch(str(source), revision=revision, variant=variant, offline=offline)
    else:
        root = resolve(source)
    folder = Folder(root)
    index = read_index(folder)
    parts = _parts(folder, index, kind, variant)
    _check_fit(index, parts)
    return _assemble(index, parts).to(target)


def _parts(folder: Folder, index: Index, dtype: torch.dtype, variant: str | None) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for part, class_name in index.parts.items():
        if part == "scheduler":
            parts[part] = load_scheduler(folder, class_name)
        elif part.startswith("tokenizer"):
            parts[part] = load_tokenizer(folder, part)
        else:
            parts[part] = load_network(folder, part, class_name, dtype, variant)
    return parts


def _check_fit(index: Index, parts: dict[str, Any]) -> None:
    unet = parts["unet"].config
    encoders = [parts[part] for part in ("text_encoder", "text_encoder_2") if part in parts]
    width = sum(encoder.config.hidden_size for encoder in encoders)
    if unet.cross_attention_dim != width:
        raise WeightsCorrupt(
            f"the UNet reads text of width {unet.cross_attention_dim}, the encoders give {width}"
        )
    if (unet.addition_embed_type == "text_time") != (len(encoders) == 2):
        raise UnsupportedBackbone(
            f"addition_embed_type {unet.addition_embed_type!r} is not supported in {index.pipeline}"
        )
    for suffix in ("", "_2")[: len(encoders)]:
        words = len(parts["tokenizer" + suffix])
        rows = parts["text_encoder" + suffix].config.vocab_size
        if words > rows:
            raise WeightsCorrupt(f"tokenizer{suffix} has {words} tokens and its text encoder only {rows}")
    latent = parts["vae"].config.latent_channels
    reads = 2 * latent + 1 if "Inpaint" in index.pipeline else latent
    if (unet.in_channels, unet.out_channels) != (reads, latent):
        raise UnsupportedBackbone(
            f"a UNet from {unet.in_channels} to {unet.out_channels} channels does not fit {index.pipeline}"
            f" with {latent} latent channels"
        )


def _assemble(index: Index, parts: dict[str, Any]) -> Any:
    import diffusers

    from diffwright.diffusion.backbones import describe

    settings: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
    if "XL" in index.pipeline:
        settings["force_zeros_for_empty_prompt"] = index.settings.get("force_zeros_for_empty_prompt", True)
        settings["add_watermarker"] = False
    else:
        settings |= {"safety_checker": None, "requires_safety_checker": False}
    pipe = getattr(diffusers, index.pipeline)(**parts, **settings)
    describe(pipe)
    return pipe


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    import torch

    if dtype is None:
        return torch.float32
    name = dtype if isinstance(dtype, str) else str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ConfigError(f"dtype is {name!r}, expected float32, float16 or bfloat16")
    return getattr(torch, DTYPES[name])
