"""The matching model: feature net, matching diffusion and flow upsampling diffusion under one configuration."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Self

from torch import nn

from diffwright.core.checks import in_range, one_of, whole
from diffwright.core.errors import ConfigError
from diffwright.matching.nets import FeatureNet, FieldDenoiser

COARSE, FINE = 8, 2
"""Pixels a cell of the grids of stage 1 and stage 2."""

VARIABLES = ("fraction", "residual", "companded")


@dataclass(frozen=True, kw_only=True)
class MatchConfig:
    """What a matching model is made of, as ``config.json`` keeps it.

    Args:
        size: Side of the squares that both pictures are resized to, pixels; a multiple of 64. Stage 1 works on
            a grid of size / 8 cells, stage 2 on size / 2.
        stages: How many diffusion stages it has: 0 (features only), 1 or 2.
        feature_widths: Channels of the feature net at 1/2, 1/4, 1/8 and 1/16.
        feature_blocks: Its blocks there.
        coarse_channels: Width of the coarse features.
        fine_channels: Width of the fine features.
        stage1_widths: Channels of the first denoiser at 1, 1/2 ... of its grid.
        stage1_blocks: Its residual blocks a resolution.
        stage1_patch: 1, or 2 to let it work on squares of 2 x 2 cells, four times as fast.
        stage2_widths: The same of the second, whose first resolution is half its grid.
        stage2_blocks: Its residual blocks a resolution.
        attention: How many of the lowest resolutions have self-attention, in both.
        radius: Of the local cost, in cells.
        steps: T of the training.
        variable: What is diffused: ``fraction``, the field as a fraction of the grid (the paper); ``residual``, its
            difference from the initial field over ``residual_scale``; or ``companded``, the same after asinh, so
            that a tenth of a cell weighs as much where most cells are right as ten cells where they are wrong.
        residual_scale: Root mean square of that difference, in cells or companded, for stage 1 and stage 2.
        self_conditioning: Whether the denoisers read their previous prediction.
        extra_channels: Whether they read peak and lead of the match, and coordinates, beside the paper's 85.
        cost_injection: Whether they read the local cost.
        confidence: Coefficients of the confidence, see ``matching/confidence.py``.

    Raises:
        ConfigError: a value is out of range.
    """

    size: int = 256
    stages: int = 2
    feature_widths: tuple[int, ...] = (24, 48, 80, 128)
    feature_blocks: tuple[int, ...] = (1, 1, 2, 4)
    coarse_channels: int = 128
    fine_channels: int = 24
    stage1_widths: tuple[int, ...] = (40, 64, 96)
    stage1_blocks: int = 2
    stage1_patch: int = 2
    stage2_widths: tuple[int, ...] = (48, 48, 64)
    stage2_blocks: int = 1
    attention: int = 2
    radius: int = 4
    steps: int = 5
    variable: str = "companded"
    residual_scale: tuple[float, float] = (4.0, 4.0)
    self_conditioning: bool = True
    extra_channels: bool = True
    cost_injection: bool = True
    confidence: tuple[float, ...] = (2.0, -0.5, -0.3, -0.8, 0.2, 0.2)

    def __post_init__(self) -> None:
        for name in ("feature_widths", "feature_blocks", "stage1_widths", "stage2_widths"):
            object.__setattr__(self, name, _wholes(name, getattr(self, name)))
        for name in ("residual_scale", "confidence"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        whole("size", self.size, 64, 1024)
        for name, low, high in (
            ("stages", 0, 2),
            ("coarse_channels", 1, 1024),
            ("fine_channels", 1, 256),
            ("stage1_blocks", 1, 8),
            ("stage1_patch", 1, 2),
            ("stage2_blocks", 1, 8),
            ("attention", 0, 8),
            ("radius", 1, 8),
            ("steps", 1, 1000),
        ):
            whole(name, getattr(self, name), low, high)
        step = max(32, COARSE * self.stage1_patch * 2 ** (len(self.stage1_widths) - 1))
        if self.size % step:
            raise ConfigError(f"size is {self.size}, expected a multiple of {step}")
        one_of("variable", self.variable, VARIABLES)
        for name in ("self_conditioning", "extra_channels", "cost_injection"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected true or false")
        for name, length in (
            ("feature_widths", 4),
            ("feature_blocks", 4),
            ("residual_scale", 2),
            ("confidence", 6),
        ):
            if len(getattr(self, name)) != length:
                raise ConfigError(f"{name} has {len(getattr(self, name))} values, expected {length}")
        if min(self.residual_scale) <= 0:
            raise ConfigError(f"residual_scale is {self.residual_scale}, expected numbers above 0")

    @property
    def channels(self) -> int:
        """Channels of the conditions: initial field, local cost, extras."""
        cost = (2 * self.radius + 1) ** 2 if self.cost_injection else 0
        return 2 + cost + (4 if self.extra_channels else 0)

    def grid(self, stage: int) -> int:
        """Side of the grid of stage 1 or 2, in cells."""
        return self.size // (COARSE if stage == 1 else FINE)


class MatchModel(nn.Module):
    """The three networks of matching; absent stages are None.

    Args:
        config: Its configuration; the default one without it.
        settings: Fields of a :class:`MatchConfig` instead, as read from ``config.json``.

    Example:
        >>> model = MatchModel(MatchConfig(size=64, stages=1))
        >>> model.stage2 is None
        True
    """

    def __init__(self, config: MatchConfig | None = None, **settings: Any) -> None:
        super().__init__()
        self.config = config = config or _read(settings)
        self.features = FeatureNet(
            config.feature_widths, config.feature_blocks, config.coarse_channels, config.fine_channels
        )
        shared = {"attention": config.attention, "self_conditioning": config.self_conditioning}
        self.stage1 = self.stage2 = None
        if config.stages > 0:
            blocks, patch = config.stage1_blocks, config.stage1_patch
            self.stage1 = FieldDenoiser(config.channels, config.stage1_widths, blocks, patch=patch, **shared)
        if config.stages > 1:
            blocks = config.stage2_blocks
            self.stage2 = FieldDenoiser(config.channels, config.stage2_widths, blocks, patch=2, **shared)

    def denoiser(self, stage: int) -> FieldDenoiser:
        """Give the denoiser of a stage.

        Raises:
            ConfigError: the model has no such stage.
        """
        found = {1: self.stage1, 2: self.stage2}.get(stage)
        if found is None:
            raise ConfigError(
                f"stage {stage} was asked of a model with {self.config.stages} stages; train it"
            )
        return found

    @classmethod
    def from_pretrained(cls, source: str | PathLike[str] = "pocket-match") -> Self:
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
        import torch

        from diffwright.weights.module import save_module

        save_module(Path(directory), self, asdict(self.config), card, dtype=torch.float16)


def _read(settings: dict[str, Any]) -> MatchConfig:
    known = [field.name for field in fields(MatchConfig)]
    for name in settings:
        one_of("a setting of the matching model", name, known)
    return MatchConfig(**settings)


def _wholes(name: str, values: Any) -> tuple[int, ...]:
    values = tuple(values) if isinstance(values, list | tuple) else (values,)
    for value in values:
        whole(name, value, 1, 1024)
    if not 1 <= len(values) <= 6:
        raise ConfigError(f"{name} has {len(values)} values, expected 1 to 6")
    if name.endswith("widths") and (any(value % 8 for value in values) or values[-1] % 16):
        raise ConfigError(f"{name} is {values}, expected multiples of 8, the last of 16")
    return values


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    values = tuple(values) if isinstance(values, list | tuple) else (values,)
    for value in values:
        in_range(name, value, -1e4, 1e4)
    return tuple(map(float, values))
