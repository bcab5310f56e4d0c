"""Two views of rendered scenes with exact flow, in subsets that are hard for different reasons.

``general``: the camera moves, and things move too. ``textureless``: snow, sand and plain things, measured where A is
flat. ``repetitive``: checked tiles and striped things seen from above. ``large``: the camera pans far, measured where
points move by over a quarter of the width. Only visible points count. Scenes come from the test split.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffwright.bench.matching_pairs import Pair
from diffwright.core.atomic import write_bytes
from diffwright.core.checks import one_of
from diffwright.core.errors import InputError, JobFailed
from diffwright.core.progress import Progress, report
from diffwright.world.motion import camera_moved, motion
from diffwright.world.rays import camera_frame
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.scene import Scene
from diffwright.world.splits import seeds

SIZE = 256
FIRST = 100_000  # of the test seeds: other benches use the earlier ones
LEAST = 0.05  # of the pixels that must count; other scenes are passed over
FLAT = 2.0 / 127.5  # standard deviation of A's gray, in [-1, 1], over WINDOW x WINDOW pixels
WINDOW = 9
FAR = 0.25  # of the width


@dataclass(frozen=True)
class Subset:
    """How a subset is drawn and measured.

    Args:
        pan: Least and greatest sideways motion of the camera, in widths of the picture.
        turn: Amount for ``camera_moved``.
        things: Whether things move too.
        fixed: Choices for values of the scene, one drawn by seed.
    """

    pan: tuple[float, float]
    turn: float
    things: bool
    fixed: dict[str, tuple[Any, ...]]


PHOTO = {"style": ("photo",)}
SUBSETS = {
    "general": Subset((0.0, 0.12), 1.0, True, PHOTO),
    "textureless": Subset(
        (0.0, 0.12), 1.0, False, {**PHOTO, "place": ("snow", "sand"), "material": ("matte",)}
    ),
    "repetitive": Subset(
        (0.08, 0.20),
        1.0,
        False,
        {**PHOTO, "place": ("tiles",), "material": ("striped",), "viewpoint": ("from above",)},
    ),
    "large": Subset((0.30, 0.45), 0.5, False, PHOTO),
}
"""The four subsets by name."""


def world_pairs(
    subset: str, count: int, size: int = SIZE, folder: Path | None = None, progress: Progress | None = None
) -> list[Pair]:
    """Render pairs of a subset, or read them from an earlier run.

    Args:
        subset: Key of ``SUBSETS``.
        count: How many pairs.
        size: Side of the pictures, pixels.
        folder: Keeps the pairs, a file for each subset, size and seed; None renders them anew.
        progress: Is told the pairs done; may cancel.

    Returns:
        Pairs of kind ``world``; the first ones of a longer list are those of a shorter one.

    Raises:
        ConfigError: There is no such subset.
        InputError: A file of the folder is damaged.
        JobFailed: Too few scenes qualify, or the disk refused.
    """
    one_of("subset", subset, SUBSETS)
    found: list[Pair] = []
    report(progress, f"two views, {subset}", 0, count)
    for seed in seeds("test", 40 * count, start=FIRST):
        pair = _pair(subset, seed, size, folder)
        if pair is not None and len(found) < count:
            found.append(pair)
            report(progress, f"two views, {subset}", len(found), count)
        if len(found) == count:
            return found
    raise JobFailed(f"only {len(found)} of {count} scenes qualify for {subset}; ask for fewer")


def _pair(subset: str, seed: int, size: int, folder: Path | None) -> Pair | None:
    """The pair of a seed, or None where too few pixels count or no scene was found."""
    path = None if folder is None else folder / f"{subset}-{size}-{seed}.npz"
    if path is not None and path.is_file():
        arrays = _load(path)
    else:
        arrays = _render(subset, seed, size)
        if path is not None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
            write_bytes(path, buffer.getvalue())
    if not len(arrays["flow"]):
        return None
    flow, valid = torch.from_numpy(arrays["flow"]), torch.from_numpy(arrays["valid"])
    return Pair(f"{subset} {seed}", subset, "world", "", arrays["image_a"], arrays["image_b"], flow, valid)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ("image_a", "image_b", "flow", "valid")}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is no rendered pair ({error}); delete it") from error


def _render(subset: str, seed: int, size: int) -> dict[str, np.ndarray]:
    """Pictures, flow and what counts; empty arrays for a seed that does not qualify."""
    empty = {name: np.zeros(0, np.float32) for name in ("image_a", "image_b", "flow", "valid")}
    views = two_views(subset, seed)
    if views is None:
        return empty
    moved = motion(*views, size=size)
    images = render(list(views), size=size)
    valid = ~moved.occluded & measured(subset, images.image[:1], moved.flow)
    if float(valid.float().mean()) < LEAST:
        return empty
    a, b = images.image_u8.numpy()
    return {"image_a": a, "image_b": b, "flow": moved.flow[0].numpy(), "valid": valid[0].numpy()}


def two_views(subset: str, seed: int) -> tuple[Scene, Scene] | None:
    """Draw the scenes A and B of a seed, or None where no legible scene is found.

    Args:
        subset: Key of ``SUBSETS``.
        seed: The same seed gives the same scenes everywhere.
    """
    chosen = SUBSETS[subset]
    rng = np.random.default_rng([seed, *subset.encode()])
    fixed = {name: values[int(rng.integers(len(values)))] for name, values in chosen.fixed.items()}
    try:
        before = sample([seed], **fixed)[0]
    except JobFailed:
        return None
    after = camera_moved(before, rng, chosen.turn)
    after = _panned(after, rng.uniform(*chosen.pan), rng)
    if chosen.things and before.relation is None:
        for number, thing in enumerate(before.things):
            dx, dz, turn = (rng.uniform(-1, 1, 3) * (0.2, 0.2, 0.3)).tolist()
            after = after.with_(number, x=thing.x + dx, z=thing.z + dz, yaw=thing.yaw + turn)
    return before, after


def _panned(scene: Scene, widths: float, rng: np.random.Generator) -> Scene:
    """Move camera and target alike, mostly sideways and never down, by some widths of the picture."""
    camera = scene.camera
    reach = widths * 2 * camera.distance * math.tan(camera.fov / 2)
    angle = rng.uniform(-0.5, 0.5) + math.pi * int(rng.integers(2))
    _, axes = camera_frame(camera)
    shift = reach * (math.cos(angle) * axes[0] + abs(math.sin(angle)) * np.array([0.0, 0.5, 0.0]))
    target = tuple((np.asarray(camera.target) + shift).tolist())
    return replace(scene, camera=replace(camera, target=target))


def measured(subset: str, image: Tensor, flow: Tensor) -> Tensor:
    """Tell which pixels of A a subset measures, visible or not.

    Args:
        subset: Key of ``SUBSETS``.
        image: A, in [-1, 1].
        flow: A to B, in pixels.

    Shapes:
        image (B, 3, H, W), flow (B, 2, H, W) -> bool (B, H, W)
    """
    if subset == "textureless":
        return _flat(image)
    if subset == "large":
        return flow.square().sum(1).sqrt() > FAR * flow.shape[-1]
    return torch.ones_like(flow[:, 0], dtype=torch.bool)


def _flat(image: Tensor) -> Tensor:
    gray = torch.nn.functional.pad(image.mean(1, keepdim=True), (WINDOW // 2,) * 4, mode="replicate")
    mean, square = (torch.nn.functional.avg_pool2d(x, WINDOW, stride=1) for x in (gray, gray.square()))
    return (square - mean.square()).clamp(min=0).sqrt()[:, 0] < FLAT


def all_pairs(
    count: int, size: int = SIZE, folder: Path | None = None, progress: Progress | None = None
) -> Iterator[tuple[str, list[Pair]]]:
    """Give each subset with its pairs; see :func:`world_pairs`."""
    for subset in SUBSETS:
        yield subset, world_pairs(subset, count, size, folder, progress)
