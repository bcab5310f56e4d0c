"""Points, boxes and flow, in pixels.

A point (x, y) with whole numbers is the center of a pixel; x runs right and y down. A box is x0 y0 x1 y1,
where x1 and y1 are the first column and row outside. Flow (B, 2, H, W) holds, for each pixel of picture A,
the shift (x, y) to its place in picture B.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffwright.core.errors import InputError

if TYPE_CHECKING:
    import torch

Point = tuple[float, float]
Box = tuple[int, int, int, int]


def check_points(points: Sequence[Point], size: tuple[int, int]) -> list[Point]:
    """Check that points lie on a picture.

    Args:
        points: (x, y) in pixels.
        size: (height, width) of the picture.

    Returns:
        The points as a list of float pairs.

    Raises:
        InputError: a point is not a pair of finite numbers, or off the picture.
    """
    height, width = size
    checked = []
    for point in points:
        try:
            x, y = (float(value) for value in point)
        except (TypeError, ValueError) as error:
            raise InputError(f"{point!r} was given as a point; expected two numbers x, y") from error
        if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
            raise InputError(
                f"point ({x:g}, {y:g}) is off the picture of {width} x {height} pixels; move it inside"
            )
        checked.append((x, y))
    return checked


def check_box(box: Sequence[int], size: tuple[int, int]) -> Box:
    """Check that a box lies on a picture and is not empty.

    Args:
        box: x0 y0 x1 y1 in whole pixels.
        size: (height, width) of the picture.

    Raises:
        InputError: it does not.
    """
    height, width = size
    try:
        whole = len(box) == 4 and all(value == int(value) for value in box)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise InputError(f"{box!r} was given as a box; expected four whole numbers x0 y0 x1 y1")
    x0, y0, x1, y1 = (int(value) for value in box)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(
            f"box {x0} {y0} {x1} {y1} is empty or leaves the picture of {width} x {height} pixels"
        )
    return x0, y0, x1, y1


def box_of(mask: np.ndarray) -> Box:
    """Give the smallest box around the selected pixels of a bool (H, W) mask.

    Raises:
        InputError: the mask selects nothing.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise InputError("the mask selects nothing; paint the region white")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def pixel_grid(height: int, width: int, like: torch.Tensor | None = None) -> torch.Tensor:
    """Give the coordinates of every pixel center.

    Args:
        height: rows.
        width: columns.
        like: a tensor whose device and dtype to take; float32 on CPU without it.

    Shapes:
        -> (1, 2, H, W), channel 0 = x
    """
    import torch

    device = None if like is None else like.device
    dtype = torch.float32 if like is None else like.dtype
    y = torch.arange(height, device=device, dtype=dtype)
    x = torch.arange(width, device=device, dtype=dtype)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]


def resize_flow(flow: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize flow, scaling its vectors with the picture.

    Args:
        flow: in pixels of its own resolution.
        size: new (height, width).

    Shapes:
        (B, 2, h, w) -> (B, 2, H, W)
    """
    import torch
    from torch.nn.functional import interpolate

    height, width = flow.shape[-2:]
    scale = torch.tensor([size[1] / width, size[0] / height], device=flow.device, dtype=flow.dtype)
    return interpolate(flow, size=size, mode="bilinear", align_corners=False) * scale[None, :, None, None]


def warp(image: torch.Tensor, flow: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fetch picture B into the frame of picture A: ``out[p] = image[p + flow[p]]``, bilinear.

    Args:
        image: picture B, or any feature map.
        flow: from A to B, in pixels.

    Shapes:
        image (B, C, H, W), flow (B, 2, h, w) -> (B, C, h, w), bool (B, h, w)

    Returns:
        The warped picture (0 outside), and where the flow stays on picture B.
    """
    import torch
    from torch.nn.functional import grid_sample

    height, width = image.shape[-2:]
    place = pixel_grid(*flow.shape[-2:], like=flow) + flow
    last = torch.tensor([width - 1, height - 1], device=flow.device, dtype=flow.dtype)[None, :, None, None]
    inside = ((place >= 0) & (place <= last)).all(dim=1)
    grid = (place / last.clamp(min=1) * 2 - 1).permute(0, 2, 3, 1)
    warped = grid_sample(
        image, grid.to(image.dtype), mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return warped * inside[:, None], inside
