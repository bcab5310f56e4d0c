"""What the recipes learn from: cached renders, drawn words and textures, all addressed by sample number."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from diffwright.core.atomic import write_bytes
from diffwright.weights.fingerprint import fingerprint
from diffwright.world import cache
from diffwright.world.places import value_noise
from diffwright.world.scene import Scene

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789&!?"


class Renders:
    """Cached pictures and their scenes, shuffled anew in every pass.

    Args:
        directory: A folder that ``diffwright world cache`` wrote.
        seed: Of the shuffles.
        repeats: How often a scene comes up in one pass; once each without it.

    Raises:
        InputError: The folder holds no complete shard.
    """

    def __init__(
        self, directory: str | Path, seed: int = 0, repeats: Callable[[Scene], int] | None = None
    ) -> None:
        self.cache, self.directory, self.seed = cache.load(directory), Path(directory), seed
        times = [repeats(scene) for scene in self.cache.scenes()] if repeats else 1
        self.pool = np.repeat(np.arange(len(self.cache)), times)
        self._orders: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.cache)

    def numbers(self, indices: Tensor) -> list[int]:
        """Picture numbers of sample numbers; each pass over the renders has its own order."""
        n = len(self.pool)
        return [int(self._order(i // n)[i % n]) for i in indices.tolist()]

    def pictures(self, numbers: list[int]) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1]."""
        return as_tensor(self.cache.gather(numbers))

    def scenes(self, numbers: list[int]) -> list[Scene]:
        """Scenes of picture numbers."""
        return [self.cache.scene(n) for n in numbers]

    def _order(self, turn: int) -> np.ndarray:
        if turn not in self._orders:
            rng = np.random.Generator(np.random.PCG64([self.seed, turn]))
            if len(self._orders) > 1:
                del self._orders[min(self._orders)]
            self._orders[turn] = rng.permutation(self.pool)
        return self._orders[turn]


def as_tensor(images_u8: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images_u8)).permute(0, 3, 1, 2).float() / 127.5 - 1


def drawn_words(count: int, seed: int, size: int = 64) -> np.ndarray:
    """Random letters in random colors on flat or textured ground, uint8 (count, size, size, 3)."""
    rng = np.random.Generator(np.random.PCG64([seed, 11]))
    grounds = textures(count, seed + 1, size)
    out = np.empty((count, size, size, 3), np.uint8)
    for i in range(count):
        picture = Image.fromarray(grounds[i]) if i % 2 else Image.new("RGB", (size, size), _color(rng))
        draw = ImageDraw.Draw(picture)
        y = int(rng.integers(-4, 8))
        while y < size:
            height = int(rng.integers(9, 30))
            word = "".join(rng.choice(list(LETTERS), int(rng.integers(3, 12))))
            draw.text(
                (int(rng.integers(-6, 10)), y), word, fill=_color(rng), font=ImageFont.load_default(height)
            )
            y += height + int(rng.integers(0, 6))
        out[i] = np.asarray(picture)
    return out


def textures(count: int, seed: int, size: int = 64) -> np.ndarray:
    """Noise, stripes, checks and gradients in random colors, uint8 (count, size, size, 3)."""
    rng = np.random.Generator(np.random.PCG64([seed, 12]))
    y, x = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    out = np.empty((count, size, size, 3), np.uint8)
    for i in range(count):
        mix = torch.zeros(size, size)
        for octave in range(int(rng.integers(1, 5))):
            scale = float(rng.uniform(2, 24)) / (octave + 1)
            turn = float(rng.uniform(0, np.pi))
            u = (x * np.cos(turn) + y * np.sin(turn)) / scale
            v = (y * np.cos(turn) - x * np.sin(turn)) / scale
            kind = int(rng.integers(4))
            layer = (value_noise(u + 500, v + 500, int(rng.integers(1 << 20))), (u * 2).sin() * 0.5 + 0.5,
                     ((u.sin() * v.sin()) * 8).tanh() * 0.5 + 0.5, (u / size * scale) % 1.0)[kind]  # fmt: skip
            mix = mix * 0.5 + layer
        mix = ((mix - mix.min()) / (mix.max() - mix.min() + 1e-6))[..., None]
        a, b, c = (torch.tensor(_color(rng)).float() for _ in range(3))
        image = torch.where(mix < 0.5, a + (b - a) * mix * 2, b + (c - b) * (mix * 2 - 1))
        out[i] = image.round().clamp(0, 255).to(torch.uint8).numpy()
    return out


def _color(rng: np.random.Generator) -> tuple[int, int, int]:
    return tuple(int(c) for c in rng.integers(0, 256, 3))  # type: ignore[return-value]


def encoded_renders(renders: Renders, vae: Any, batch: int = 64) -> np.ndarray:
    """Latents of all renders and of their mirror images, kept in the cache folder under the autoencoder's name.

    Shapes:
        -> float16 (N, 2, C, H/4, W/4), second axis: as rendered, mirrored
    """
    path = renders.directory / f"latents-{fingerprint(vae)[:12]}-{len(renders)}.npy"
    if not path.exists():
        parts = []
        device, home = "cuda" if torch.cuda.is_available() else "cpu", next(vae.parameters()).device
        vae.to(device)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            for start in range(0, len(renders), batch):
                images = renders.pictures(list(range(start, min(start + batch, len(renders)))))
                both = torch.cat([images, images.flip(-1)]).to(device)
                z = vae.encode(both).latent_dist.mean.float() * vae.config.scaling_factor
                parts.append(torch.stack(z.chunk(2), dim=1).half().cpu())
        vae.to(home)
        buffer = io.BytesIO()
        np.save(buffer, torch.cat(parts).numpy(), allow_pickle=False)
        write_bytes(path, buffer.getvalue())
    return np.load(path, mmap_mode="r")
