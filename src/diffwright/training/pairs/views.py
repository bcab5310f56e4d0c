"""Two views of the rendered world with exact flow and occlusion, kept on disk by number.

Between the views the camera moves, and in half of the pairs the things do too. Flow is stored in 1/64 of a pixel.
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from diffwright.core.atomic import write_bytes
from diffwright.core.checks import whole
from diffwright.core.errors import InputError
from diffwright.training.corpus import as_tensor
from diffwright.training.pairs.engine import Pairs
from diffwright.world.motion import camera_moved, motion
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.scene import Scene
from diffwright.world.splits import seeds

PART = 64  # of a pixel, in which flow is stored
TURNS = (0.3, 2.0)  # how far the camera goes, least and most; 1 is up to 14 degrees


class Views:
    """Pairs of views of one split; each is rendered once, when it is first asked for.

    Args:
        folder: Where pairs are kept, in a folder for each split and size.
        size: Side of the pictures, pixels.
        split: "train", "development" or "test".
    """

    def __init__(self, folder: str | Path, size: int = 256, split: str = "train") -> None:
        whole("size", size, 32, 512)
        seeds(split, 1)
        self.folder, self.size, self.split = Path(folder) / f"{split}-{size}", size, split

    def batch(self, numbers: Sequence[int]) -> Pairs:
        """Read pairs, and render those that are not on disk.

        Args:
            numbers: Which pairs of the split.

        Raises:
            InputError: A file of the folder is damaged.
        """
        images, flow, seen = zip(*(self._stored(int(n)) for n in numbers), strict=True)
        a, b = (as_tensor(np.stack([pair[i] for pair in images])) for i in (0, 1))
        count = len(images)
        pixels = torch.from_numpy(np.stack(flow).astype(np.float32) / PART)
        return Pairs(a, b, pixels, torch.from_numpy(np.stack(seen)), torch.zeros(count), torch.ones(count))

    def _stored(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        path = self.folder / f"{number:06d}.npz"
        if not path.exists():
            buffer = io.BytesIO()
            images, flow, seen = self._rendered(number)
            np.savez(buffer, images=images, flow=flow, seen=seen)
            write_bytes(path, buffer.getvalue())
        try:
            with np.load(path, allow_pickle=False) as file:
                return file["images"], file["flow"], file["seen"]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(f"{path} is damaged ({error}); delete it, it is made anew") from error

    def _rendered(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pictures uint8 (2, H, W, 3), flow int16 (2, H, W) in parts of a pixel, visible bool (H, W)."""
        before, after = two_views(seeds(self.split, 1, start=number)[0])
        images = render([before, after], self.size).image_u8.numpy()
        moved = motion(before, after, self.size)
        limit = 2**15 - 1
        flow = (moved.flow[0] * PART).round().clamp(-limit, limit).to(torch.int16).numpy()
        return images, flow, ~moved.occluded[0].numpy()


def two_views(seed: int) -> tuple[Scene, Scene]:
    """Give the scene of a seed, as a photograph, and the same from elsewhere; in half of them things moved too."""
    rng = np.random.Generator(np.random.PCG64([seed, 25]))
    before = replace(sample([seed])[0], style="photo")
    after = camera_moved(before, rng, float(rng.uniform(*TURNS)))
    if rng.random() < 0.5:
        things = tuple(
            replace(thing, x=thing.x + dx, z=thing.z + dz, yaw=thing.yaw + turn)
            for thing, (dx, dz, turn) in zip(
                before.things, rng.uniform(-0.25, 0.25, (len(before.things), 3)).tolist(), strict=True
            )
        )
        after = replace(after, things=things)
    return before, after
