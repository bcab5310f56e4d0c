"""The judge: reads the attributes of a picture of the rendered world, so that samples can be scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.core.errors import ConfigError, InputError

Answer = dict[str, Any]


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip connection, normalised by groups (batch of one = batch of many)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual to ``x`` (B, width, H, W), same shape out."""
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class Judge(nn.Module):
    """One convolutional trunk and a linear head for each attribute.

    About 0.8 M parameters and 80 million multiply-adds an image at 64 x 64. Two coordinate channels join the
    picture, because a viewpoint is told by where the horizon is.

    Args:
        attributes: The values of each attribute in a fixed order, e.g. ``{"color": ("red", "blue")}``.
        size: Side of the square picture in pixels, a multiple of 8.
        widths: Channels at 1/2, 1/4 and 1/8 of the size, each a multiple of 8.
        depths: Residual blocks at each of these resolutions.

    Shapes:
        image (B, 3, size, size) in [-1, 1] -> one (B, V) a head, V = number of values of the attribute.
    """

    def __init__(
        self,
        attributes: Mapping[str, Sequence[Any]],
        size: int = 64,
        widths: Sequence[int] = (24, 64, 128),
        depths: Sequence[int] = (1, 1, 2),
    ) -> None:
        super().__init__()
        if not attributes or any(len(values) < 2 for values in attributes.values()):
            raise ConfigError(f"attributes needs at least two values each, got {dict(attributes)}")
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        self.size, self.widths, self.depths = size, tuple(widths), tuple(depths)

        layers: list[nn.Module] = []
        before = 5
        for width, depth in zip(widths, depths, strict=True):
            kernel = 3 if layers else 5
            layers.append(nn.Conv2d(before, width, kernel, stride=2, padding=kernel // 2))
            layers += [Residual(width) for _ in range(depth)]
            before = width
        self.trunk = nn.Sequential(*layers, nn.GroupNorm(8, before), nn.SiLU())
        self.heads = nn.ModuleDict({n: nn.Linear(2 * before, len(v)) for n, v in self.attributes.items()})

        axis = torch.linspace(-1, 1, size)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer("grid", torch.stack([x, y]), persistent=False)

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as ``config.json`` keeps them."""
        return {
            "attributes": {name: list(values) for name, values in self.attributes.items()},
            "size": self.size,
            "widths": list(self.widths),
            "depths": list(self.depths),
        }

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the logits of each attribute, differentiable in the picture.

        Args:
            image: (B, 3, size, size) in [-1, 1].

        Returns:
            Attribute name -> (B, V) logits in the order of ``attributes``.

        Raises:
            InputError: The picture has another shape.
        """
        if image.ndim != 4 or image.shape[1:] != (3, self.size, self.size):
            raise InputError(
                f"the judge reads (B, 3, {self.size}, {self.size}), got {tuple(image.shape)}; resize first"
            )
        grid = self.get_buffer("grid").to(image)
        x = torch.cat([image, grid.expand(len(image), -1, -1, -1)], dim=1)  # (B, 5, size, size)
        x = self.trunk(x)  # (B, C, size/8, size/8)
        features = torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)  # (B, 2C)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def probabilities(self, image: Tensor) -> dict[str, Tensor]:
        """Return the probability of each value.

        Args:
            image: (B, 3, size, size) in [-1, 1], on any device.

        Returns:
            Attribute name -> (B, V), rows summing to one, float32 on the judge's device.
        """
        weight = next(self.parameters())
        logits = self(image.to(device=weight.device, dtype=weight.dtype))
        return {name: x.float().softmax(dim=1) for name, x in logits.items()}

    def answers(self, images: np.ndarray, batch: int = 64) -> list[Answer]:
        """Name the likeliest value of each attribute.

        Args:
            images: uint8 (B, size, size, 3), or one picture (size, size, 3).
            batch: Pictures a forward pass, at least 1.

        Returns:
            One dict a picture: attribute name -> value.

        Raises:
            InputError: The array is not uint8 RGB.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[-1] != 3:
            raise InputError(
                f"expected uint8 (B, H, W, 3), got {images.dtype} {images.shape}; convert the pictures first"
            )
        stack = images if images.ndim == 4 else images[None]
        found: list[Answer] = []
        for start in range(0, len(stack), batch):
            part = torch.from_numpy(np.ascontiguousarray(stack[start : start + batch]))
            chances = self.probabilities(part.permute(0, 3, 1, 2).float() / 127.5 - 1)
            best = {name: p.argmax(dim=1).tolist() for name, p in chances.items()}
            found += [{n: self.attributes[n][k[i]] for n, k in best.items()} for i in range(len(part))]
        return found

    @classmethod
    def from_pretrained(cls, source: str | Path = "pocket-judge") -> Self:
        """Load a judge in evaluation mode, float32.

        Args:
            source: A pocket name or a directory with ``config.json`` and ``model.safetensors``.

        Returns:
            The judge on the CPU.

        Raises:
            WeightsError: The files are missing, damaged, or of another model.
        """
        from diffwright.weights.module import load_module
        from diffwright.weights.names import resolve

        return load_module(resolve(source), cls).eval()

    def save_pretrained(self, directory: str | Path, card: str | None = None) -> None:
        """Write ``config.json``, ``model.safetensors`` and, if given, the model card.

        Args:
            directory: Where the files go; made if missing.
            card: Text of the model card, in Markdown.
        """
        from diffwright.weights.module import save_module

        save_module(Path(directory), self, self.config, card)


@dataclass(frozen=True)
class Guess:
    """What a judge says of an attribute where there is nothing to see.

    Attributes:
        value: Its commonest answer.
        share: Of the pictures that get this answer.
        confidence: Mean probability of the likeliest value.
    """

    value: Any
    share: float
    confidence: float


def guesses(judge: Judge, count: int = 64) -> dict[str, dict[str, Guess]]:
    """Ask a judge about pictures that show nothing.

    Args:
        judge: The judge.
        count: Pictures of each sort.

    Returns:
        ``noise`` (uniform, each pixel by itself) and ``blank`` (one gray each, from black to white), for each
        the guesses by attribute.
    """
    shape = (count, 3, judge.size, judge.size)
    pictures = {
        "noise": torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1,
        "blank": torch.linspace(-1, 1, count).view(-1, 1, 1, 1).expand(shape),
    }
    found: dict[str, dict[str, Guess]] = {}
    for sort, images in pictures.items():
        found[sort] = {}
        for name, chances in judge.probabilities(images).items():
            best = chances.argmax(1).bincount(minlength=chances.shape[1])
            value, share = judge.attributes[name][int(best.argmax())], float(best.max() / count)
            found[sort][name] = Guess(value, share, float(chances.amax(1).mean()))
    return found
