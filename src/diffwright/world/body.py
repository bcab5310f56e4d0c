"""Where a thing is: the map between object coordinates and the world, with its deformations."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from diffwright.world.kinds import SHAPES
from diffwright.world.scene import FLOAT_HEIGHT, Thing

STEM_SHARE = 0.45  # the lower part of a shape, stretched by ``stem``


@dataclass(frozen=True)
class Body:
    """Numbers of one thing that the ray marcher needs.

    Args:
        rotation: (3, 3), object to world.
        base: (3,), world position of the object origin before rotation about ``pivot``.
        size: Uniform scale.
        pivot: Height in object units about which it is rotated.
        radius: Of the bounding sphere about the pivot, object units.
        warp: stem, lean, width and the height of the stem's upper end.
    """

    rotation: np.ndarray
    base: np.ndarray
    size: float
    pivot: float
    radius: float
    warp: tuple[float, float, float, float]

    def row(self) -> np.ndarray:
        """Flat row of 19 numbers, the layout of :class:`Rows`."""
        return np.concatenate(
            [self.rotation.ravel(), self.base, [self.size, self.pivot, self.radius], self.warp]
        )

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Map canonical (undeformed) object points (N, 3) to the world (N, 3)."""
        p = bend(np.asarray(points, dtype=np.float64), self.warp)
        centre = np.array([0.0, self.pivot, 0.0])
        return self.base + self.size * ((p - centre) @ self.rotation.T + centre)


def bend(points: np.ndarray, warp: tuple[float, float, float, float]) -> np.ndarray:
    """Apply stem, width and lean to canonical object points (N, 3)."""
    stem, lean, width, knee = warp
    x, y, z = points.T
    y = np.where(y < knee, y * stem, y + (stem - 1) * knee)
    return np.stack([x * width + lean * y, y, z], axis=1)


@cache
def extremes(kind: str) -> np.ndarray:
    """Points of a shape that lie farthest in many directions of the picture plane, object units (N, 3)."""
    shape = SHAPES[kind]
    axes = [np.linspace(-shape.half_width, shape.half_width, 64), np.linspace(0, shape.height, 64),
            np.linspace(-shape.half_depth, shape.half_depth, 48)]  # fmt: skip
    grid = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")])
    x, y, z = torch.from_numpy(grid)
    inside = torch.stack([part for part, _ in shape.parts(x, y, z)]).amin(0) < 0.01
    solid = grid.T[inside.numpy()]
    directions = [
        (np.cos(a) * np.cos(b), np.sin(b), np.sin(a) * np.cos(b))
        for a in np.linspace(0, 2 * np.pi, 24, endpoint=False)
        for b in np.linspace(-np.pi / 2, np.pi / 2, 13)
    ]
    return np.unique(solid[(solid @ np.array(directions).T).argmax(axis=0)], axis=0)


def body_of(thing: Thing) -> Body:
    """Stand a thing on the ground: its lowest corner touches, or floats at a fixed height."""
    shape = SHAPES[thing.kind]
    knee = STEM_SHARE * shape.height
    height = shape.height + (thing.stem - 1) * knee
    pivot = height / 2
    cy, sy, ct, st = np.cos(thing.yaw), np.sin(thing.yaw), np.cos(thing.tilt), np.sin(thing.tilt)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    tilt = np.array([[ct, -st, 0], [st, ct, 0], [0, 0, 1]])
    rotation = tilt @ turn

    w, d = shape.half_width * thing.width, shape.half_depth
    corners = np.array([(i, j, k) for i in (-w, w) for j in (-pivot, pivot) for k in (-d, d)])
    corners[:, 0] += thing.lean * (corners[:, 1] + pivot)
    warp = (thing.stem, thing.lean, thing.width, knee)
    rim = bend(extremes(thing.kind), warp) - np.array([0.0, pivot, 0.0]) if thing.tilt else corners
    lowest = (rim @ rotation.T)[:, 1].min() + pivot
    lift = thing.lift - thing.size * lowest + (FLOAT_HEIGHT * thing.size if thing.pose == "floating" else 0.0)
    return Body(
        rotation=rotation,
        base=np.array([thing.x, lift, thing.z]),
        size=thing.size,
        pivot=pivot,
        radius=float(np.linalg.norm(corners, axis=1).max()) + 0.02,
        warp=warp,
    )


class Rows:
    """Bodies of many rays: named views on a (19, M) tensor."""

    def __init__(self, table: Tensor) -> None:
        self.table = table
        self.rotation = table[:9].reshape(3, 3, -1)
        self.base, self.size, self.pivot, self.radius = table[9:12], table[12], table[13], table[14]
        self.warp = (
            None if bool((table[15:18] == table.new_tensor([[1.0], [0.0], [1.0]])).all()) else table[15:19]
        )

    def take(self, index: Tensor) -> "Rows":
        """Select rays."""
        return Rows(self.table[:, index])

    def point_to_object(self, p: Tensor) -> Tensor:
        """World points (3, M) to object points (3, M)."""
        q = (p - self.base) / self.size
        q = torch.stack([q[0], q[1] - self.pivot, q[2]])
        q = torch.einsum("ijm,im->jm", self.rotation, q)
        return torch.stack([q[0], q[1] + self.pivot, q[2]])

    def turn_to_object(self, v: Tensor) -> Tensor:
        """World directions (3, M) to object directions (3, M)."""
        return torch.einsum("ijm,im->jm", self.rotation, v)

    def turn_to_world(self, v: Tensor) -> Tensor:
        """Object directions (3, M) to world directions (3, M)."""
        return torch.einsum("ijm,jm->im", self.rotation, v)


def unbend(p: Tensor, warp: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Canonical coordinates of deformed object points; ``warp`` None stands for no deformation.

    Shapes:
        p (3, M), warp (4, M) -> x, y, z, each (M,)
    """
    if warp is None:
        return p[0], p[1], p[2]
    stem, lean, width, knee = warp
    x = (p[0] - lean * p[1]) / width
    y = torch.where(p[1] < knee * stem, p[1] / stem, p[1] - (stem - 1) * knee)
    return x, y, p[2]
