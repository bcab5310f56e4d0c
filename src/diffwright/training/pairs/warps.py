"""Analytic maps from picture A to picture B, drawn at random and evaluated at any point.

Places are (x, y) in [-1, 1] over the picture: pixel p of S lies at (2 p + 1) / S - 1. A map bends locally first and
moves as a whole last: ``m = affine . homography . thin-plate spline . elastic``. Flow is the map at the pixel centers
minus the place, so it is exact; it is never resampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

WAVES = 3  # of the elastic part
SIDES = (3, 4, 5)  # control points of a spline in each direction
SIDE_SHARES = (0.7, 0.2, 0.1)
NEAREST = 0.1  # a homography's least denominator: beyond its horizon, places stay finite and far outside


@dataclass(frozen=True)
class Ranges:
    """How strongly pictures are bent and moved; amounts are in the unit of places, half a picture.

    Args:
        near_degrees: Largest rotation of most pairs, degrees.
        far_share: Share of pairs that turn by up to 180 degrees instead.
        log_scale: Largest logarithm of the scale, either way.
        shear: Largest shear, and logarithm of the change of aspect.
        shift: Largest shift of the center.
        corner: Largest shift of a corner under the homography.
        spline: Largest shift of a spline's control point, in units of their distance.
        wave: Largest amplitude of an elastic wave.
        gentle_share: Share of pairs whose amounts are all cut to 2 to 25 percent, as between frames of a video.
    """

    near_degrees: float = 30.0
    far_share: float = 0.3
    log_scale: float = 0.9
    shear: float = 0.15
    shift: float = 0.3
    corner: float = 0.5
    spline: float = 0.35
    wave: float = 0.04
    gentle_share: float = 0.15


class Warps(NamedTuple):
    """The maps of B pairs.

    Shapes (K = 25 control points at most, the rest zeros):
        waves (B, 3, 5) frequency x and y in radians a unit, phase, amplitude x and y; controls (B, K, 2);
        weights (B, K + 3, 2) of the spline, then of 1, x and y; homography (B, 3, 3); affine (B, 2, 3);
        rotation (B,) degrees and scale (B,) of the affine part alone; a positive rotation turns x towards y
    """

    waves: Tensor
    sides: list[int]
    controls: Tensor
    weights: Tensor
    homography: Tensor
    affine: Tensor
    rotation: Tensor
    scale: Tensor


def draw(rngs: Sequence[np.random.Generator], ranges: Ranges | None = None) -> Warps:
    """Draw one map from each generator.

    The affine part is placed so that the center of A lands near the center of B.

    Args:
        rngs: One for each pair.
        ranges: How strong; those of training without it.
    """
    rows = [_draw_one(rng, ranges or Ranges()) for rng in rngs]
    sides = [int(row.pop("side")) for row in rows]
    stacked = {name: torch.from_numpy(np.stack([row[name] for row in rows])).float() for name in rows[0]}
    local = Warps(sides=sides, **stacked)
    center = transport(local._replace(affine=_identity(len(rows))), torch.zeros(1, 2, 1, 1))[:, :, 0]
    affine = local.affine.clone()
    affine[:, :, 2:] -= affine[:, :, :2] @ center
    return local._replace(affine=affine)


def transport(warps: Warps, places: Tensor) -> Tensor:
    """Carry places of A to places of B.

    Args:
        warps: The maps of B pairs.
        places: Any places, the same for all pairs where the first size is 1.

    Shapes:
        places (B or 1, 2, H, W) -> (B, 2, H, W)
    """
    moved = elastic(places, warps.waves)
    moved = splines(moved, warps.sides, warps.controls, warps.weights)
    return affine(projective(moved, warps.homography), warps.affine)


def select(warps: Warps, rows: Sequence[int]) -> Warps:
    """Maps of some pairs, in the order of ``rows``; a pair may come up more than once."""
    maps = {name: value[list(rows)] for name, value in warps._asdict().items() if isinstance(value, Tensor)}
    return warps._replace(sides=[warps.sides[i] for i in rows], **maps)


def places_of(size: int, device: torch.device | str = "cpu") -> Tensor:
    """Places of all pixel centers, (1, 2, size, size)."""
    axis = (torch.arange(size, device=device) * 2 + 1) / size - 1
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"))[None]


def affine(places: Tensor, matrix: Tensor) -> Tensor:
    """Apply ``A u + t``.

    Shapes:
        places (B or 1, 2, H, W), matrix (B, 2, 3) -> (B, 2, H, W)
    """
    flat = places.flatten(2).expand(len(matrix), -1, -1)
    return torch.baddbmm(matrix[:, :, 2:], matrix[:, :, :2], flat).unflatten(2, places.shape[2:])


def projective(places: Tensor, matrix: Tensor) -> Tensor:
    """Apply a homography; denominators under ``NEAREST`` are raised to it.

    Shapes:
        places (B or 1, 2, H, W), matrix (B, 3, 3) -> (B, 2, H, W)
    """
    flat = places.flatten(2).expand(len(matrix), -1, -1)
    lifted = torch.baddbmm(matrix[:, :, 2:], matrix[:, :, :2], flat)
    return (lifted[:, :2] / lifted[:, 2:].clamp_min(NEAREST)).unflatten(2, places.shape[2:])


def splines(places: Tensor, sides: Sequence[int], controls: Tensor, weights: Tensor) -> Tensor:
    """Apply thin-plate splines ``u + a + A u + sum_k w_k U(|u - c_k|)``, ``U(r) = r^2 log r^2``.

    Args:
        places: Where.
        sides: Control points of each pair in each direction; 0 leaves its places alone.
        controls: Control points c.
        weights: Weights w, then the rows of a and A.

    Shapes:
        places (B or 1, 2, H, W), controls (B, K, 2), weights (B, K + 3, 2) -> (B, 2, H, W)

    Reference:
        Bookstein, Principal Warps, 1989.
    """
    out = places.expand(len(sides), -1, -1, -1).clone()
    for side in sorted(set(sides) - {0}):
        rows, k = torch.tensor([i for i, s in enumerate(sides) if s == side]), side * side
        u = out[rows].flatten(2)  # (n, 2, P)
        c, w = controls[rows, :k], weights[rows]
        square = u.square().sum(1, keepdim=True) + c.square().sum(2, keepdim=True)
        square = torch.baddbmm(square, c, u, alpha=-2).clamp_min_(1e-8)  # (n, K, P)
        bent = torch.baddbmm(w[:, -3:-2].mT + u, w[:, -2:].mT, u)
        bent = torch.baddbmm(bent, w[:, :k].mT, square.log().mul_(square))
        out[rows] = bent.unflatten(2, out.shape[2:])
    return out


def elastic(places: Tensor, waves: Tensor) -> Tensor:
    """Add ``sum_j a_j sin(f_j . u + p_j)``.

    Shapes:
        places (B or 1, 2, H, W), waves (B, J, 5) -> (B, 2, H, W)
    """
    flat = places.flatten(2).expand(len(waves), -1, -1)
    swing = torch.baddbmm(waves[:, :, 2:3], waves[:, :, :2], flat).sin_()  # (B, J, P)
    return torch.baddbmm(flat, waves[:, :, 3:].mT, swing).unflatten(2, places.shape[2:])


def linear_part(degrees: float, scale: float, shear: float = 0.0, aspect: float = 1.0) -> np.ndarray:
    """Give the 2x2 matrix ``scale * rotation * shear * aspect``; in pictures a positive angle turns clockwise."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return scale * np.array([[c, -s], [s, c]]) @ np.array([[aspect, shear], [0, 1 / aspect]])


def _draw_one(rng: np.random.Generator, ranges: Ranges) -> dict[str, np.ndarray]:
    amount = rng.uniform(0.02, 0.25) if rng.random() < ranges.gentle_share else 1.0
    far = rng.random() < ranges.far_share and amount == 1
    degrees = rng.uniform(-1, 1) * (180.0 if far else ranges.near_degrees * amount)
    scale = np.exp(rng.uniform(-1, 1) * ranges.log_scale * amount)
    shear, aspect = rng.uniform(-1, 1, 2) * ranges.shear * amount
    matrix = linear_part(degrees, scale, shear, np.exp(aspect))
    shift = rng.uniform(-1, 1, 2) * ranges.shift * amount
    corners = rng.uniform(-1, 1, (4, 2)) * rng.uniform(0, ranges.corner) * amount
    side = int(rng.choice(SIDES, p=SIDE_SHARES)) if rng.random() < 0.6 else 0
    controls, weights = _spline(rng, side, ranges.spline * amount * rng.uniform(0, 1))
    frequency = rng.uniform(-1, 1, (WAVES, 2)) * 5.0
    swing = rng.uniform(-1, 1, (WAVES, 2)) * rng.uniform(0, ranges.wave) * amount
    return {
        "waves": np.concatenate([frequency, rng.uniform(0, 2 * np.pi, (WAVES, 1)), swing], axis=1),
        "side": np.array(side),
        "controls": controls,
        "weights": weights,
        "homography": homography_of_corners(corners),
        "affine": np.concatenate([matrix, shift[:, None]], axis=1),
        "rotation": np.array(degrees),
        "scale": np.array(scale),
    }


def _spline(rng: np.random.Generator, side: int, amount: float) -> tuple[np.ndarray, np.ndarray]:
    most = max(SIDES) ** 2
    controls, weights = np.zeros((most, 2)), np.zeros((most + 3, 2))
    if side:
        grid, inverse = _spline_system(side)
        shifts = rng.uniform(-1, 1, grid.shape) * amount * 2 / (side - 1)
        solved = inverse[:, : len(grid)] @ shifts
        controls[: len(grid)], weights[: len(grid)], weights[-3:] = grid, solved[:-3], solved[-3:]
    return controls, weights


@cache
def _spline_system(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Control points (K, 2) and the inverse (K + 3, K + 3) of the interpolation conditions."""
    axis = np.linspace(-1, 1, side)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    square = ((grid[:, None] - grid[None]) ** 2).sum(-1)
    bending = square * np.log(np.maximum(square, 1e-8))
    plane = np.concatenate([np.ones((len(grid), 1)), grid], axis=1)
    system = np.block([[bending, plane], [plane.T, np.zeros((3, 3))]])
    return grid, np.linalg.inv(system)


def homography_of_corners(shifts: np.ndarray) -> np.ndarray:
    """Homography (3, 3) that shifts the corners (-1, -1), (1, -1), (1, 1), (-1, 1) by ``shifts`` (4, 2)."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)
    rows = []
    for (x, y), (u, v) in zip(corners, corners + shifts, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y, u])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y, v])
    system = np.array(rows)
    return np.append(np.linalg.solve(system[:, :8], system[:, 8]), 1.0).reshape(3, 3)


def _identity(count: int) -> Tensor:
    return torch.eye(2, 3).expand(count, -1, -1)
