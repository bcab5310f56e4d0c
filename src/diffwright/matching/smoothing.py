"""The initial field without learning: places between cells, and a smooth motion fitted around every cell.

What the features say of single cells is right here and wrong there, and says so by its probability. A motion that is
affine around each cell, fitted to all cells by their probability and nearness, mends what is wrong as far as the right
ones near it tell.

Reference:
    Levin, The approximation power of moving least-squares, Mathematics of Computation 1998; robust weights of Geman and
    McClure, 1987.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.geometry import pixel_grid
from diffwright.matching.cost import local_cost, matchability, window_offsets
from diffwright.matching.fields import size_of

REACHES = (10 / 32, 6 / 32, 4 / 32)
"""Standard deviations of the nearness from first to last fit, as shares of the grid's longer side."""
ROUNDS = 2  # of reweighting, for each reach
OUTLIER = 2.0  # cells from the fit at which a cell counts a quarter
KEPT = 1.0  # cells from the fit up to which a cell keeps its own match
FAINTEST = 1e-4  # least probability that counts
RIDGE = 1e-5  # of the slopes


def between_cells(chance: Tensor, field: Tensor) -> Tensor:
    """Move each match to the mean of the cells around it, weighed by their probability.

    Args:
        chance: Probability that two cells choose each other.
        field: Leads to whole cells.

    Shapes:
        chance (B, h, w, h', w'), field (B, 2, h, w) -> (B, 2, h, w)
    """
    around = local_cost(chance, field, 1).clamp(min=0)  # (B, 9, h, w)
    share = around / (around.sum(1, keepdim=True) + 1e-9)
    return field + torch.einsum("bkhw,kc->bchw", share, window_offsets(1, field))


def fitted_field(chance: Tensor, field: Tensor, inside: Tensor | None = None) -> Tensor:
    """Put the fit of the cells around it in the place of each match that lies far from it.

    Args:
        chance: Probability that two cells choose each other.
        field: The likeliest match of each cell, in cells.
        inside: The cells of A that show the picture; all without it.

    Shapes:
        chance (B, h, w, h', w'), field (B, 2, h, w), inside bool (B, h, w) -> (B, 2, h, w)
    """
    own = between_cells(chance, field)
    trust = matchability(chance)[0].clamp(min=FAINTEST)
    if inside is not None:
        trust = trust * inside[:, None] + 1e-9
    robust = torch.ones_like(trust)
    fit = own
    for reach in REACHES:
        for _ in range(ROUNDS):
            fit = local_affine(own, trust * robust, reach * max(size_of(own)))
            apart = (own - fit).norm(dim=1, keepdim=True)
            robust = (1 + (apart / OUTLIER).square()).pow(-2)
    return torch.where((own - fit).norm(dim=1, keepdim=True) < KEPT, own, fit)


def local_affine(field: Tensor, weight: Tensor, reach: float) -> Tensor:
    """Fit a motion that is affine in x and y around every cell, and give its value there.

    Args:
        field: In cells.
        weight: How much each cell counts, above 0.
        reach: Standard deviation of the nearness, in cells.

    Shapes:
        field (B, 2, h, w), weight (B, 1, h, w) -> (B, 2, h, w)
    """
    height, width = size_of(field)
    w = weight.double()
    place = pixel_grid(height, width, like=w) / max(height, width)  # (1, 2, h, w)
    base = torch.cat([torch.ones_like(place[:, :1]), place], dim=1)  # (1, 3, h, w)
    products = (base[:, :, None] * base[:, None]).flatten(1, 2)  # (1, 9, h, w)
    targets = (base[:, :, None] * field.double()[:, None]).flatten(1, 2)  # (B, 6, h, w)
    sums = _blurred(torch.cat([w * products, w * targets], dim=1), reach).movedim(1, -1)
    normal, right = sums[..., :9].unflatten(-1, (3, 3)), sums[..., 9:].unflatten(-1, (3, 2))
    shift = torch.zeros(
        *normal.shape[1:3], 3, 3, dtype=w.dtype, device=w.device
    )  # coordinates from the cell itself
    shift[..., range(3), range(3)] = 1
    shift[..., 1:, 0] = -place[0].movedim(0, -1)
    normal, right = shift @ normal @ shift.mT, shift @ right
    total = normal[..., :1, :1]
    slopes = torch.diag(torch.tensor([0.0, 1.0, 1.0], dtype=w.dtype, device=w.device))
    normal = (
        normal
        + (1e-12 + total) * 1e-9 * torch.eye(3, dtype=w.dtype, device=w.device)
        + RIDGE * total * slopes
    )
    return torch.linalg.solve(normal, right)[..., 0, :].movedim(-1, 1).to(field)


def _blurred(values: Tensor, sigma: float) -> Tensor:
    """Gaussian sums along both axes; nothing lies outside the grid."""
    reach = int(3 * sigma + 0.5)
    steps = torch.arange(-reach, reach + 1, dtype=values.dtype, device=values.device)
    kernel = torch.exp(-steps.square() / (2 * sigma**2))
    rows = values.flatten(0, 1)[:, None]
    rows = F.conv2d(rows, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    rows = F.conv2d(rows, kernel.view(1, 1, 1, -1), padding=(0, reach))
    return rows.view(values.shape)
