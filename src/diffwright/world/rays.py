"""The camera's rays and what each of them meets first."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffwright.world.body import Rows, body_of
from diffwright.world.marching import trace
from diffwright.world.scene import Camera, Scene

FAR = 60.0
SKY, GROUND = -2, -1


@dataclass
class Hits:
    """What the rays of a batch of scenes meet.

    Shapes (B scenes, N rays, K things at most):
        origin (B, 3), direction (B, 3, N), t (B, N) along the ray, thing (B, N) with SKY and GROUND below 0,
        bodies (B, K, 19), alone (B, K, N): distance to each thing as if it stood alone, infinity for a miss
    """

    origin: Tensor
    direction: Tensor
    t: Tensor
    thing: Tensor
    bodies: Tensor
    alone: Tensor


def camera_frame(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Position (3,) and axes (3, 3) with rows right, up, backward."""
    cp, sp, cy, sy = np.cos(camera.pitch), np.sin(camera.pitch), np.cos(camera.yaw), np.sin(camera.yaw)
    backward = np.array([cp * sy, sp, cp * cy])
    right = np.array([cy, 0.0, -sy])
    up = np.cross(backward, right)
    return np.asarray(camera.target) + camera.distance * backward, np.stack([right, up, backward])


def project(camera: Camera, points: np.ndarray, size: int) -> np.ndarray:
    """World points (N, 3) to picture positions (N, 2), x and y in pixels, pixel centers at integers."""
    position, axes = camera_frame(camera)
    x, y, b = ((np.asarray(points) - position) @ axes.T).T
    scale = size / (2 * np.tan(camera.fov / 2))
    return np.stack([size / 2 - 0.5 + scale * x / -b, size / 2 - 0.5 - scale * y / -b], axis=1)


def camera_rays(camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Origin (3,) and unit directions (3, size * size), row by row."""
    position, axes = camera_frame(camera)
    ticks = ((np.arange(size) + 0.5) / size * 2 - 1) * np.tan(camera.fov / 2)
    v, u = np.meshgrid(-ticks, ticks, indexing="ij")
    d = np.stack([u.ravel(), v.ravel(), -np.ones(size * size)])
    d = axes.T @ (d / np.linalg.norm(d, axis=0))
    return position, d


def shoot(scenes: list[Scene], size: int, device: torch.device | str = "cpu") -> Hits:
    """Follow one ray through each pixel center of a ``size`` x ``size`` picture of each scene."""
    frames = [camera_rays(scene.camera, size) for scene in scenes]
    origin = torch.tensor(np.stack([f[0] for f in frames]), dtype=torch.float32, device=device)
    direction = torch.tensor(np.stack([f[1] for f in frames]), dtype=torch.float32, device=device)
    return cast(scenes, origin, direction)


def cast(scenes: list[Scene], origin: Tensor, direction: Tensor) -> Hits:
    """Follow given rays; see :func:`shoot`. ``origin`` (B, 3), ``direction`` (B, 3, N) unit."""
    b, _, n = direction.shape
    k = max((len(scene.things) for scene in scenes), default=0)
    bodies = torch.zeros(b, max(k, 1), 19)
    for i, scene in enumerate(scenes):
        for j, thing in enumerate(scene.things):
            bodies[i, j] = torch.tensor(body_of(thing).row())
    bodies = bodies.to(direction.device)

    alone = torch.full((b, max(k, 1), n), float("inf"), device=direction.device)
    for kind, members in by_kind(scenes).items():
        where = torch.tensor(members, device=direction.device)
        table = bodies[where[:, 0], where[:, 1]]
        rows = Rows(table.T.repeat_interleave(n, dim=1))
        d = direction[where[:, 0]].transpose(0, 1).reshape(3, -1)
        o = origin[where[:, 0]].T.repeat_interleave(n, dim=1)
        near = _near_sphere(o, d, rows)
        rows, o, d = rows.take(near), o[:, near], d[:, near]
        hit = trace(kind, rows.point_to_object(o), rows.turn_to_object(d), rows) * rows.size
        flat = torch.full((len(members) * n,), float("inf"), device=d.device)
        flat[near] = hit
        alone[where[:, 0], where[:, 1]] = flat.reshape(len(members), n)

    down = -direction[:, 1]
    t = torch.where(down > 1e-4, origin[:, 1:2] / down.clamp_min(1e-4), torch.full_like(down, float("inf")))
    thing = torch.where(t < FAR, GROUND, SKY)
    t = t.clamp_max(FAR)
    for j in range(k):
        nearer = alone[:, j] < t
        t = torch.where(nearer, alone[:, j], t)
        thing = torch.where(nearer, j, thing)
    return Hits(origin, direction, t, thing, bodies, alone)


def by_kind(scenes: list[Scene]) -> dict[str, list[tuple[int, int]]]:
    """Group (scene, thing) numbers by kind, in a fixed order."""
    groups: dict[str, list[tuple[int, int]]] = {}
    for i, scene in enumerate(scenes):
        for j, thing in enumerate(scene.things):
            groups.setdefault(thing.kind, []).append((i, j))
    return groups


def _near_sphere(o: Tensor, d: Tensor, rows: Rows) -> Tensor:
    center = rows.base.clone()
    center[1] += rows.size * rows.pivot
    to = center - o
    along = (to * d).sum(0)
    aside = (to * to).sum(0) - along * along
    return (aside < (rows.size * rows.radius) ** 2).nonzero().squeeze(1)
