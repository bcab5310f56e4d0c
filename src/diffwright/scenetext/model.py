"""The scene text model: inpainting UNet with two branches, their encoders, and the reader, under one configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from diffwright.core.checks import in_range, one_of, whole
from diffwright.core.errors import ConfigError, InputError
from diffwright.scenetext import characters, instructions
from diffwright.scenetext.dual import Conditions, install
from diffwright.scenetext.nets import WAVES, CharacterEncoder, InstructionEncoder, Reader, waves

HEIGHT, WIDTH = 32, 128
"""Pixels of a strip."""

PREDICTIONS = ("v_prediction", "epsilon")
ACROSS = 2
"""Octaves of the sines that tell rows of a region."""


@dataclass(frozen=True, kw_only=True)
class SceneTextConfig:
    """What a scene text model is made of, as ``config.json`` keeps it.

    The improved arm is the default. The paper's is ``FAITHFUL``.

    Args:
        latent_channels: Channels of the autoencoder's latents.
        widths: Channels of the UNet at 1, 1/2 ... of the latents, multiples of 16.
        attention: At which of them it reads; the last always does, in its middle.
        blocks: Residual blocks a resolution.
        character_branch: Whether characters are read beside the instruction.
        character_width: Channels of a character token, a multiple of 4.
        character_heads: Attention heads of the character branch.
        character_layers: Layers of its encoder; 0 is the paper's table.
        separate_tokens: Padding, space, unknown and both ends apart, and padding masked.
        places: Whether cells and characters tell where in the region they are.
        instruction_width: Channels of an instruction token, a multiple of 4.
        instruction_layers: Layers of its encoder.
        prediction: ``v_prediction`` on a schedule that ends in noise alone, or ``epsilon`` (the paper).
        guidance: Scales of the characters and of the instruction that it writes best with.
        steps: Of denoising.
        reader_widths: Channels of the reader.
        reader_layers: Its blocks along the row.

    Raises:
        ConfigError: a value is out of range.
    """

    latent_channels: int = 8
    widths: tuple[int, ...] = (64, 80)
    attention: tuple[bool, ...] = (False, True)
    blocks: int = 1
    character_branch: bool = True
    character_width: int = 128
    character_heads: int = 2
    character_layers: int = 2
    separate_tokens: bool = True
    places: bool = True
    instruction_width: int = 128
    instruction_layers: int = 2
    prediction: str = "v_prediction"
    guidance: tuple[float, float] = (3.0, 1.5)
    steps: int = 12
    reader_widths: tuple[int, ...] = (24, 48, 64, 80)
    reader_layers: int = 2

    def __post_init__(self) -> None:
        for name, count in (
            ("widths", None), ("attention", len(self.widths)), ("guidance", 2), ("reader_widths", 4),
        ):  # fmt: skip
            values = getattr(self, name)
            if not isinstance(values, list | tuple) or not values or (count and len(values) != count):
                raise ConfigError(f"{name} is {values!r}, expected a list of {count or 'some'} values")
            object.__setattr__(self, name, tuple(values))
        for name, step in (("widths", 16), ("reader_widths", 8)):
            for value in getattr(self, name):
                whole(name, value, step, 4096)
                if value % step:
                    raise ConfigError(f"{name} holds {value}, expected multiples of {step}")
        for name, low, high, step in (
            ("latent_channels", 1, 64, 1),
            ("blocks", 1, 8, 1),
            ("character_width", 4, 4096, 4),
            ("character_heads", 1, 64, 1),
            ("character_layers", 0, 24, 1),
            ("instruction_width", 4, 4096, 4),
            ("instruction_layers", 0, 24, 1),
            ("steps", 1, 1000, 1),
            ("reader_layers", 0, 8, 1),
        ):
            whole(name, getattr(self, name), low, high)
            if getattr(self, name) % step:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected a multiple of {step}")
        switches = [(n, getattr(self, n)) for n in ("character_branch", "separate_tokens", "places")]
        for name, value in [*switches, *(("attention", v) for v in self.attention)]:
            if not isinstance(value, bool):
                raise ConfigError(f"{name} is {value!r}, expected true or false")
        for value in self.guidance:
            in_range("guidance", value, 0, 100)
        one_of("prediction", self.prediction, PREDICTIONS)

    @property
    def channels(self) -> int:
        """Channels that enter the UNet: latents, mask, masked latents and, with places, their sines."""
        return 2 * self.latent_channels + 1 + (2 * (WAVES + ACROSS) if self.places else 0)


FAITHFUL: dict[str, Any] = {
    "character_layers": 0,
    "separate_tokens": False,
    "places": False,
    "prediction": "epsilon",
    "guidance": (7.5, 7.5),
    "steps": 30,
}
"""Settings of the paper's arm; its table is trained all the same."""


class SceneTextModel(nn.Module):
    """What writes words into strips, and reads them.

    Args:
        config: Its configuration; the default one without it.
        settings: Fields of a :class:`SceneTextConfig` instead, as read from ``config.json``.

    Example:
        >>> model = SceneTextModel(widths=(16, 16), character_width=8, instruction_width=8)
        >>> model.encode(["OPEN"], ['Write "OPEN"']).characters.shape
        torch.Size([1, 6, 8])
    """

    def __init__(self, config: SceneTextConfig | None = None, **settings: Any) -> None:
        super().__init__()
        self.config = c = config or _read(settings)
        self.unet = _unet(c)
        install(self.unet, c.character_width if c.character_branch else None, c.character_heads)
        self.characters = None
        if c.character_branch:
            self.characters = CharacterEncoder(c.character_width, c.character_layers, c.places)
        self.instructions = InstructionEncoder(c.instruction_width, c.instruction_layers)
        self.reader = Reader(c.reader_widths, c.reader_layers)  # pyright: ignore[reportArgumentType]

    @property
    def guidance(self) -> tuple[float, float]:
        """Scales of the characters and of the instruction."""
        return self.config.guidance

    @property
    def steps(self) -> int:
        """Steps of denoising."""
        return self.config.steps

    @cached_property
    def scheduler(self) -> Any:
        """Noise levels that it was trained on, a ``DDIMScheduler``."""
        from diffusers import DDIMScheduler

        return DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type=self.config.prediction,  # pyright: ignore[reportArgumentType]
            rescale_betas_zero_snr=self.config.prediction == "v_prediction",
            timestep_spacing="trailing",
            clip_sample=False,
        )

    def encode(self, texts: Sequence[str | None], sentences: Sequence[str | None]) -> Conditions:
        """Encode what is to be written and how.

        Args:
            texts: The words, "" to erase; None leaves the character branch out of the mean.
            sentences: The instructions; None leaves their branch out. Where both are None, both branches read a
                single space, as the paper's unconditional prediction does. A model without a character branch reads
                one wherever the instruction is None.

        Raises:
            InputError: Their numbers differ.
        """
        spoken, told = missing_as_spaces(texts, sentences)
        device = next(self.parameters()).device
        ids, keep = (t.to(device) for t in instructions.tokenize(spoken[1]))
        said = self.instructions(ids, keep)
        if self.characters is None:
            return Conditions(said, keep)
        numbers, real = characters.encode(spoken[0], plain=not self.config.separate_tokens)
        if self.config.separate_tokens:
            longest = int(real.sum(1).max())
            numbers, real = numbers[:, :longest], real[:, :longest]
        numbers, real = numbers.to(device), real.to(device)
        return Conditions(said, keep, self.characters(numbers, real), real, told.to(device))

    def predict(self, x_t: Tensor, mask: Tensor, masked: Tensor, t: Tensor, conditions: Conditions) -> Tensor:
        """Predict v (or the noise) of noisy latents.

        Args:
            x_t: Noisy latents.
            mask: 1 where they are repainted.
            masked: Latents of the strip whose hole is grey.
            t: Steps of the schedule.
            conditions: What ``encode`` gave.

        Shapes:
            x_t, masked (B, C, h, w), mask (B, 1, h, w) bool or number, t int64 (B,) -> (B, C, h, w)
        """
        m = mask.to(x_t.dtype)
        parts = [x_t, m, masked.to(x_t.dtype)]
        if self.config.places:
            parts.append(region_waves(m > 0.5).to(x_t.dtype))
        return self.unet(torch.cat(parts, dim=1), t, conditions).sample

    @classmethod
    def from_pretrained(cls, source: str | PathLike[str] = "pocket-text") -> Self:
        """Load a model in evaluation mode, float32, on the CPU.

        Args:
            source: A pocket name or a directory with ``config.json`` and ``model.safetensors``.

        Raises:
            WeightsError: The files are missing, damaged, unsafe, or of another model.
        """
        from diffwright.weights.module import load_module
        from diffwright.weights.names import resolve

        return load_module(resolve(source), cls).eval()

    def save_pretrained(self, directory: str | PathLike[str], card: str | None = None) -> None:
        """Write ``config.json``, ``model.safetensors`` (half precision) and, if given, the model card.

        Args:
            directory: Where the files go; made if missing.
            card: Text of the model card, in Markdown.
        """
        from diffwright.weights.module import save_module

        save_module(Path(directory), self, asdict(self.config), card, dtype=torch.float16)


def missing_as_spaces(
    texts: Sequence[str | None], sentences: Sequence[str | None]
) -> tuple[tuple[list[str], list[str]], Tensor]:
    """Replace missing conditions by a space, and say which branches take part: told, bool (B, 2).

    Raises:
        InputError: The numbers of texts and sentences differ.
    """
    if len(texts) != len(sentences):
        raise InputError(f"{len(texts)} texts and {len(sentences)} instructions were given, expected as many")
    told = torch.tensor([[s is not None, w is not None] for s, w in zip(sentences, texts, strict=True)])
    told = told.reshape(-1, 2) | ~told.reshape(-1, 2).any(1, keepdim=True)
    return (["" if w == "" else w or " " for w in texts], [s or " " for s in sentences]), told


def region_waves(mask: Tensor) -> Tensor:
    """Sines and cosines of each cell's place in the box around the mask, which is 0 to 1 in both directions.

    Shapes:
        bool (B, 1, h, w) -> (B, 14, h, w)
    """
    columns, rows = (_places(mask.any(dim).flatten(1)) for dim in (2, 3))  # (B, w), (B, h)
    h, w = mask.shape[-2:]
    across = waves(columns).transpose(1, 2)[:, :, None].expand(-1, -1, h, -1)
    down = waves(rows, ACROSS).transpose(1, 2)[..., None].expand(-1, -1, -1, w)
    return torch.cat([across, down], dim=1)


def _places(inside: Tensor) -> Tensor:
    """Where cells (B, n) lie between the first and the last marked one; all of them count where none is marked."""
    inside = (inside | ~inside.any(1, keepdim=True)).int()
    n = inside.shape[1]
    first, last = inside.argmax(1, keepdim=True), n - inside.flip(1).argmax(1, keepdim=True)
    cells = torch.arange(n, device=inside.device) + 0.5
    return ((cells - first) / (last - first)).clamp(-0.25, 1.25)


def _unet(c: SceneTextConfig) -> Any:
    from diffusers import UNet2DConditionModel

    down = tuple("CrossAttnDownBlock2D" if reads else "DownBlock2D" for reads in c.attention)
    up = tuple("CrossAttnUpBlock2D" if reads else "UpBlock2D" for reads in reversed(c.attention))
    return UNet2DConditionModel(
        sample_size=(HEIGHT // 4, WIDTH // 4),
        in_channels=c.channels,
        out_channels=c.latent_channels,
        block_out_channels=c.widths,
        down_block_types=down,  # pyright: ignore[reportArgumentType]
        up_block_types=up,  # pyright: ignore[reportArgumentType]
        layers_per_block=c.blocks,
        cross_attention_dim=c.instruction_width,
        attention_head_dim=tuple(max(1, w // 32) for w in c.widths),  # pyright: ignore[reportArgumentType]
        norm_num_groups=16,
        use_linear_projection=True,
    )


def _read(settings: dict[str, Any]) -> SceneTextConfig:
    known = [field.name for field in fields(SceneTextConfig)]
    for name in settings:
        one_of("a setting of the scene text model", name, known)
    return SceneTextConfig(**settings)
