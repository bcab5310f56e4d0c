"""The same editor around an inpainting UNet of Stable Diffusion's shape, with its own CLIP text encoder.

A published checkpoint reads instructions but no characters. Recipe ``scenetext-sd`` teaches it, and what it writes is
put around the checkpoint again by :func:`wrap`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffwright.core.errors import UnsupportedBackbone, WeightsCorrupt
from diffwright.scenetext import characters
from diffwright.scenetext.dual import Conditions, install
from diffwright.scenetext.model import missing_as_spaces
from diffwright.scenetext.nets import CharacterEncoder

SETTINGS = {"width": 32, "heads": 2, "layers": 0, "separate_tokens": True, "enlarge": 4}
"""The paper's character encoder, with padding, space and unknown apart; strips of 128 pixels become 512."""

PLAIN = (
    "plain Stable Diffusion was given, which reads no characters and cannot spell; train its character encoder with "
    "`diffwright train scenetext-sd`, give the folder that it writes, and the checkpoint as base"
)


class SdSceneText(nn.Module):
    """An inpainting pipeline whose UNet reads characters, too; it serves ``sampling.write`` like our own model.

    Args:
        pipe: A ``StableDiffusionInpaintPipeline`` or what has the same parts; its UNet is changed in place.
        width: Channels of a character token.
        heads: Attention heads of the character branches.
        layers: Layers of the character encoder.
        separate_tokens: Padding, space, unknown and both ends apart, and padding masked.
        enlarge: How many pixels of the pipeline's pictures a pixel of a strip becomes.

    Raises:
        UnsupportedBackbone: The UNet does not take mask and masked latents.
    """

    guidance = (7.5, 7.5)
    """The paper's, of both encoders together."""
    steps = 30

    def __init__(
        self, pipe: Any, width: int = 32, heads: int = 2, layers: int = 0, separate_tokens: bool = True,
        enlarge: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        config = pipe.unet.config
        if config.in_channels != 2 * config.out_channels + 1:
            raise UnsupportedBackbone(
                f"the UNet takes {config.in_channels} channels, expected {2 * config.out_channels + 1} with mask "
                "and masked latents; give an inpainting checkpoint"
            )
        self.settings = {
            "width": width, "heads": heads, "layers": layers, "separate_tokens": separate_tokens, "enlarge": enlarge
        }  # fmt: skip
        self.pipe = [pipe]  # in a list, so that a pipeline that is a module does not become a part
        self.unet, self.text_encoder = pipe.unet, pipe.text_encoder
        self.tokenizer, self.scheduler = pipe.tokenizer, pipe.scheduler
        install(self.unet, width, heads)
        weight = next(self.unet.parameters())
        self.characters = CharacterEncoder(width, layers, places=False).to(weight.device, weight.dtype)

    @property
    def enlarge(self) -> int:
        """How many pixels of the pipeline's pictures a pixel of a strip becomes."""
        return int(self.settings["enlarge"])

    @property
    def vae(self) -> Any:
        """The pipeline's autoencoder."""
        return self.pipe[0].vae

    def encode(self, texts: Sequence[str | None], sentences: Sequence[str | None]) -> Conditions:
        """Encode what is to be written and how; None leaves a branch out.

        Raises:
            InputError: Their numbers differ.
        """
        (words, said), told = missing_as_spaces(texts, sentences)
        weight = next(self.characters.parameters())
        length = self.tokenizer.model_max_length
        ids = self.tokenizer(
            said, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids
        context = self.text_encoder(ids.to(weight.device))[0]
        numbers, keep = characters.encode(words, plain=not self.settings["separate_tokens"])
        numbers, keep = numbers.to(weight.device), keep.to(weight.device)
        return Conditions(context, None, self.characters(numbers, keep), keep, told.to(weight.device))

    def predict(self, x_t: Tensor, mask: Tensor, masked: Tensor, t: Tensor, conditions: Conditions) -> Tensor:
        """Predict the noise, or v, of noisy latents; arguments and shapes as of ``SceneTextModel.predict``."""
        weight = next(self.unet.parameters())
        x = torch.cat([part.to(weight) for part in (x_t, mask, masked)], dim=1)
        return self.unet(x, t, conditions).sample

    def learned(self) -> dict[str, nn.Module]:
        """What training changes: the whole UNet, as in the paper, and the character encoder."""
        return {"unet": self.unet, "characters": self.characters}

    def save_pretrained(self, directory: str | PathLike[str], card: str | None = None) -> None:
        """Write what was learned: ``config.json`` and ``model.safetensors``, in the weights' own type."""
        from diffwright.weights.module import save_module

        save_module(Path(directory), _Learned(self), self.settings, card)


class _Learned(nn.Module):
    def __init__(self, model: SdSceneText) -> None:
        super().__init__()
        self.unet, self.characters = model.unet, model.characters


def wrap(pipe: Any, source: str | PathLike[str] | None = None) -> SdSceneText:
    """Put a trained character encoder and its branches around an inpainting pipeline.

    Args:
        pipe: A ``StableDiffusionInpaintPipeline`` of the checkpoint that was trained; its UNet is changed in place.
        source: What recipe ``scenetext-sd`` wrote.

    Raises:
        UnsupportedBackbone: No source is given, or the pipeline is of another shape.
        WeightsError: The files are missing, damaged or do not fit.
    """
    from diffwright.weights.components import fill
    from diffwright.weights.folder import Folder
    from diffwright.weights.module import CLASS, CONFIG, TENSORS
    from diffwright.weights.names import resolve
    from diffwright.weights.verify import read_tensors

    if source is None:
        raise UnsupportedBackbone(PLAIN)
    folder = Folder(resolve(source))
    config = folder.json(CONFIG)
    if config.pop(CLASS, None) != _Learned.__name__:
        raise UnsupportedBackbone(f"{folder.root} holds another model; give what scenetext-sd wrote")
    model = SdSceneText(pipe, **_settings(config, str(folder.root)))
    weight = next(model.unet.parameters())
    fill(_Learned(model), read_tensors(folder.file(TENSORS)), weight.dtype, str(folder.root))
    return model.eval()


def _settings(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    good = config.keys() == SETTINGS.keys() and all(type(config[k]) is type(v) for k, v in SETTINGS.items())
    if (
        not good
        or not all(0 <= config[k] <= 4096 for k in ("width", "heads", "layers"))
        or not config["heads"]
        or not 1 <= config["enlarge"] <= 16
    ):
        raise WeightsCorrupt(f"the configuration in {name} describes no character encoder; fetch it again")
    return dict(config)
