"""The image prompt's own networks, named as the published checkpoints name them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 64  # channels a head; stock loaders count heads by it
DEPTH = 4  # blocks that stock loaders expect


class PerceiverAttention(nn.Module):
    """Learned queries look at picture tokens and at each other.

    Args:
        width: channels.
        heads: attention heads of 64 channels.

    Shapes:
        x (B, T, D), latents (B, Q, D) -> (B, Q, D); T picture tokens, Q queries, D width
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, heads * HEAD, bias=False)
        self.to_kv = nn.Linear(width, 2 * heads * HEAD, bias=False)
        self.to_out = nn.Linear(heads * HEAD, width, bias=False)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """Attend."""
        latents = self.norm2(latents)
        both = torch.cat([self.norm1(x), latents], dim=1)  # (B, T + Q, D)
        q, k, v = (
            t.unflatten(-1, (self.heads, HEAD)).transpose(1, 2)
            for t in (self.to_q(latents), *self.to_kv(both).chunk(2, dim=-1))
        )
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Resampler(nn.Module):
    """Turns the tokens of an image tower into a few tokens beside those of the text.

    Args:
        image_width: channels of the tower's tokens.
        context: channels of the text's tokens.
        width: channels inside.
        heads: attention heads of 64 channels.
        queries: tokens given.
        depth: blocks; stock loaders read files of 4.

    Shapes:
        (B, T, image_width) -> (B, queries, context)

    Reference:
        Mou et al., DiffEditor, CVPR 2024, section 3.2; layout as in IP-Adapter (Ye et al. 2023), "plus".
    """

    def __init__(
        self,
        image_width: int,
        context: int,
        width: int,
        heads: int,
        queries: int,
        depth: int = DEPTH,
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, queries, width) / width**0.5)
        self.proj_in, self.proj_out = nn.Linear(image_width, width), nn.Linear(width, context)
        self.norm_out = nn.LayerNorm(context)
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(width, heads), _feed_forward(width)]) for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Resample."""
        x, latents = self.proj_in(x), self.latents.expand(len(x), -1, -1)
        for attention, feed_forward in self.layers:  # pyright: ignore[reportGeneralTypeIssues]
            latents = latents + attention(x, latents)
            latents = latents + feed_forward(latents)
        return self.norm_out(self.proj_out(latents))


def _feed_forward(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 4 * width, bias=False),
        nn.GELU(),
        nn.Linear(4 * width, width, bias=False),
    )
