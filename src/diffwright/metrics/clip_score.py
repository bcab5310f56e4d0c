"""CLIP score: how well a picture fits a text, by a contrastive model that is loaded for this alone.

The model is built from its sizes and filled with checked safetensors; nothing in its files chooses code. Scores
are plain cosines. Name the model beside every figure: scores of different models do not compare.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.errors import InputError, WeightsCorrupt, WeightsMissing
from diffwright.weights.components import CLIP_KEYS, check_sizes, fill, refuse_code, weight_files
from diffwright.weights.folder import Folder
from diffwright.weights.legacy import rename_clip
from diffwright.weights.names import is_hub_id, is_pocket, resolve
from diffwright.weights.tokenizer import load_tokenizer
from diffwright.weights.verify import read_tensors

VISION_KEYS = (
    "attention_dropout",
    "hidden_act",
    "hidden_size",
    "image_size",
    "intermediate_size",
    "layer_norm_eps",
    "num_attention_heads",
    "num_channels",
    "num_hidden_layers",
    "patch_size",
    "projection_dim",
)
HEAD = "contrastive_head.safetensors"
FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "preprocessor_config.json",
)
POSITIONS = "vision_model.embeddings.position_ids"


class ClipScore:
    """Scores pictures against a text.

    Args:
        model: a ``transformers.CLIPModel``.
        tokenizer: its tokenizer.
        mean: of the pixels in [0, 1], by channel, as its image tower was trained.
        std: their standard deviation.
        name: where it came from.
    """

    def __init__(
        self, model: Any, tokenizer: Any, mean: tuple[float, ...], std: tuple[float, ...], name: str
    ) -> None:
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        self.mean, self.std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    @torch.no_grad()
    def __call__(self, pictures: np.ndarray, text: str) -> np.ndarray:
        """Give the cosine of each picture with one text.

        Args:
            pictures: uint8 (B, H, W, 3) of any size; the short side is resized and the middle is read.
            text: cut at the tower's length.

        Returns:
            (B,) float64 in [-1, 1].

        Raises:
            InputError: the array is not uint8 RGB.
        """
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
            raise InputError(
                f"expected uint8 (B, H, W, 3), got {pictures.dtype} {pictures.shape}; convert the pictures first"
            )
        ids = self.tokenizer([text], truncation=True, return_tensors="pt").input_ids
        told = F.normalize(self.model.get_text_features(ids).pooler_output, dim=-1)
        shown = F.normalize(self.model.get_image_features(self._pixels(pictures)).pooler_output, dim=-1)
        return (shown @ told[0]).double().numpy()

    def _pixels(self, pictures: np.ndarray) -> Tensor:
        side = self.model.config.vision_config.image_size
        image = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
        high, wide = image.shape[2:]
        scale = side / min(high, wide)
        size = (max(side, round(high * scale)), max(side, round(wide * scale)))
        if size != (high, wide):
            image = F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)
        top, left = (size[0] - side) // 2, (size[1] - side) // 2
        return (image[:, :, top : top + side, left : left + side] - self.mean) / self.std

    @classmethod
    def from_pretrained(cls, source: str | Path, *, offline: bool = False) -> ClipScore:
        """Load a scorer in float32 on the CPU.

        Args:
            source: directory of a ``CLIPModel`` with its tokenizer, a pocket name or directory whose pipeline
                keeps both towers, or a hub id.
            offline: never connect; a hub id must be in the local cache.

        Raises:
            WeightsError: files are missing, damaged, unsafe, or of another model.
        """
        hub = is_hub_id(source) and not is_pocket(source)
        folder = Folder(_fetch(str(source), offline) if hub else resolve(source))
        pipeline = folder.has(HEAD)
        text, vision, tensors = _towers(folder) if pipeline else _whole(folder)
        model = _build(text, vision, tensors, str(folder.root))
        tokenizer = load_tokenizer(folder, "tokenizer" if pipeline else ".")
        mean, std = _normalisation(folder, "feature_extractor" if pipeline else ".")
        return cls(model, tokenizer, mean, std, str(source))


Config = dict[str, Any]


def _whole(folder: Folder) -> tuple[Config, Config, dict[str, Tensor]]:
    """Read the directory of a ``CLIPModel``."""
    config = folder.json("config.json")
    refuse_code(config, "config.json")
    text, vision = config.get("text_config"), config.get("vision_config")
    if not isinstance(text, dict) or not isinstance(vision, dict):
        raise WeightsMissing(
            f"{folder.root} describes no CLIP model with text and vision towers; name a CLIPModel or pocket"
        )
    width = config.get("projection_dim", 512)
    tensors: dict[str, Tensor] = {}
    for name in weight_files(folder, ".", None):
        tensors |= read_tensors(folder.file(name))
    return text | {"projection_dim": width}, vision | {"projection_dim": width}, tensors


def _towers(folder: Folder) -> tuple[Config, Config, dict[str, Tensor]]:
    """Read both towers of a pipeline and the head that joins them."""
    text, vision = (folder.json(f"{part}/config.json") for part in ("text_encoder", "image_encoder"))
    for part, config in (("text_encoder", text), ("image_encoder", vision)):
        refuse_code(config, f"{part}/config.json")
    tensors = read_tensors(folder.file(HEAD))
    for part in ("text_encoder", "image_encoder"):
        for name in weight_files(folder, part, None):
            tensors |= read_tensors(folder.file(name))
    return text, vision, tensors


def _build(text: Config, vision: Config, tensors: dict[str, Tensor], name: str) -> Any:
    from transformers import CLIPConfig, CLIPModel

    for part, config in (("text", text), ("vision", vision)):
        check_sizes(part, config, len(tensors))
    try:
        config = CLIPConfig(
            text_config={key: text[key] for key in CLIP_KEYS if key in text},
            vision_config={key: vision[key] for key in VISION_KEYS if key in vision},
            projection_dim=vision.get("projection_dim", 512),
        )
        with torch.device("meta"):
            draft = CLIPModel(config)
    except Exception as error:
        raise WeightsCorrupt(
            f"{name} describes no CLIP model ({str(error)[:160]}); fetch it again"
        ) from error
    wanted = set(draft.state_dict())
    tensors = {key: value for key, value in rename_clip(tensors, wanted).items() if key != POSITIONS}
    tensors["logit_scale"] = tensors.get("logit_scale", torch.zeros(1)).reshape(())
    fill(draft, tensors, torch.float32, name)
    model = CLIPModel(config)
    model.load_state_dict(draft.state_dict(), strict=True)
    return model


def _normalisation(folder: Folder, part: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    config = folder.json(f"{part}/preprocessor_config.json")
    found = []
    for key in ("image_mean", "image_std"):
        values = config.get(key)
        if (
            not isinstance(values, list)
            or len(values) != 3
            or not all(isinstance(v, float | int) for v in values)
        ):
            raise WeightsCorrupt(
                f"{part}/preprocessor_config.json has no three numbers {key}; fetch it again"
            )
        found.append(tuple(map(float, values)))
    return found[0], found[1]


def _fetch(repo: str, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(repo, allow_patterns=list(FILES), local_files_only=offline))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise WeightsMissing(
            f"{repo} could not be fetched ({reason}); check the name and the connection, or name a directory"
        ) from error
