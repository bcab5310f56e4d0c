"""Decoder features of a UNet, chosen by resolution: half the latent grid for meaning, the latent grid for shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.core.errors import UnsupportedBackbone

Taps = tuple[Tensor, Tensor]
"""Features at half the latent grid and at the latent grid, (B, C, h, w) each."""


def tap_blocks(unet: Any) -> tuple[nn.Module, nn.Module]:
    """Find the blocks whose outputs are tapped: the first on the way up at each of the two resolutions.

    In Stable Diffusion 1 and 2 these are the second and the third decoder block.

    Args:
        unet: a UNet2DConditionModel.

    Raises:
        UnsupportedBackbone: it has no such resolution.
    """
    halvings = sum(block.downsamplers is not None for block in unet.down_blocks)
    found: dict[int, nn.Module] = {halvings: unet.mid_block} if unet.mid_block is not None else {}
    for block in unet.up_blocks:
        halvings -= block.upsamplers is not None
        found.setdefault(halvings, block)
    if 1 not in found or 0 not in found:
        raise UnsupportedBackbone(
            f"a UNet with {len(unet.down_blocks)} blocks has no features at half its latent grid; editing needs them"
        )
    return found[1], found[0]


@contextmanager
def tapped(unet: Any) -> Iterator[list[Tensor]]:
    """Collect the features of every forward pass inside the block, first the coarse, then the fine ones.

    Yields:
        A list that grows by two tensors a pass; gradients flow through them.
    """
    seen: list[Tensor] = []

    def hook(_module: nn.Module, _args: tuple, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    handles = [block.register_forward_hook(hook) for block in tap_blocks(unet)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


class _Enough(Exception):
    """Both taps are filled; the rest of the pass is not needed."""


def features(unet: Any, run: Callable[[], Any]) -> Taps:
    """Run a UNet only as far as its second tap and give what both saw.

    Args:
        unet: a UNet2DConditionModel.
        run: calls it.

    Returns:
        Coarse and fine features; gradients flow through them.
    """

    def stop(*_: Any) -> None:
        raise _Enough

    with tapped(unet) as seen:
        handle = tap_blocks(unet)[1].register_forward_hook(stop)
        try:
            run()
        except _Enough:
            pass
        finally:
            handle.remove()
    return seen[0], seen[1]


def on_grid(taps: Taps, grid: tuple[int, int]) -> list[Tensor]:
    """Bring the features of one picture to a common grid, in single precision at least.

    Shapes:
        (1, C, h, w) each -> (C, *grid) each
    """
    out = []
    for tap in taps:
        wide = tap if tap.element_size() > 2 else tap.float()
        out.append(F.interpolate(wide, size=grid, mode="bilinear", align_corners=False)[0])
    return out
