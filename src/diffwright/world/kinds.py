"""The shapes of the world: each kind is a list of parts, a part is a signed distance and a paint.

A shape stands on y = 0, is about one unit large and faces +z; car, duck, fish and airplane show their side.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffwright.world.primitives import (
    ball,
    box,
    capsule,
    cylinder,
    ellipsoid,
    frustum,
    length,
    ring,
    smooth_union,
)

MAIN, DARK, CREAM, WOOD, BEAK, GLASS, LIGHT, LEAF = range(8)
PAINTS = (
    (0.0, 0.0, 0.0),  # MAIN is replaced by the color of the thing
    (0.10, 0.10, 0.12),
    (0.93, 0.87, 0.74),
    (0.42, 0.26, 0.13),
    (0.98, 0.55, 0.05),
    (0.62, 0.80, 0.90),
    (0.95, 0.95, 0.93),
    (0.16, 0.50, 0.14),
)

Parts = list[tuple[Tensor, int]]


@dataclass(frozen=True)
class Kind:
    """A shape and the box it fills: half width, height, half depth; ``turn`` bounds its yaw in radians."""

    parts: Callable[[Tensor, Tensor, Tensor], Parts]
    half_width: float
    height: float
    half_depth: float
    turn: float


def _sphere(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    return [(ball(x, y - 0.52, z, 0.52), MAIN)]


def _cube(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    return [(box(x, y - 0.45, z, 0.45, 0.45, 0.45, 0.04), MAIN)]


def _cone(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    return [(frustum(length(x, z), y - 0.58, 0.58, 0.02, 0.58), MAIN)]


def _torus(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    return [(ring(length(x, y - 0.56), z, 0.38, 0.18), MAIN)]


def _mushroom(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    stem = frustum(length(x, z), y - 0.27, 0.21, 0.15, 0.28) - 0.01
    cap = torch.maximum(ellipsoid(x, y - 0.50, z, 0.60, 0.50, 0.60), 0.50 - y)
    dots = torch.full_like(x, 10.0)
    for dx, dy, dz in ((0.0, 0.93, 0.33), (0.36, 0.78, 0.37), (-0.36, 0.76, 0.40), (0.05, 0.68, 0.54),
                       (0.3, 0.86, -0.3), (-0.3, 0.84, -0.32)):  # fmt: skip
        dots = torch.minimum(dots, ball(x - dx, y - dy, z - dz, 0.095))
    return [(stem, CREAM), (cap, MAIN), (dots, LIGHT)]


def _house(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    body = box(x, y - 0.32, z, 0.44, 0.32, 0.36, 0.01)
    slope = (x.abs() * 0.66 + (y - 1.06) * 0.75) / 1.0
    roof = torch.maximum(torch.maximum(slope, 0.60 - y), z.abs() - 0.44)
    door = box(x, y - 0.20, z.abs() - 0.36, 0.11, 0.20, 0.02, 0.005)
    panes = box(x.abs() - 0.28, y - 0.40, z.abs() - 0.36, 0.085, 0.085, 0.02, 0.005)
    return [(body, MAIN), (roof, WOOD), (door, DARK), (panes, GLASS)]


def _mug(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    radial = length(x, z)
    wall = torch.maximum(cylinder(radial, y - 0.46, 0.40, 0.46), -cylinder(radial, y - 0.58, 0.33, 0.50))
    handle = torch.maximum(ring(length(x - 0.40, (y - 0.46) * 0.95), z, 0.26, 0.07), 0.36 - x)
    inside = cylinder(radial, y - 0.10, 0.35, 0.04)
    return [(torch.minimum(wall, handle), MAIN), (inside, DARK)]


def _tree(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    radial = length(x, z)
    trunk = cylinder(radial, y - 0.15, 0.11, 0.16)
    tiers = frustum(radial, y - 0.45, 0.50, 0.16, 0.20)
    tiers = torch.minimum(tiers, frustum(radial, y - 0.77, 0.40, 0.11, 0.19))
    tiers = torch.minimum(tiers, frustum(radial, y - 1.08, 0.30, 0.01, 0.21))
    return [(trunk, WOOD), (tiers - 0.01, MAIN)]


def _car(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    body = box(x, y - 0.27, z, 0.68, 0.15, 0.30, 0.08)
    cabin = box(x + 0.06, y - 0.50, z, 0.34, 0.17, 0.25, 0.09)
    windows = box(x + 0.06, y - 0.52, z, 0.29, 0.10, 0.265, 0.04)
    wheels = cylinder(length(x.abs() - 0.40, y - 0.15), z.abs() - 0.27, 0.16, 0.07)
    hubs = cylinder(length(x.abs() - 0.40, y - 0.15), z.abs() - 0.28, 0.07, 0.075)
    return [(torch.minimum(body, cabin), MAIN), (windows, GLASS), (wheels, DARK), (hubs, LIGHT)]


def _rocket(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    radial = length(x, z)
    body = ellipsoid(x, y - 0.66, z, 0.29, 0.74, 0.29)
    body = torch.maximum(body, 0.14 - y)
    nose = torch.maximum(body - 0.006, 1.06 - y)
    fins = torch.full_like(x, 10.0)
    for cx, cz in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)):
        u, w = x * cx + z * cz, x * cz - z * cx
        blade = torch.maximum(torch.maximum(u * 0.8 + (y - 0.52) * 0.6 - 0.12, 0.16 - u), 0.02 + 0.25 * u - y)
        fins = torch.minimum(fins, torch.maximum(blade, w.abs() - 0.04))
    flame = frustum(radial, y - 0.09, 0.13, 0.18, 0.08)
    window = ball(x, y - 0.80, z.abs() - 0.25, 0.10)
    return [(body, MAIN), (nose, DARK), (fins, DARK), (flame, BEAK), (window, GLASS)]


def _duck(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    body = ellipsoid(x + 0.04, y - 0.33, z, 0.55, 0.33, 0.36)
    tail = ellipsoid(x + 0.50, y - 0.52, z, 0.20, 0.12, 0.14)
    head = ball(x - 0.34, y - 0.78, z, 0.26)
    shape = smooth_union(smooth_union(body, tail, 0.12), head, 0.12)
    beak = ellipsoid(x - 0.63, y - 0.73, z, 0.17, 0.06, 0.12)
    eye = ball(x - 0.46, y - 0.87, z.abs() - 0.17, 0.055)
    wing = ellipsoid(x + 0.10, y - 0.40, z.abs() - 0.30, 0.28, 0.15, 0.10)
    return [(torch.minimum(shape, wing), MAIN), (beak, BEAK), (eye, DARK)]


def _snowman(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    body = smooth_union(ball(x, y - 0.36, z, 0.37), ball(x, y - 0.83, z, 0.25), 0.04)
    hat = cylinder(length(x, z), y - 1.19, 0.17, 0.15)
    brim = cylinder(length(x, z), y - 1.05, 0.28, 0.025)
    nose = capsule(x, y, z, (0.0, 0.83, 0.2), (0.0, 0.81, 0.42), 0.045)
    eyes = ball(x.abs() - 0.09, y - 0.91, z - 0.22, 0.04)
    buttons = torch.minimum(ball(x, y - 0.46, z - 0.36, 0.045), ball(x, y - 0.30, z - 0.37, 0.045))
    return [
        (body, MAIN),
        (torch.minimum(hat, brim), DARK),
        (nose, BEAK),
        (torch.minimum(eyes, buttons), DARK),
    ]


def _cylinder(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    return [(cylinder(length(x, z), y - 0.48, 0.42, 0.48, 0.03), MAIN)]


def _pyramid(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    side = torch.maximum(x.abs(), z.abs()) * 0.857 + (y - 0.95) * 0.514
    return [(torch.maximum(side, -y), MAIN)]


def _bottle(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    radial = length(x, z)
    body = cylinder(radial, y - 0.40, 0.29, 0.40, 0.06)
    neck = cylinder(radial, y - 0.95, 0.10, 0.30)
    label = cylinder(radial, y - 0.38, 0.30, 0.17)
    cork = cylinder(radial, y - 1.25, 0.11, 0.07)
    return [(smooth_union(body, neck, 0.16), MAIN), (label, CREAM), (cork, WOOD)]


def _chair(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    seat = box(x, y - 0.50, z, 0.38, 0.06, 0.36, 0.02)
    back = box(x, y - 0.88, z + 0.32, 0.38, 0.36, 0.06, 0.02)
    legs = box(x.abs() - 0.31, y - 0.24, z.abs() - 0.29, 0.065, 0.25, 0.065, 0.01)
    return [(torch.minimum(seat, back), MAIN), (legs, WOOD)]


def _table(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    top = box(x, y - 0.62, z, 0.66, 0.07, 0.46, 0.02)
    legs = box(x.abs() - 0.54, y - 0.28, z.abs() - 0.36, 0.075, 0.29, 0.075, 0.01)
    return [(top, MAIN), (legs, WOOD)]


def _cactus(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    trunk = capsule(x, y, z, (0.0, 0.16, 0.0), (0.0, 1.0, 0.0), 0.19)
    right = capsule(x, y, z, (0.0, 0.46, 0.0), (0.36, 0.50, 0.0), 0.11)
    right = torch.minimum(right, capsule(x, y, z, (0.36, 0.50, 0.0), (0.38, 0.84, 0.0), 0.11))
    left = capsule(x, y, z, (0.0, 0.36, 0.0), (-0.35, 0.38, 0.0), 0.11)
    left = torch.minimum(left, capsule(x, y, z, (-0.35, 0.38, 0.0), (-0.37, 0.66, 0.0), 0.11))
    pot = frustum(length(x, z), y - 0.12, 0.24, 0.30, 0.12)
    return [(smooth_union(trunk, torch.minimum(left, right), 0.05), MAIN), (pot, WOOD)]


def _tower(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    radial = length(x, z)
    shaft = cylinder(radial, y - 0.45, 0.34, 0.46, 0.01)
    crown = torch.maximum(cylinder(radial, y - 1.0, 0.44, 0.18, 0.01), 0.30 - radial)
    notch = torch.minimum(x.abs(), z.abs())
    crown = torch.maximum(crown, torch.minimum(0.10 - notch, y - 1.02))
    door = box(x, y - 0.18, z.abs() - 0.32, 0.11, 0.19, 0.04, 0.01)
    return [(torch.minimum(shaft, crown), MAIN), (door, DARK)]


def _boat(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    hull = torch.maximum(ellipsoid(x, y - 0.36, z, 0.66, 0.36, 0.30), y - 0.34)
    mast = capsule(x, y, z, (0.0, 0.3, 0.0), (0.0, 1.15, 0.0), 0.035)
    sail = torch.maximum(torch.maximum((x - 0.04) * 0.86 + (y - 1.10) * 0.5, 0.06 - x), 0.46 - y)
    sail = torch.maximum(sail, z.abs() - 0.02)
    jib = torch.maximum(torch.maximum((-x - 0.04) * 0.9 + (y - 0.95) * 0.44, x + 0.06), 0.46 - y)
    jib = torch.maximum(jib, z.abs() - 0.02)
    return [(hull, MAIN), (mast, WOOD), (torch.minimum(sail, jib), LIGHT)]


def _lamp(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    radial = length(x, z)
    shade = torch.maximum(
        frustum(radial, y - 0.92, 0.46, 0.24, 0.24), -frustum(radial, y - 0.88, 0.42, 0.20, 0.24)
    )
    pole = cylinder(radial, y - 0.46, 0.05, 0.44)
    foot = cylinder(radial, y - 0.05, 0.28, 0.05)
    bulb = ball(x, y - 0.84, z, 0.13)
    return [(shade, MAIN), (torch.minimum(pole, foot), DARK), (bulb, LIGHT)]


def _fish(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    body = ellipsoid(x - 0.08, y - 0.40, z, 0.50, 0.32, 0.19)
    tail = torch.maximum((y - 0.40).abs() + (x + 0.38) * 0.75 - 0.02, -0.72 - x)
    tail = torch.maximum(tail * 0.8, z.abs() - 0.05)
    fin = torch.maximum(ellipsoid(x - 0.02, y - 0.70, z, 0.24, 0.16, 0.05), 0.60 - y)
    eye = ball(x - 0.40, y - 0.48, z.abs() - 0.12, 0.055)
    return [(torch.minimum(torch.minimum(body, tail), fin), MAIN), (eye, DARK)]


def _airplane(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    hull = ellipsoid(x, y - 0.34, z, 0.70, 0.18, 0.17)
    wing = box(x + 0.02 + 0.25 * z.abs(), y - 0.34, z, 0.15, 0.035, 0.66, 0.02)
    tail = box(x + 0.58 + 0.3 * (y - 0.5), y - 0.56, z, 0.10, 0.20, 0.035, 0.02)
    flat = box(x + 0.58, y - 0.42, z, 0.09, 0.03, 0.26, 0.02)
    cockpit = ellipsoid(x - 0.36, y - 0.44, z, 0.18, 0.11, 0.12)
    return [(torch.minimum(torch.minimum(hull, wing), torch.minimum(tail, flat)), MAIN), (cockpit, GLASS)]


def _apple(x: Tensor, y: Tensor, z: Tensor) -> Parts:
    radial = length(x, z)
    body = ring(radial, (y - 0.45) * 0.95, 0.22, 0.34)
    body = torch.minimum(body, ellipsoid(x, y - 0.42, z, 0.34, 0.36, 0.34))
    stem = capsule(x, y, z, (0.0, 0.68, 0.0), (0.06, 0.98, 0.0), 0.035)
    leaf = ellipsoid(x - 0.20, y - 0.94, z, 0.17, 0.045, 0.09)
    return [(body, MAIN), (stem, WOOD), (leaf, LEAF)]


FRONT, SIDE, ANY = 0.6, 0.45, 3.1416
SHAPES: dict[str, Kind] = {
    "sphere": Kind(_sphere, 0.52, 1.04, 0.52, ANY),
    "cube": Kind(_cube, 0.45, 0.90, 0.45, ANY),
    "cone": Kind(_cone, 0.58, 1.16, 0.58, ANY),
    "torus": Kind(_torus, 0.56, 1.12, 0.18, FRONT),
    "mushroom": Kind(_mushroom, 0.60, 1.03, 0.62, FRONT),
    "house": Kind(_house, 0.68, 1.06, 0.44, FRONT),
    "mug": Kind(_mug, 0.74, 0.92, 0.42, SIDE),
    "tree": Kind(_tree, 0.51, 1.30, 0.51, ANY),
    "car": Kind(_car, 0.70, 0.68, 0.36, SIDE),
    "rocket": Kind(_rocket, 0.54, 1.40, 0.54, FRONT),
    "duck": Kind(_duck, 0.82, 1.04, 0.42, SIDE),
    "snowman": Kind(_snowman, 0.38, 1.34, 0.46, SIDE),
    "cylinder": Kind(_cylinder, 0.42, 0.96, 0.42, ANY),
    "pyramid": Kind(_pyramid, 0.58, 0.95, 0.58, ANY),
    "bottle": Kind(_bottle, 0.31, 1.32, 0.31, ANY),
    "chair": Kind(_chair, 0.40, 1.24, 0.40, FRONT),
    "table": Kind(_table, 0.68, 0.69, 0.48, FRONT),
    "cactus": Kind(_cactus, 0.50, 1.19, 0.32, SIDE),
    "tower": Kind(_tower, 0.45, 1.18, 0.45, FRONT),
    "boat": Kind(_boat, 0.68, 1.18, 0.32, SIDE),
    "lamp": Kind(_lamp, 0.47, 1.16, 0.47, ANY),
    "fish": Kind(_fish, 0.74, 0.86, 0.22, SIDE),
    "airplane": Kind(_airplane, 0.74, 0.78, 0.68, SIDE),
    "apple": Kind(_apple, 0.57, 0.99, 0.57, FRONT),
}
