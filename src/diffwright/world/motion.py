"""Where each pixel of one render went in another: exact flow and occlusion, from what the rays hit.

A hit on a thing is taken to the thing's own undeformed coordinates and from there to the world of the other
scene; the ground stays where it is; the sky is infinitely far. Then a ray from the other camera to the point
tells whether it is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from diffwright.core.errors import InputError
from diffwright.world.body import Rows, body_of, unbend
from diffwright.world.rays import SKY, camera_frame, camera_rays, cast, project
from diffwright.world.scene import Camera, Scene

DEPTH_TOLERANCE = (
    0.04  # of a thing's size: hits are that far apart at most on a surface seen at a grazing angle
)
FLOW_DIGITS = 4  # of a pixel, so that what stands still has a flow of exactly 0
LEAST_HEIGHT = 0.07  # of the camera over the ground


@dataclass(frozen=True)
class Motion:
    """From picture A to picture B.

    Shapes (B pairs, H = W = size):
        flow (B, 2, H, W) pixels, channel 0 = x; occluded (B, H, W) bool, True where the point of A is hidden
        in B or outside its outermost pixel centers
    """

    flow: Tensor
    occluded: Tensor


def motion(before: Scene | Sequence[Scene], after: Scene | Sequence[Scene], size: int = 64,
           device: torch.device | str = "cpu") -> Motion:  # fmt: skip
    """Compute flow and occlusion between renders of the same things.

    Camera and things may move, turn, change size, pose and deformation; number and kinds must agree.

    Args:
        before: Scene A, or several.
        after: Scene B, or as many.
        size: Side of the pictures, pixels.
        device: Where rays are followed.

    Returns:
        A :class:`Motion` on the CPU.

    Raises:
        InputError: The scenes do not show the same kinds of things.
    """
    a = [before] if isinstance(before, Scene) else list(before)
    b = [after] if isinstance(after, Scene) else list(after)
    if len(a) != len(b):
        raise InputError(f"{len(a)} scenes were given before and {len(b)} after; give pairs.")
    rays = np.stack([camera_rays(scene.camera, size)[1] for scene in a])
    landed, seen = _transport(a, b, rays, size, device)
    y, x = np.divmod(np.arange(size * size), size)
    flow = (landed - np.stack([x, y])).reshape(len(a), 2, size, size)
    return Motion(torch.from_numpy(flow).float(), torch.from_numpy(~seen.reshape(len(a), size, size)))


def follow(before: Scene, after: Scene, points: np.ndarray, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Follow picture positions from one scene to the other.

    Args:
        before: Scene A.
        after: Scene B.
        points: (N, 2), x and y in pixels of A; pixel centers are whole numbers.
        size: Side of the pictures, pixels.

    Returns:
        Positions in B (N, 2), and whether each is visible there (N,) bool.

    Raises:
        InputError: The scenes do not show the same kinds of things, or the points are not (N, 2).
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"points of shape {points.shape} were given; expected (N, 2) with x and y.")
    landed, seen = _transport(
        [before], [after], _rays_through(before.camera, points, size)[None], size, "cpu"
    )
    return landed[0].T, seen[0]


def camera_moved(scene: Scene, rng: np.random.Generator | int, amount: float = 1.0) -> Scene:
    """Return the scene seen by a camera nearby; the light stays where it is in the world.

    Args:
        scene: What is shown.
        rng: NumPy generator, or a seed.
        amount: 1 turns by up to 14 degrees, raises by up to 5, and changes the distance by up to 8 percent.
    """
    rng = np.random.default_rng(rng)
    old, lamp = scene.camera, scene.lamp
    turn, raise_, nearer, *shift = (rng.uniform(-1, 1, 6) * amount).tolist()
    camera = replace(
        old,
        yaw=old.yaw + 0.25 * turn,
        pitch=old.pitch + 0.09 * raise_,
        distance=old.distance * (1 + 0.08 * nearer),
        target=tuple(t + 0.08 * s for t, s in zip(old.target, shift, strict=True)),
    )
    low = LEAST_HEIGHT - float(camera_frame(camera)[0][1])
    if low > 0:
        x, y, z = camera.target
        camera = replace(camera, target=(x, y + low, z))
    return replace(scene, camera=camera, lamp=replace(lamp, azimuth=lamp.azimuth + old.yaw - camera.yaw))


def _rays_through(camera: Camera, points: np.ndarray, size: int) -> np.ndarray:
    """Unit world directions (3, N) through picture positions (N, 2)."""
    _, axes = camera_frame(camera)
    u, v = ((points.T + 0.5) / size * 2 - 1) * np.tan(camera.fov / 2)
    d = np.stack([u, -v, -np.ones_like(u)])
    return axes.T @ (d / np.linalg.norm(d, axis=0))


def _transport(a: list[Scene], b: list[Scene], rays: np.ndarray, size: int,
               device: torch.device | str) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Positions in B (P, 2, N) of what rays (P, 3, N) of A meet, and whether it is seen there (P, N)."""
    for before, after in zip(a, b, strict=True):
        kinds = [t.kind for t in before.things], [t.kind for t in after.things]
        if kinds[0] != kinds[1]:
            raise InputError(
                f"scenes with {kinds[0]} and {kinds[1]} were given; motion needs the same things."
            )
    eye_a = np.stack([camera_frame(s.camera)[0] for s in a])
    eye_b = np.stack([camera_frame(s.camera)[0] for s in b])

    def shot(scenes: list[Scene], eyes: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hits = cast(scenes, torch.tensor(eyes, dtype=torch.float32, device=device),
                    torch.tensor(d, dtype=torch.float32, device=device))  # fmt: skip
        return hits.t.cpu().double().numpy(), hits.thing.cpu().numpy()

    t, thing = shot(a, eye_a, rays)
    points = np.stack([_carried(*pair) for pair in zip(a, b, eye_a, rays, t, thing, strict=True)])
    sky = thing == SKY
    to = np.where(sky[:, None], rays, points - eye_b[..., None])
    far = np.linalg.norm(to, axis=1)
    t_b, thing_b = shot(b, eye_b, to / far[:, None])
    tolerance = DEPTH_TOLERANCE * np.stack(
        [_sizes(scene)[which] for scene, which in zip(b, thing, strict=True)]
    )
    seen = np.where(thing < 0, thing_b < 0, (thing_b == thing) & (np.abs(t_b - far) < tolerance))

    landed = np.empty((len(a), 2, rays.shape[2]))
    for i, scene in enumerate(b):
        position, axes = camera_frame(scene.camera)
        ahead = -(axes[2] @ to[i])
        spot = project(scene.camera, (position[:, None] + to[i] / np.maximum(ahead, 1e-3)).T, size)
        landed[i] = spot.T.clip(-4 * size, 5 * size).round(FLOW_DIGITS)
        seen[i] &= (ahead > 1e-3) & ((landed[i] >= 0) & (landed[i] <= size - 1)).all(0)
    return landed, seen


def _carried(
    a: Scene, b: Scene, eye: np.ndarray, rays: np.ndarray, t: np.ndarray, thing: np.ndarray
) -> np.ndarray:
    """World points (3, N) in B of what rays of A meet."""
    points = eye[:, None] + t * rays
    for j, (before, after) in enumerate(zip(a.things, b.things, strict=True)):
        mine = thing == j
        if before == after or not mine.any():
            continue
        row = torch.tensor(body_of(before).row())
        rows = Rows(row[:, None].expand(-1, int(mine.sum())))
        x, y, z = unbend(rows.point_to_object(torch.from_numpy(points[:, mine])), rows.warp)
        points[:, mine] = body_of(after).to_world(torch.stack([x, y, z], dim=1).numpy()).T
    return points


def _sizes(scene: Scene) -> np.ndarray:
    """Size of each thing, with 1 at the end for the background's numbers -1 and -2."""
    sizes = [thing.size for thing in scene.things]
    return np.array([*sizes, 1.0, 1.0])
