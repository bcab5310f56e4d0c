"""From the picture to what the model sees and back: the crop, its size, masks and places on the model's grids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from diffwright.core.geometry import Box
from diffwright.core.images import to_pil, to_tensor

WHOLE = 1.25  # a picture up to this many native sides passes the model whole
CONTEXT = 0.5  # of the zone's box is shown around it on every side
LEAST_CONTEXT = 4  # latent cells around the zone, so that a feathered edge fits however thin it is
LONGEST = 4  # native sides


@dataclass(frozen=True)
class Sight:
    """What sizes a model takes.

    Args:
        factor: pixels a latent and axis.
        multiple: sides must be multiples of this, pixels.
        native: side it was made for, pixels.
    """

    factor: int
    multiple: int
    native: int

    @classmethod
    def of(cls, pipe: Any) -> Sight:
        """Read it from a pipeline."""
        factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
        halvings = sum(block.downsamplers is not None for block in pipe.unet.down_blocks)
        side = pipe.unet.config.sample_size
        side = side if isinstance(side, int) else min(side)
        return cls(factor, factor * 2**halvings, side * factor)


@dataclass(frozen=True)
class Frame:
    """A box of the picture and the canvas on which the model sees it.

    Args:
        box: x0 y0 x1 y1 in the picture.
        canvas: (height, width) of what the model sees, pixels.
        latent: (height, width) of its latents.
    """

    box: Box
    canvas: tuple[int, int]
    latent: tuple[int, int]

    @property
    def cells(self) -> tuple[int, int]:
        """The tap grid: twice as fine as the latents."""
        return 2 * self.latent[0], 2 * self.latent[1]

    @property
    def pixels(self) -> tuple[int, int]:
        """(height, width) of the box in the picture."""
        x0, y0, x1, y1 = self.box
        return y1 - y0, x1 - x0

    @property
    def cell_px(self) -> float:
        """Side of a latent cell in pixels of the picture."""
        return math.sqrt(math.prod(self.pixels) / math.prod(self.latent))

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """The box of a picture or mask (H, W, ...)."""
        x0, y0, x1, y1 = self.box
        return picture[y0:y1, x0:x1]

    def seen(self, picture: np.ndarray) -> Tensor:
        """What the model sees of a picture: uint8 (H, W, 3) -> float (1, 3, h, w) in [-1, 1]."""
        return to_tensor(resized(self.cut(picture), self.canvas))

    def coverage(self, mask: np.ndarray, grid: tuple[int, int]) -> Tensor:
        """Share of each cell of a grid over the box that a mask of the picture covers, float (h, w)."""
        part = torch.from_numpy(self.cut(mask).astype(np.float32))[None, None]
        return F.interpolate(part, size=grid, mode="area")[0, 0]

    def touched(self, mask: np.ndarray, grid: tuple[int, int]) -> Tensor:
        """Cells that a mask touches at all, bool (h, w)."""
        return self.coverage(mask, grid) > 0

    def covered(self, mask: np.ndarray, grid: tuple[int, int]) -> Tensor:
        """Cells that a mask covers by half or more; its fullest ones where there are none, bool (h, w)."""
        share = self.coverage(mask, grid)
        if not bool((share >= 0.5).any()):
            return share >= share.max().clamp_min(1e-9)
        return share >= 0.5

    def centers(self, grid: tuple[int, int]) -> np.ndarray:
        """Middles of the cells of a grid over the box, as points of the picture (h, w, 2)."""
        (x0, y0, _, _), (height, width) = self.box, self.pixels
        y = y0 + (np.arange(grid[0]) + 0.5) * height / grid[0] - 0.5
        x = x0 + (np.arange(grid[1]) + 0.5) * width / grid[1] - 0.5
        return np.stack(np.meshgrid(x, y), axis=-1)

    def normalized(self, points: np.ndarray) -> Tensor:
        """Points (..., 2) of the picture in [-1, 1] over the box, as ``grid_sample`` reads them, float32."""
        x0, y0, x1, y1 = self.box
        unit = (points - [x0 - 0.5, y0 - 0.5]) / [x1 - x0, y1 - y0]
        return torch.from_numpy((unit * 2 - 1).astype(np.float32))


def resized(image_u8: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a picture to (height, width) by Lanczos; one of that size comes back as it is."""
    if image_u8.shape[:2] == tuple(size):
        return image_u8
    return np.asarray(to_pil(image_u8).resize((size[1], size[0]), Image.Resampling.LANCZOS))


def choose_frame(size: tuple[int, int], zone: Box, sight: Sight) -> Frame:
    """Choose what of a picture passes the model: all of a small one, a crop around the zone of a large one.

    Args:
        size: (height, width) of the picture.
        zone: box of what an edit touches.
        sight: what sizes the model takes.

    Returns:
        The frame; its crop is at least the model's native side where the picture is.
    """
    height, width = size
    if height * width <= (WHOLE * sight.native) ** 2:
        box = (0, 0, width, height)
    else:
        x0, x1 = _widened(zone[0], zone[2], width, sight.native)
        y0, y1 = _widened(zone[1], zone[3], height, sight.native)
        cell = math.sqrt((x1 - x0) * (y1 - y0)) * sight.factor / sight.native
        reach = math.ceil(LEAST_CONTEXT * cell)
        x0, x1 = _widened(zone[0], zone[2], width, max(x1 - x0, zone[2] - zone[0] + 2 * reach))
        y0, y1 = _widened(zone[1], zone[3], height, max(y1 - y0, zone[3] - zone[1] + 2 * reach))
        box = (x0, y0, x1, y1)
    canvas = canvas_size((box[3] - box[1], box[2] - box[0]), sight)
    return Frame(box, canvas, (canvas[0] // sight.factor, canvas[1] // sight.factor))


def canvas_size(size: tuple[int, int], sight: Sight) -> tuple[int, int]:
    """Size at which the model sees a crop: sides in its multiples, about its native area, aspect kept.

    A crop whose sides are multiples already and whose area is near the native one keeps its size.
    """
    height, width = size
    native, step = sight.native, sight.multiple
    fits = height % step == 0 and width % step == 0
    if fits and native**2 / 2 <= height * width <= (WHOLE * native) ** 2:
        return size
    scale = native / math.sqrt(height * width)
    sides = [min(max(step, round(side * scale / step) * step), LONGEST * native) for side in size]
    return sides[0], sides[1]


def _widened(low: int, high: int, limit: int, least: int) -> tuple[int, int]:
    """Grow an interval by the context on both sides and to the least length, inside the limit."""
    length = min(limit, max(least, math.ceil((high - low) * (1 + 2 * CONTEXT))))
    start = round((low + high - length) / 2)
    start = min(max(start, 0), limit - length)
    return start, start + length
