"""Where a recipe starts from: a pocket name or a directory, and which part of it."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from diffwright.core.errors import WeightsMissing
from diffwright.weights.names import resolve

HEAD = "contrastive_head.safetensors"


def part_of(source: str | Path, part: str) -> Path:
    """Find a part of a model.

    Args:
        source: Pocket name, pipeline directory, or the part's own directory.
        part: Its folder in a pipeline, such as ``unet``.

    Raises:
        WeightsMissing: Nothing is there.
    """
    folder = resolve(str(source))
    return folder / part if (folder / part).is_dir() else folder


def save_head(clip: Any, directory: Path) -> None:
    """Keep what a pipeline has no place for, so that both towers can be joined again."""
    head = {"text_projection.weight": clip.text_projection.weight, "logit_scale": clip.logit_scale.reshape(1)}
    save_file({name: tensor.detach().float().contiguous() for name, tensor in head.items()}, directory / HEAD)


def join_towers(source: str | Path) -> Any:
    """Rebuild the ``CLIPModel`` from the towers of a pocket pipeline, float32.

    Args:
        source: Pocket name or directory of a pipeline that :func:`save_head` completed, or of a ``CLIPModel``.

    Raises:
        WeightsMissing: The directory lacks the towers or their common head.
    """
    from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPVisionModelWithProjection

    folder = resolve(str(source))
    if (folder / "model.safetensors").is_file():
        return CLIPModel.from_pretrained(folder, use_safetensors=True)
    if not (folder / HEAD).is_file():
        raise WeightsMissing(
            f"{folder} has no {HEAD}; give a pipeline that recipe t2i wrote, or a CLIPModel."
        )
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", use_safetensors=True).float()
    image = CLIPVisionModelWithProjection.from_pretrained(
        folder / "image_encoder", use_safetensors=True
    ).float()
    config = CLIPConfig(
        text_config=text.config.to_dict(),
        vision_config=image.config.to_dict(),
        projection_dim=image.config.projection_dim,
    )
    clip = CLIPModel(config)
    head = load_file(folder / HEAD)
    clip.text_model.load_state_dict(text.state_dict())
    clip.vision_model.load_state_dict(image.vision_model.state_dict())
    clip.visual_projection.load_state_dict(image.visual_projection.state_dict())
    clip.text_projection.weight.data.copy_(head["text_projection.weight"])
    clip.logit_scale.data.copy_(head["logit_scale"].reshape(clip.logit_scale.shape))
    return clip
