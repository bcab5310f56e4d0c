"""``model_index.json``, read by us against a list of allowed classes.

Nothing in the file chooses code: a class that is not in these tables is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffwright.core.errors import UnsafeWeights, UnsupportedBackbone, WeightsCorrupt, WeightsMissing
from diffwright.weights.folder import Folder

INDEX = "model_index.json"
MAX_BYTES = 64 * 1024

SD_PARTS = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
PIPELINES = {
    "StableDiffusionPipeline": SD_PARTS,
    "StableDiffusionInpaintPipeline": SD_PARTS,
    "StableDiffusionXLPipeline": (*SD_PARTS, "text_encoder_2", "tokenizer_2"),
}
SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
_TOKENIZERS = {("transformers", name): "CLIPTokenizer" for name in ("CLIPTokenizer", "CLIPTokenizerFast")}
CLASSES: dict[str, dict[tuple[str, str], str]] = {
    "vae": {("diffusers", "AutoencoderKL"): "AutoencoderKL"},
    "unet": {("diffusers", "UNet2DConditionModel"): "UNet2DConditionModel"},
    "text_encoder": {("transformers", "CLIPTextModel"): "CLIPTextModel"},
    "text_encoder_2": {("transformers", "CLIPTextModelWithProjection"): "CLIPTextModelWithProjection"},
    "tokenizer": _TOKENIZERS,
    "tokenizer_2": _TOKENIZERS,
    "scheduler": {("diffusers", name): name for name in SCHEDULERS},
}
"""For each part the (library, class) pairs of published indexes, old names too, and the class we load."""

DROPPED: dict[str, tuple[tuple[str, str], ...]] = {
    "safety_checker": (("stable_diffusion", "StableDiffusionSafetyChecker"),),
    "feature_extractor": (
        ("transformers", "CLIPFeatureExtractor"),
        ("transformers", "CLIPImageProcessor"),
        ("transformers", "CLIPImageProcessorFast"),
        ("transformers", "CLIPImageProcessorPil"),
    ),
    "image_encoder": (("transformers", "CLIPVisionModelWithProjection"),),
}
"""Parts of published indexes that are neither loaded nor executed."""

SETTINGS = (
    "force_zeros_for_empty_prompt",
    "add_watermarker",
    "requires_safety_checker",
    "requires_aesthetics_score",
)
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")


@dataclass(frozen=True)
class Index:
    """What an accepted index asks for.

    Attributes:
        pipeline: name of the diffusers pipeline class.
        parts: class name for each part to load.
        settings: booleans of the pipeline, such as ``force_zeros_for_empty_prompt``.
    """

    pipeline: str
    parts: Mapping[str, str]
    settings: Mapping[str, bool]


def read_index(folder: Folder) -> Index:
    """Read a model's index and refuse whatever is not in the tables.

    Raises:
        WeightsMissing: there is no index.
        WeightsCorrupt: it is not sound JSON, or over 64 KiB.
        UnsafeWeights: it names a foreign library, a foreign path, or code of its own.
        UnsupportedBackbone: a class or part that exists but is not supported; the message names it.
    """
    if not folder.has(INDEX):
        raise WeightsMissing(f"{folder.root} holds no {INDEX}; name a directory saved by diffusers")
    content = folder.json(INDEX, MAX_BYTES)
    name = _pipeline_name(content)
    parts: dict[str, str] = {}
    settings: dict[str, bool] = {}
    for key, value in content.items():
        if key in ("_class_name", "_diffusers_version", "_name_or_path"):
            continue
        if key in SETTINGS:
            settings[key] = _boolean(key, value)
        elif key in CLASSES or key in DROPPED:
            chosen = _class_of(key, value)
            if chosen:
                parts[key] = chosen
        else:
            _refuse_key(key, value)
    wanted = PIPELINES[name]
    for part in wanted:
        if part not in parts:
            raise UnsupportedBackbone(f"the model's index has no {part}; {name} needs {', '.join(wanted)}")
    for part in parts:
        if part not in wanted:
            raise UnsupportedBackbone(f"the model's index adds {part} to {name}, which is not supported")
    return Index(name, {part: parts[part] for part in wanted}, settings)


def _pipeline_name(content: Mapping[str, Any]) -> str:
    name = content.get("_class_name")
    if isinstance(name, list):
        raise UnsafeWeights(f"the model brings its own pipeline code ({_show(name)}), which is never run")
    if not isinstance(name, str) or name not in PIPELINES:
        raise UnsupportedBackbone(
            f"pipeline {_show(name)} is not supported; supported are {', '.join(PIPELINES)}"
        )
    return name


def _class_of(part: str, value: Any) -> str | None:
    if value is None or value == [None, None]:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(item, str) for item in value):
        raise WeightsCorrupt(f"{part} is {_show(value)} in the model's index, expected [library, class]")
    library, name = value
    if library not in LIBRARIES:
        raise UnsafeWeights(
            f"{part} asks for library {_show(library)}; only {', '.join(LIBRARIES)} are loaded"
        )
    if (library, name) in DROPPED.get(part, ()):
        return None
    if (library, name) not in CLASSES.get(part, {}):
        allowed = ", ".join(dict.fromkeys(CLASSES.get(part, {}).values())) or "none"
        raise UnsupportedBackbone(f"{part} of class {_show(name)} is not supported; supported: {allowed}")
    return CLASSES[part][library, name]


def _boolean(key: str, value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise WeightsCorrupt(f"{key} is {_show(value)} in the model's index, expected true or false")
    return bool(value)


def _refuse_key(key: str, value: Any) -> None:
    if key.startswith(("_", ".")) or "/" in key or "\\" in key or "custom" in key or "remote" in key:
        raise UnsafeWeights(
            f"the model's index holds {_show(key)}, which could lead to foreign code or files"
        )
    raise UnsupportedBackbone(
        f"the model's index has a part {_show(key)} ({_show(value)}), which is not supported"
    )


def _show(value: Any) -> str:
    return repr(value)[:80]
