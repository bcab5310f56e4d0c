"""Displacement fields: on the cells of a grid, and as flow in pixels of the two pictures.

A field (B, 2, h, w) says for each cell of A how far away its match in B is, in cells, channel 0 = x. A grid of
h x w cells covers its picture, so cell c has its center at (c + 0.5) * stride - 0.5 pixels. Where B's grid is larger
than A's, as it is for a turned picture, their centers coincide: a field of zero leads from center to center.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, grid_sample, interpolate

from diffwright.core.geometry import pixel_grid

Size = tuple[int, int]


def size_of(values: Tensor) -> Size:
    """Give (h, w), the last two sizes of a map."""
    return values.shape[-2], values.shape[-1]


def resize_field(field: Tensor, size: Size) -> Tensor:
    """Resize a field bilinearly, its vectors with it; half a cell beyond the outer centers goes on linearly.

    A field that is affine in x and y stays exactly that, up to the borders.

    Args:
        field: In cells of its own grid.
        size: New (h, w).

    Shapes:
        (B, 2, h, w) -> (B, 2, h', w')
    """
    height, width = field.shape[-2:]
    rows = _along(field, size[0], dim=-2)
    scale = field.new_tensor([size[1] / width, size[0] / height])
    return _along(rows, size[1], dim=-1) * scale[:, None, None]


def sample(values: Tensor, places: Tensor) -> Tensor:
    """Read a map bilinearly at places between its cells; 0 outside.

    Args:
        values: Any map.
        places: x and y in cells of the map.

    Shapes:
        values (B, C, h, w), places (B, 2, h', w') -> (B, C, h', w')
    """
    height, width = values.shape[-2:]
    size = places.new_tensor([width, height])[:, None, None]
    unit = ((places + 0.5) / size * 2 - 1).movedim(1, -1)
    return grid_sample(values, unit.to(values.dtype), mode="bilinear", align_corners=False)


def landing(field: Tensor, size_b: Size) -> Tensor:
    """Give where each cell lands on B's grid, in cells of that grid.

    Args:
        field: From A to B, in cells; the grids are centered on one another.
        size_b: (h, w) of B's grid.

    Shapes:
        (B, 2, h, w) -> (B, 2, h, w)
    """
    height, width = field.shape[-2:]
    shift = field.new_tensor([(size_b[1] - width) / 2, (size_b[0] - height) / 2])
    return pixel_grid(height, width, like=field) + field + shift[:, None, None]


def inside(field: Tensor, size_b: Size) -> Tensor:
    """Tell which cells land on B, its outermost half cells included.

    Shapes:
        (B, 2, h, w) -> bool (B, h, w)
    """
    last = field.new_tensor([size_b[1] - 0.5, size_b[0] - 0.5])[:, None, None]
    place = landing(field, size_b)
    return ((place >= -0.5) & (place <= last)).all(dim=1)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """Chain a field from A to B and one from B to C: ``first(i) + second(i + first(i))``.

    Beyond the outermost cells of B the second field is held constant.

    Shapes:
        first (B, 2, h, w), second (B, 2, h', w') -> (B, 2, h, w), from A to C
    """
    height, width = second.shape[-2:]
    last = first.new_tensor([width - 1, height - 1])[:, None, None]
    place = landing(first, (height, width)).clamp(min=0).minimum(last)
    return first + sample(second, place)


def round_trip_error(forward: Tensor, backward: Tensor) -> Tensor:
    """Distance between each cell and where it comes back to from B, in cells.

    Args:
        forward: From A to B.
        backward: From B to A, on B's grid.

    Shapes:
        forward (B, 2, h, w), backward (B, 2, h', w') -> (B, h, w)
    """
    return compose(forward, backward).norm(dim=1)


def field_of_flow(flow: Tensor, size: Size, size_b: Size | None = None) -> Tensor:
    """Express flow in cells of a grid.

    Args:
        flow: From A to B, in pixels of the pictures.
        size: (h, w) of the grid on A, and on B, each covering its picture.
        size_b: (height, width) of picture B in pixels; as large as A without it.

    Shapes:
        (B, 2, H, W) -> (B, 2, h, w)
    """
    height, width = flow.shape[-2:]
    if size_b is not None and tuple(size_b) != (height, width):
        scale = flow.new_tensor([width / size_b[1], height / size_b[0]])[:, None, None]
        place = pixel_grid(height, width, like=flow)
        flow = (place + flow + 0.5) * scale - 0.5 - place
    return resize_field(flow, size)


def spread_known(flow: Tensor, size: Size) -> Tensor:
    """Give unknown pixels the mean of the known ones in their cell, so that sparse flow reaches a grid.

    Args:
        flow: In pixels, NaN where unknown.
        size: (h, w) of the grid.

    Shapes:
        (B, 2, H, W) -> (B, 2, H, W), NaN where a whole cell is unknown
    """
    known = flow.isfinite().all(dim=1, keepdim=True)
    if bool(known.all()):
        return flow
    cells = min(size[0], flow.shape[-2]), min(size[1], flow.shape[-1])
    share = adaptive_avg_pool2d(known.to(flow), cells)
    mean = adaptive_avg_pool2d(flow.masked_fill(~known, 0.0), cells) / share
    return torch.where(known, flow, interpolate(mean, size=size_of(flow), mode="nearest"))


def flow_of_field(field: Tensor, size_a: Size, size_b: Size | None = None) -> Tensor:
    """Express a field as flow in pixels at full resolution, the inverse of ``field_of_flow``.

    Args:
        field: From A to B, in cells, on grids of one size.
        size_a: (height, width) of picture A in pixels.
        size_b: The same of B; as large as A without it.

    Shapes:
        (B, 2, h, w) -> (B, 2, H, W)
    """
    flow = resize_field(field, size_a)
    if size_b is None or tuple(size_b) == tuple(size_a):
        return flow
    scale = flow.new_tensor([size_b[1] / size_a[1], size_b[0] / size_a[0]])[:, None, None]
    place = pixel_grid(*size_a, like=flow)
    return (place + flow + 0.5) * scale - 0.5 - place


def _along(field: Tensor, size: int, dim: int) -> Tensor:
    """Linear interpolation along one axis, with linear continuation by at most half a cell."""
    before = field.shape[dim]
    if before == size or before == 1:
        return field if before == size else field.expand(*_replaced(field.shape, dim, size))
    place = (torch.arange(size, device=field.device, dtype=field.dtype) + 0.5) * before / size - 0.5
    low = place.floor().clamp(0, before - 2)
    weight = (place - low).reshape(-1, *(1,) * (-1 - dim))
    index = low.long()
    return field.index_select(dim, index) * (1 - weight) + field.index_select(dim, index + 1) * weight


def _replaced(shape: torch.Size, dim: int, size: int) -> list[int]:
    sizes = list(shape)
    sizes[dim] = size
    return sizes
