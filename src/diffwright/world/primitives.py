"""Signed distances of simple bodies, each on flat coordinate tensors of equal shape.

Inside is negative. ``r`` are radii, ``h`` heights, all in object units.
"""

import torch
from torch import Tensor


def length(*parts: Tensor) -> Tensor:
    """Euclidean length of a vector given by its components."""
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total = torch.addcmul(total, part, part)
    return total.clamp_min(1e-12).sqrt()


def ball(x: Tensor, y: Tensor, z: Tensor, r: float) -> Tensor:
    """Sphere about the origin."""
    return length(x, y, z) - r


def ellipsoid(x: Tensor, y: Tensor, z: Tensor, rx: float, ry: float, rz: float) -> Tensor:
    """Ellipsoid, first-order exact near its surface and a lower bound outside."""
    k0 = length(x / rx, y / ry, z / rz)
    k1 = length(x / rx**2, y / ry**2, z / rz**2)
    return k0 * (k0 - 1) / k1


def box(x: Tensor, y: Tensor, z: Tensor, hx: float, hy: float, hz: float, rounding: float = 0.03) -> Tensor:
    """Box with half sides ``h`` and rounded edges."""
    qx, qy, qz = x.abs() - (hx - rounding), y.abs() - (hy - rounding), z.abs() - (hz - rounding)
    outside = length(qx.clamp_min(0), qy.clamp_min(0), qz.clamp_min(0))
    return outside + torch.maximum(qx, torch.maximum(qy, qz)).clamp_max(0) - rounding


def cylinder(radial: Tensor, along: Tensor, r: float, half: float, rounding: float = 0.02) -> Tensor:
    """Capped cylinder from the distance to its axis and the coordinate along it."""
    a, b = radial - (r - rounding), along.abs() - (half - rounding)
    return length(a.clamp_min(0), b.clamp_min(0)) + torch.maximum(a, b).clamp_max(0) - rounding


def frustum(radial: Tensor, along: Tensor, r0: float, r1: float, half: float) -> Tensor:
    """Capped cone: radius ``r0`` at the lower, ``r1`` at the upper end of the axis.

    Reference: the exact form of a capped cone in two dimensions, by projection on its slanted side.
    """
    k1x, k1y = r1, half
    k2x, k2y = r1 - r0, 2 * half
    cap_r = torch.where(along < 0, r0, r1)
    ax, ay = radial - torch.minimum(radial, cap_r), along.abs() - half
    slant = (((k1x - radial) * k2x + (k1y - along) * k2y) / (k2x * k2x + k2y * k2y)).clamp(0, 1)
    bx, by = radial - k1x + k2x * slant, along - k1y + k2y * slant
    sign = torch.where((bx < 0) & (ay < 0), -1.0, 1.0)
    return sign * torch.minimum(ax * ax + ay * ay, bx * bx + by * by).clamp_min(1e-12).sqrt()


def capsule(x: Tensor, y: Tensor, z: Tensor, a: tuple, b: tuple, r: float) -> Tensor:
    """Rounded stick from point ``a`` to point ``b``."""
    dx, dy, dz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    px, py, pz = x - a[0], y - a[1], z - a[2]
    t = ((px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz)).clamp(0, 1)
    return length(px - t * dx, py - t * dy, pz - t * dz) - r


def ring(plane: Tensor, along: Tensor, r: float, thickness: float) -> Tensor:
    """Torus from the distance to its axis and the coordinate along the axis."""
    return length(plane - r, along) - thickness


def smooth_union(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Union with a fillet of radius ``k``."""
    h = (0.5 + 0.5 * (b - a) / k).clamp(0, 1)
    return b + (a - b) * h - k * h * (1 - h)
