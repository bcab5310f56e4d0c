"""The image prompt: a picture beside the text, as extra keys and values of every cross-attention.

Files have the layout that diffusers' ``load_ip_adapter`` reads: ``image_proj.*`` for the resampler and
``ip_adapter.N.to_k_ip.weight``, ``ip_adapter.N.to_v_ip.weight`` with N = 1, 3, 5 ... in the UNet's own order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from diffwright.core.errors import UnsupportedBackbone, WeightsCorrupt
from diffwright.core.images import to_pil
from diffwright.editing.nets import HEAD, Resampler
from diffwright.weights.components import fill, refuse_code
from diffwright.weights.folder import Folder
from diffwright.weights.module import CONFIG, TENSORS, save_module
from diffwright.weights.names import resolve
from diffwright.weights.verify import read_tensors

TOWER = "image_encoder"
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
TOWER_KEYS = (
    *(
        "hidden_act",
        "hidden_size",
        "image_size",
        "intermediate_size",
        "layer_norm_eps",
        "num_attention_heads",
    ),
    *("num_channels", "num_hidden_layers", "patch_size", "projection_dim"),
)


class ImageTower:
    """A CLIP image tower and how it wants its pictures.

    Args:
        model: a ``CLIPVisionModelWithProjection``.
        mean: of the colors it was trained on, in [0, 1].
        std: their standard deviation.
    """

    def __init__(
        self, model: Any, mean: tuple[float, ...] = CLIP_MEAN, std: tuple[float, ...] = CLIP_STD
    ) -> None:
        self.model, self.mean, self.std = model, mean, std

    @classmethod
    def of(cls, pipe: Any) -> ImageTower | None:
        """Take a pipeline's own tower; None where it has none."""
        model, processor = getattr(pipe, TOWER, None), getattr(pipe, "feature_extractor", None)
        if model is None:
            return None
        return cls(model) if processor is None else cls(model, processor.image_mean, processor.image_std)

    @classmethod
    def load(cls, source: str | PathLike[str]) -> ImageTower:
        """Load the tower of a pocket model or a model directory from its ``image_encoder`` folder.

        Raises:
            WeightsError: it is missing, damaged or unsafe.
        """
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        folder = Folder(resolve(source))
        config = folder.json(f"{TOWER}/{CONFIG}")
        refuse_code(config, f"{TOWER}/{CONFIG}")
        with torch.device("meta"):
            known = {key: config[key] for key in TOWER_KEYS if key in config}
            model = CLIPVisionModelWithProjection(CLIPVisionConfig(**known))
        fill(model, read_tensors(folder.file(f"{TOWER}/{TENSORS}")), torch.float32, str(folder.root / TOWER))
        for module in model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_meta:
                    module.register_buffer(name, torch.arange(buffer.shape[-1])[None], persistent=False)
        name = "feature_extractor/preprocessor_config.json"
        looks = folder.json(name) if folder.has(name) else {}
        mean, std = looks.get("image_mean", CLIP_MEAN), looks.get("image_std", CLIP_STD)
        return cls(model.eval(), mean, std)

    @property
    def width(self) -> int:
        """Channels of its tokens."""
        return self.model.config.hidden_size

    def pixels(self, image_u8: np.ndarray) -> Tensor:
        """Squash a picture to the tower's square, nothing cropped, and normalise it: (1, 3, S, S)."""
        side = self.model.config.image_size
        small = to_pil(image_u8).resize((side, side), Image.Resampling.BICUBIC)
        unit = torch.from_numpy(np.array(small, dtype=np.float32) / 255).permute(2, 0, 1)[None]
        mean, std = (torch.tensor(c).view(1, 3, 1, 1) for c in (self.mean, self.std))
        return (unit - mean) / std

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Tokens before the last layer, (B, T, width)."""
        parameter = next(self.model.parameters())
        seen = self.model(pixels.to(parameter), output_hidden_states=True)
        return seen.hidden_states[-2]


class ImagePrompt(nn.Module):
    """A resampler and, for each cross-attention of a UNet, a key and a value projection.

    Args:
        image_proj: from the tower's tokens to prompt tokens.
        sizes: (context, channels) of each cross-attention in the UNet's order.

    Shapes:
        -> state dict in the published layout
    """

    def __init__(self, image_proj: nn.Module, sizes: list[tuple[int, int]]) -> None:
        super().__init__()
        self.image_proj = image_proj
        self.ip_adapter = nn.ModuleDict(
            {
                str(2 * number + 1): nn.ModuleDict(
                    {
                        "to_k_ip": nn.Linear(context, channels, bias=False),
                        "to_v_ip": nn.Linear(context, channels, bias=False),
                    }
                )
                for number, (context, channels) in enumerate(sizes)
            }
        )

    @classmethod
    def new(cls, unet: Any, image_width: int, *, width: int = 128, queries: int = 16) -> ImagePrompt:
        """An untrained one that changes little: its keys are the text's, its values start at the text's too.

        Args:
            unet: whose cross-attentions it serves.
            image_width: channels of the image tower.
            width: channels of the resampler, a multiple of 64.
            queries: prompt tokens.
        """
        attentions = cross_attentions(unet)
        context = attentions[0].to_k.in_features
        prompt = cls(
            Resampler(image_width, context, width, width // HEAD, queries),
            [(a.to_k.in_features, a.to_k.out_features) for a in attentions],
        )
        with torch.no_grad():
            for layer, attention in zip(prompt.ip_adapter.values(), attentions, strict=True):
                layer["to_k_ip"].weight.copy_(attention.to_k.weight)  # pyright: ignore
                layer["to_v_ip"].weight.copy_(attention.to_v.weight)  # pyright: ignore
        return prompt

    @classmethod
    def of(cls, pipe: Any) -> ImagePrompt | None:
        """Take over what ``load_ip_adapter`` put into a pipeline; None where it holds nothing.

        Raises:
            UnsupportedBackbone: it holds several adapters, or one without a resampler.
        """
        loaded = getattr(pipe.unet, "encoder_hid_proj", None)
        if loaded is None:
            return None
        projections = list(getattr(loaded, "image_projection_layers", []))
        if len(projections) != 1 or not hasattr(projections[0], "latents"):
            raise UnsupportedBackbone(
                f"the pipeline holds {len(projections)} image prompts, or one without a resampler; load a single"
                " checkpoint of the plus layout, or none"
            )
        attentions = cross_attentions(pipe.unet)
        prompt = cls(projections[0], [(a.to_k.in_features, a.to_k.out_features) for a in attentions])
        for layer, attention in zip(prompt.ip_adapter.values(), attentions, strict=True):
            layer["to_k_ip"] = attention.processor.to_k_ip[0]  # pyright: ignore
            layer["to_v_ip"] = attention.processor.to_v_ip[0]  # pyright: ignore
        return prompt

    @classmethod
    def from_pretrained(cls, source: str | PathLike[str]) -> ImagePrompt:
        """Load a checkpoint in the published layout.

        Args:
            source: a pocket name, a directory with ``model.safetensors``, or a safetensors file.

        Raises:
            WeightsError: it is missing, damaged or of another layout.
        """
        path = Path(source)
        path = path if path.suffix == ".safetensors" and path.is_file() else resolve(source) / TENSORS
        return cls.from_tensors(read_tensors(Folder(path.parent).file(path.name)), str(path))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], name: str = "the checkpoint") -> ImagePrompt:
        """Build one from the tensors of a checkpoint; their shapes say how large it is.

        Raises:
            WeightsCorrupt: tensors are missing or do not fit each other.
        """
        try:
            _, queries, width = tensors["image_proj.latents"].shape
            image_width = tensors["image_proj.proj_in.weight"].shape[1]
            context = tensors["image_proj.proj_out.weight"].shape[0]
            heads = tensors["image_proj.layers.0.0.to_q.weight"].shape[0] // HEAD
            keys = [k for k in tensors if k.startswith("ip_adapter.") and k.endswith(".to_k_ip.weight")]
            keys.sort(key=lambda key: int(key.split(".")[1]))
            sizes = [(tensors[key].shape[1], tensors[key].shape[0]) for key in keys]
            depth = 1 + max(int(k.split(".")[2]) for k in tensors if k.startswith("image_proj.layers."))
        except (KeyError, ValueError, IndexError) as error:
            raise WeightsCorrupt(
                f"{name} is no image prompt of the plus layout ({error}); give one that load_ip_adapter reads"
            ) from error
        with torch.device("meta"):
            prompt = cls(Resampler(image_width, context, width, heads, queries, min(depth, 64)), sizes)
        fill(prompt, dict(tensors), torch.float32, name)
        return prompt.eval()

    def save_pretrained(self, folder: str | PathLike[str], card: str | None = None) -> Path:
        """Save in half precision so that ``load_ip_adapter(folder, "", "model.safetensors")`` reads it."""
        return save_module(folder, self, {}, card, dtype=torch.float16)

    @property
    def image_width(self) -> int:
        """Channels that the image tower must have."""
        return self.image_proj.proj_in.in_features  # pyright: ignore

    def check_fit(self, unet: Any, tower: ImageTower | None) -> None:
        """Check that it was made for this UNet and this tower.

        Raises:
            UnsupportedBackbone: it was not.
        """
        wanted = [(a.to_k.in_features, a.to_k.out_features) for a in cross_attentions(unet)]
        layers = [layer["to_k_ip"] for layer in self.ip_adapter.values()]  # pyright: ignore
        found = [(k.in_features, k.out_features) for k in layers]
        if wanted != found:
            raise UnsupportedBackbone(
                f"the image prompt has {len(found)} cross-attentions of sizes {found[:2]}..., the model"
                f" {len(wanted)} of {wanted[:2]}...; give one that was trained for this model"
            )
        if tower is not None and tower.width != self.image_width:
            raise UnsupportedBackbone(
                f"the image prompt reads tokens of width {self.image_width}, the image tower gives {tower.width}"
            )

    @torch.no_grad()
    def tokens(self, image_u8: np.ndarray, tower: ImageTower | None) -> tuple[Tensor, Tensor]:
        """Prompt tokens of a picture and of an empty one; zeros without a tower.

        Shapes:
            uint8 (H, W, 3) -> (1, queries, context), (1, queries, context)
        """
        parameter = next(self.image_proj.parameters())
        if tower is None:
            queries, context = self.image_proj.latents.shape[1], self.image_proj.proj_out.out_features  # pyright: ignore
            nothing = parameter.new_zeros(1, queries, context)  # pyright: ignore
            return nothing, nothing
        pixels = tower.pixels(image_u8)
        both = self.image_proj(tower(torch.cat([pixels, torch.zeros_like(pixels)])).to(parameter))
        return both[:1], both[1:]

    @contextmanager
    def installed(self, unet: Any) -> Iterator[Dial]:
        """Let the UNet's cross-attentions read image tokens while the block runs.

        Inside, ``encoder_hidden_states`` is a pair of the text's states and a list with the image tokens.

        Yields:
            The dial of its strength, at 0 first.
        """
        from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0

        dial, projection = Dial(), getattr(unet, "encoder_hid_proj", None)
        with ExitStack() as stack:
            for layer, attention in zip(self.ip_adapter.values(), cross_attentions(unet), strict=True):
                key, value = layer["to_k_ip"], layer["to_v_ip"]  # pyright: ignore
                processor = IPAdapterAttnProcessor2_0(key.out_features, key.in_features, (1,), 0.0)
                processor.to_k_ip, processor.to_v_ip = nn.ModuleList([key]), nn.ModuleList([value])
                stack.callback(attention.set_processor, attention.processor)
                attention.set_processor(processor)
                dial.scales.append(processor.scale)  # pyright: ignore[reportArgumentType]
            stack.callback(setattr, unet, "encoder_hid_proj", projection)
            unet.encoder_hid_proj = None
            yield dial


class Dial:
    """The strength of an installed image prompt; at 0 it costs nothing."""

    def __init__(self) -> None:
        self.scales: list[list[float]] = []

    def set(self, scale: float) -> None:
        """Set it for the passes that follow."""
        for entry in self.scales:
            entry[0] = scale


def cross_attentions(unet: Any) -> list[Any]:
    """Cross-attentions in the order in which checkpoints number them."""
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    return [unet.get_submodule(name.removesuffix(".processor")) for name in names]
