"""Sphere tracing of many rays against one kind of shape."""

import torch
from torch import Tensor

from diffwright.world.body import Rows, unbend
from diffwright.world.kinds import SHAPES

STEPS = 40
HIT = 1.5e-3  # object units, a fifth of a pixel at the usual framing
RELAX = 0.92  # ellipsoids and intersections are only bounds


def distance(kind: str, p: Tensor, warp: Tensor | None) -> Tensor:
    """Signed distance of object points (3, M) to a kind, in object units (M,); a safe bound where it is bent."""
    parts = SHAPES[kind].parts(*unbend(p, warp))
    nearest = parts[0][0]
    for d, _ in parts[1:]:
        nearest = torch.minimum(nearest, d)
    if warp is None:
        return nearest
    return nearest * torch.minimum(warp[0], warp[2]).clamp_max(1) / (1 + warp[1].abs())


def paint(kind: str, p: Tensor, warp: Tensor | None) -> Tensor:
    """Number of the paint of the part nearest to object points (3, M), as (M,) int64."""
    parts = SHAPES[kind].parts(*unbend(p, warp))
    if len(parts) == 1:
        return torch.full_like(p[0], parts[0][1], dtype=torch.int64)
    nearest = torch.stack([d for d, _ in parts]).argmin(dim=0)
    return torch.tensor([part for _, part in parts], device=p.device)[nearest]


def normal(kind: str, p: Tensor, warp: Tensor | None) -> Tensor:
    """Outward unit normal at object points (3, M), by four tetrahedral samples."""
    total = torch.zeros_like(p)
    for k in ((1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0)):
        corner = p.new_tensor(k).unsqueeze(1)
        total += corner * distance(kind, p + 2e-3 * corner, warp)
    return total / total.norm(dim=0).clamp_min(1e-9)


def _take(warp: Tensor | None, index: Tensor) -> Tensor | None:
    return None if warp is None else warp[:, index]


def sphere_span(o: Tensor, d: Tensor, rows: Rows, pad: float = 0.0) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave the bounding sphere; leave < enter means a miss."""
    x, y, z = o[0], o[1] - rows.pivot, o[2]
    b = x * d[0] + y * d[1] + z * d[2]
    c = x * x + y * y + z * z - (rows.radius + pad) ** 2
    root = b * b - c
    half = root.clamp_min(0).sqrt()
    return (-b - half).clamp_min(0), torch.where(root > 0, -b + half, torch.full_like(b, -1.0))


def trace(kind: str, o: Tensor, d: Tensor, rows: Rows) -> Tensor:
    """First hit along rays, in object units.

    Args:
        kind: Shape.
        o: Ray origins in object coordinates.
        d: Unit directions in object coordinates.
        rows: The bodies of the rays.

    Shapes:
        o, d (3, M) -> (M,), infinity where the ray misses
    """
    near, far = sphere_span(o, d, rows)
    hit = torch.full_like(near, float("inf"))
    alive = (far > near).nonzero().squeeze(1)
    t, end, o, d, warp = near[alive], far[alive], o[:, alive], d[:, alive], _take(rows.warp, alive)
    for step in range(STEPS):
        gap = distance(kind, o + t * d, warp)
        reached = gap < HIT
        hit[alive[reached]] = t[reached]
        t = t + RELAX * gap
        keep = ~reached & (t < end)
        if step % 3 == 2 or step < 2:
            kept = keep.nonzero().squeeze(1)
            if kept.numel() == 0:
                break
            alive, t, end, o, d = alive[kept], t[kept], end[kept], o[:, kept], d[:, kept]
            warp = _take(warp, kept)
        else:
            t = torch.where(keep, t, end + 1.0)
    return hit


def shade_of(kind: str, o: Tensor, d: Tensor, rows: Rows, softness: Tensor, steps: int = 20) -> Tensor:
    """Share of a soft lamp that reaches points, with one kind of shape in the way.

    Args:
        kind: Shape that may block.
        o: Points in the blocker's object coordinates.
        d: Unit directions to the lamp in object coordinates.
        rows: Bodies of the blocker.
        softness: Tangent of the lamp's half angle.
        steps: Marching steps.

    Shapes:
        o, d (3, M), softness (M,) -> (M,) in [0, 1]
    """
    near, far = sphere_span(o, d, rows, pad=0.12)
    light = torch.ones_like(near)
    alive = (far > near).nonzero().squeeze(1)
    o, d, warp, end, soft = o[:, alive], d[:, alive], _take(rows.warp, alive), far[alive], softness[alive]
    t = near[alive].clamp_min(0.02)
    least = torch.ones_like(t)
    for step in range(steps):
        gap = distance(kind, o + t * d, warp)
        least = torch.minimum(least, (0.5 + 0.5 * gap / (soft * t)).clamp(0, 1))
        t = t + gap.clamp(0.02, 0.3)
        if step % 4 == 3:
            keep = (least > 0) & (t < end)
            light[alive[~keep]] = least[~keep]
            kept = keep.nonzero().squeeze(1)
            alive, t, end, o, d = alive[kept], t[kept], end[kept], o[:, kept], d[:, kept]
            warp, soft, least = _take(warp, kept), soft[kept], least[kept]
            if kept.numel() == 0:
                break
    light[alive] = least
    return light * light * (3 - 2 * light)
