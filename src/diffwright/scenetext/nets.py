"""The networks beside the UNet: encoders of characters and instructions, and the reader.

Reference:
    Encoders: Ji et al., Improving Diffusion Models for Scene Text Editing with Dual Encoders, TMLR 2024, section 3.
    Reader: Graves et al., Connectionist Temporal Classification, ICML 2006.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.scenetext.characters import BOS, COUNT, EOS, LENGTH, PAD
from diffwright.scenetext.instructions import BUCKETS
from diffwright.scenetext.instructions import LENGTH as WORDS

WAVES = 5
"""Octaves of the sines that tell places in a region, of 1/2 to 8 periods across it."""


def waves(place: Tensor, octaves: int = WAVES) -> Tensor:
    """Tell places in [0, 1] by sines and cosines.

    Shapes:
        (...) -> (..., 2 * octaves)
    """
    angle = place[..., None] * math.pi * 2.0 ** torch.arange(octaves, device=place.device)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class CharacterEncoder(nn.Module):
    """Characters as tokens: a table and learned positions; with layers, also what stands beside a character.

    With ``places`` each symbol has a learned width; the widths of a text add up to where in the region each of its
    characters stands, told by the same sines as the region's cells. No glyph enters.

    Args:
        width: Channels of the tokens.
        layers: Transformer layers; 0 is the paper's table.
        places: Whether tokens tell their place.
        length: Positions.

    Shapes:
        ids int64 (B, L), keep bool (B, L) -> (B, L, width), L at most ``length``
    """

    def __init__(self, width: int = 128, layers: int = 2, places: bool = True, length: int = LENGTH) -> None:
        super().__init__()
        self.table, self.position = nn.Embedding(COUNT, width), nn.Embedding(length, width)
        self.layers = _layers(width, layers)
        self.breadth = nn.Embedding(COUNT, 1) if places else None
        self.place = nn.Linear(2 * WAVES, width) if places else None
        for table in (self.table, self.position):
            nn.init.normal_(table.weight, std=0.5)
        if self.breadth is not None:
            nn.init.zeros_(self.breadth.weight)

    def centers(self, ids: Tensor) -> Tensor:
        """Where characters stand in the region, 0 its left edge and 1 its right; ends and padding have no width.

        Shapes:
            int64 (B, L) -> (B, L)
        """
        if self.breadth is None:
            raise ValueError("this encoder has no places")
        solid = (ids != PAD) & (ids != BOS) & (ids != EOS)
        wide = F.softplus(self.breadth(ids).squeeze(-1).float()) * solid
        return (wide.cumsum(1) - wide / 2) / wide.sum(1, keepdim=True).clamp(min=1e-3)

    def forward(self, ids: Tensor, keep: Tensor) -> Tensor:
        """Encode characters."""
        h = self.table(ids) + self.position.weight[: ids.shape[1]]
        if self.place is not None:
            h = h + self.place(waves(self.centers(ids)).to(h.dtype))
        for layer in self.layers:
            h = layer(h, keep)
        return h


class InstructionEncoder(nn.Module):
    """Words as means of their grams, then transformer layers.

    Args:
        width: Channels of the tokens.
        layers: Transformer layers.
        gram_width: Channels of the table of grams.

    Shapes:
        ids int64 (B, L, G), keep bool (B, L) -> (B, L, width)
    """

    def __init__(self, width: int = 128, layers: int = 2, gram_width: int = 32) -> None:
        super().__init__()
        self.grams = nn.Embedding(BUCKETS, gram_width, padding_idx=0)
        self.project = nn.Linear(gram_width, width)
        self.position = nn.Embedding(WORDS, width)
        self.layers = _layers(width, layers)
        nn.init.normal_(self.position.weight, std=0.5)

    def forward(self, ids: Tensor, keep: Tensor) -> Tensor:
        """Encode instructions."""
        count = (ids > 0).sum(-1, keepdim=True).clamp(min=1)
        h = self.project(self.grams(ids).sum(2) / count.sqrt())
        h = h + self.position.weight[: ids.shape[1]]
        for layer in self.layers:
            h = layer(h, keep)
        return h


class Layer(nn.Module):
    """A transformer layer, normalised before each half; padding is never read.

    Args:
        width: Channels, a multiple of ``heads``.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, h: Tensor, keep: Tensor) -> Tensor:
        """Map tokens (B, L, width) to the same shape; ``keep`` bool (B, L)."""
        qkv = self.qkv(self.norm1(h)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=keep[:, None, None])
        h = h + self.out(read.transpose(1, 2).flatten(2))
        return h + self.narrow(F.gelu(self.wide(self.norm2(h))))


class Reader(nn.Module):
    """Reads the word on a strip: convolutions down to one row, then along it; CTC over 64 columns.

    Args:
        widths: Channels at 1/2, 1/4 and 1/8 of the height, and of the row; multiples of 8.
        layers: Residual blocks along the row, each with a growing view.

    Shapes:
        gray (B, 1, 32, W) in [-1, 1] -> log probabilities (B, W / 2, COUNT); number 0 is CTC's blank
    """

    def __init__(self, widths: tuple[int, int, int, int] = (24, 48, 64, 80), layers: int = 2) -> None:
        super().__init__()
        self.widths, self.layers = tuple(widths), layers
        a, b, c, row = widths
        self.body = nn.Sequential(
            nn.Conv2d(1, a, 5, stride=2, padding=2), *_norm(a), _Block(a),
            nn.Conv2d(a, b, 3, stride=(2, 1), padding=1), *_norm(b), _Block(b),
            nn.Conv2d(b, c, 3, stride=(2, 1), padding=1), *_norm(c), _Block(c),
            nn.Conv2d(c, row, (4, 1)), *_norm(row),
        )  # fmt: skip
        self.row = nn.Sequential(*(_Along(row, 2**i) for i in range(layers)))
        self.out = nn.Linear(row, COUNT)

    def forward(self, gray: Tensor) -> Tensor:
        """Give log probabilities, in float32."""
        mean, std = gray.mean((1, 2, 3), keepdim=True), gray.std((1, 2, 3), keepdim=True)
        h = self.row(self.body((gray - mean) / std.clamp(min=0.02)).squeeze(2))  # (B, row, W / 2)
        return self.out(h.transpose(1, 2)).float().log_softmax(-1)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(8, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x + self.norm(self.conv2(F.silu(self.conv1(x)))))


class _Along(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, 2 * width, 5, padding=2 * dilation, dilation=dilation)
        self.norm = nn.GroupNorm(8, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.glu(self.conv(self.norm(x)), dim=1)


def _norm(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.GroupNorm(8, width), nn.SiLU()


def _layers(width: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(Layer(width) for _ in range(count))
