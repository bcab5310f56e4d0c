"""The networks of matching: a feature pyramid and the denoiser of fields.

Reference:
    Denoiser: Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models, ICML 2021, at a small size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.matching.fields import size_of

GROUPS = 8
FAINTEST = 0.02
"""Smallest standard deviation that a picture in [-1, 1] is divided by, so that a blank one stays blank."""


class Features(NamedTuple):
    """What matching reads of a picture.

    Shapes (S x S pixels):
        coarse: levels (B, D, S/8, S/8) first, then (B, D', S/16, S/16); any levels that ``global_cost`` takes
        fine: (B, 24, S/2, S/2) of unit length, or None
        inside: bool (B, S/8, S/8), the cells that show the picture, or None for all of them
    """

    coarse: tuple[Tensor, ...]
    fine: Tensor | None = None
    inside: Tensor | None = None


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip connection, normalised by groups."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, width), nn.GroupNorm(GROUPS, width)
        self.conv1, self.conv2 = _seeing(width, width), _seeing(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual to ``x`` (B, width, H, W), same shape out."""
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class Wide(nn.Module):
    """A bottleneck with a dilated convolution: a large field of view for few parameters."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        inner = width // 2
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, width), nn.GroupNorm(GROUPS, inner)
        self.norm3 = nn.GroupNorm(GROUPS, inner)
        self.into, self.out = nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1)
        self.conv = _seeing(inner, inner, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual to ``x`` (B, width, H, W), same shape out."""
        h = self.into(F.silu(self.norm1(x)))
        h = self.conv(F.silu(self.norm2(h)))
        return x + self.out(F.silu(self.norm3(h)))


class FeatureNet(nn.Module):
    """Feature pyramid of one picture.

    Args:
        widths: Channels at 1/2, 1/4, 1/8 and 1/16 of the size, multiples of 8, the last of 16.
        blocks: Residual blocks at each of them; the last are dilated 1, 2, 4, 1, 2, 4 ...
        coarse: Channels of the coarse levels.
        fine: Channels of the fine level.

    Shapes:
        image (B, 3, H, W) in [-1, 1], sides multiples of 16 -> ``Features``
    """

    def __init__(
        self,
        widths: Sequence[int] = (24, 48, 80, 128),
        blocks: Sequence[int] = (1, 1, 2, 4),
        coarse: int = 128,
        fine: int = 24,
    ) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = widths
        self.at2 = nn.Sequential(_halving(3, half, kernel=6), *_residuals(half, blocks[0]))
        self.at4 = nn.Sequential(_halving(half, quarter), *_residuals(quarter, blocks[1]))
        self.at8 = nn.Sequential(_halving(quarter, eighth), *_residuals(eighth, blocks[2]))
        dilated = [Wide(sixteenth, (1, 2, 4)[i % 3]) for i in range(blocks[3])]
        self.at16 = nn.Sequential(_halving(eighth, sixteenth, kernel=2), *dilated)
        self.lateral = nn.Conv2d(eighth, sixteenth, 1)
        self.merge = _head(sixteenth, coarse)
        self.top = _head(sixteenth, coarse)
        self.fine_lateral = nn.Conv2d(quarter, half, 1)
        self.fine = _head(half, fine)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    @property
    def temperature(self) -> Tensor:
        """By which cosines are divided before a softmax; learned, from 0.005 to 1."""
        return self.log_scale.clamp(0, math.log(200)).neg().exp()

    def forward(self, image: Tensor, inside: Tensor | None = None, fine: bool = True) -> Features:
        """Compute the features.

        Args:
            image: Pictures in [-1, 1].
            inside: Where they show something, for pictures on a larger canvas; everywhere without it.
            fine: Whether the fine level is wanted.

        Shapes:
            image (B, 3, H, W), inside bool (B, 1, H, W)
        """
        x2 = self.at2(standardised(image, inside))  # (B, 24, H/2, W/2)
        x4 = self.at4(x2)  # (B, 48, H/4, W/4)
        x8 = self.at8(x4)  # (B, 80, H/8, W/8)
        x16 = self.at16(x8)  # (B, 128, H/16, W/16)
        merged = self.merge(self.lateral(x8) + _doubled(x16))  # (B, 128, H/8, W/8)
        levels = [merged, self.top(x16)]
        if fine:
            levels.append(self.fine(x2 + _doubled(self.fine_lateral(x4))))
        units = [F.normalize(level.float(), dim=1) for level in levels]
        if inside is None:
            return Features((units[0], units[1]), units[2] if fine else None)
        masks = [F.adaptive_avg_pool2d(inside.float(), size_of(unit)) > 0.5 for unit in units]
        units = [unit * mask for unit, mask in zip(units, masks, strict=True)]
        return Features((units[0], units[1]), units[2] if fine else None, masks[0][:, 0])


def standardised(image: Tensor, inside: Tensor | None = None) -> Tensor:
    """Bring each picture to mean 0 and standard deviation 1 over its pixels; what is outside becomes 0.

    Shapes:
        image (B, 3, H, W), inside bool (B, 1, H, W) -> (B, 3, H, W)
    """
    if inside is None:
        mean, std = image.mean((1, 2, 3), keepdim=True), image.std((1, 2, 3), keepdim=True)
        return (image - mean) / std.clamp(min=FAINTEST)
    count = 3 * inside.sum((1, 2, 3), keepdim=True).clamp(min=1)
    mean = (image * inside).sum((1, 2, 3), keepdim=True) / count
    centered = (image - mean) * inside
    std = (centered.square().sum((1, 2, 3), keepdim=True) / count).sqrt()
    return centered / std.clamp(min=FAINTEST)


class FieldDenoiser(nn.Module):
    """U-Net that predicts a field from a noisy one, its conditions and the time.

    The first convolution is split into a part for the conditions, which is the same for all samples and steps and
    computed once by ``encode``, and a part for the noisy field; together they are one convolution of the
    concatenation.

    Args:
        condition: Channels of the conditions.
        widths: Channels at each resolution, the resolution halved from one to the next; multiples of 8.
        blocks: Residual blocks a resolution on the way down, and as many on the way up.
        attention: How many of the lowest resolutions have self-attention.
        patch: 1, or 2 to work on squares of 2 x 2 cells, four times as fast.
        self_conditioning: Whether it also reads its previous prediction.

    Shapes:
        x (B, 2, h, w), time (B,) -> (B, 3, h, w): field in the diffused variable, and the logarithm of its error
        scale in cells; h and w are multiples of ``patch * 2^(len(widths) - 1)``
    """

    def __init__(
        self,
        condition: int,
        widths: Sequence[int],
        blocks: int = 2,
        attention: int = 2,
        patch: int = 1,
        self_conditioning: bool = True,
    ) -> None:
        super().__init__()
        base, embedding = widths[0], 2 * widths[0]
        kernel = 3 if patch == 1 else 4
        self.base, self.patch, self.self_conditioning = base, patch, self_conditioning
        self.condition = nn.Conv2d(condition, base, kernel, stride=patch, padding=1)
        noisy = 4 if self_conditioning else 2
        self.noisy = nn.Conv2d(noisy, base, kernel, stride=patch, padding=1, bias=False)
        self.embed = nn.Sequential(nn.Linear(base, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        attends = [level >= len(widths) - attention for level in range(len(widths))]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(widths):
            self.down.append(_layers([width] * blocks, width, embedding, attends[i]))
            self.up.append(_layers([2 * width] * blocks, width, embedding, attends[i]))
            if i + 1 < len(widths):
                self.shrink.append(_halving(width, widths[i + 1], kernel=2))
                self.grow.append(_conv(widths[i + 1], width))
        self.middle = _layers([widths[-1]], widths[-1], embedding, attention > 0)
        self.norm = nn.GroupNorm(GROUPS, base)
        self.out = _silent(_conv(base, 3 * patch * patch))

    def encode(self, condition: Tensor) -> Tensor:
        """Compute the part of the first layer that depends on the conditions only.

        Shapes:
            (B, C, h, w) -> (B, widths[0], h / patch, w / patch)
        """
        return self.condition(condition)

    def forward(self, x: Tensor, time: Tensor, encoded: Tensor, previous: Tensor | None = None) -> Tensor:
        """Predict the field.

        Args:
            x: Noisy field.
            time: Noise level, 0 to 1.
            encoded: What ``encode`` gave.
            previous: Earlier prediction of x0; zeros without it.

        Shapes:
            x, previous (B, 2, h, w), time (B,), encoded (B, widths[0], h / patch, w / patch) -> (B, 3, h, w)
        """
        if self.self_conditioning:
            x = torch.cat([x, torch.zeros_like(x) if previous is None else previous], dim=1)
        h = self.noisy(x) + encoded
        emb = self.embed(_sinusoids(time, self.base))
        skips = []
        for i, layers in enumerate(self.down):
            for layer in layers:  # pyright: ignore[reportGeneralTypeIssues]
                h = layer(h, emb)
                skips.append(h)
            if i < len(self.shrink):
                h = self.shrink[i](h)
        for layer in self.middle:
            h = layer(h, emb)
        for i in reversed(range(len(self.up))):
            for layer in self.up[i]:  # pyright: ignore[reportGeneralTypeIssues]
                h = layer(torch.cat([h, skips.pop()], dim=1), emb)
            if i:
                h = F.interpolate(self.grow[i - 1](h), scale_factor=2, mode="nearest")
        return F.pixel_shuffle(self.out(F.silu(self.norm(h))), self.patch)


class TimedResidual(nn.Module):
    """Residual block whose second normalisation is scaled and shifted by the time; attention may follow."""

    def __init__(self, before: int, width: int, embedding: int, attention: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, before), nn.GroupNorm(GROUPS, width)
        self.conv1, self.conv2 = _conv(before, width), _silent(_conv(width, width))
        self.time = nn.Linear(embedding, 2 * width)
        self.skip = nn.Identity() if before == width else nn.Conv2d(before, width, 1)
        self.attention = Attention(width) if attention else None

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map ``x`` (B, before, h, w) to (B, width, h, w)."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.time(F.silu(emb))[:, :, None, None].chunk(2, dim=1)
        h = self.skip(x) + self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return h if self.attention is None else self.attention(h)


class Attention(nn.Module):
    """Self-attention over all cells, four heads."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, width)
        self.qkv, self.out = nn.Conv2d(width, 3 * width, 1), _silent(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Add what each cell of ``x`` (B, width, h, w) reads from the others."""
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1))  # (B, 3, heads, D, h*w)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        h = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2)  # (B, heads, D, h*w)
        return x + self.out(h.reshape(x.shape))


def _conv(before: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(before, width, 3, padding=1)


def _silent(conv: nn.Conv2d) -> nn.Conv2d:
    """Start at zero, so that the layer adds nothing before it has learned."""
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


def _seeing(before: int, width: int, dilation: int = 1) -> nn.Conv2d:
    """A convolution that repeats the border, so that features cannot tell where in the picture they are."""
    return nn.Conv2d(before, width, 3, padding=dilation, dilation=dilation, padding_mode="replicate")


def _halving(before: int, width: int, kernel: int = 4) -> nn.Conv2d:
    """An even kernel keeps the centers of cells where they are; an odd one would shift them by half a cell."""
    return nn.Conv2d(before, width, kernel, stride=2, padding=kernel // 2 - 1, padding_mode="replicate")


def _residuals(width: int, count: int) -> list[nn.Module]:
    return [Residual(width) for _ in range(count)]


def _head(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), _seeing(width, out))


def _layers(befores: Sequence[int], width: int, embedding: int, attention: bool) -> nn.ModuleList:
    return nn.ModuleList(TimedResidual(before, width, embedding, attention) for before in befores)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _sinusoids(time: Tensor, width: int) -> Tensor:
    """Sines and cosines of the time, (B,) in [0, 1], at ``width / 2`` frequencies: (B, width)."""
    rates = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=time.device) / (width // 2))
    angle = 1000 * time[:, None] * rates
    return torch.cat([angle.cos(), angle.sin()], dim=1)
