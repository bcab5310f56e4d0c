"""What a camera does to a picture, once for all that is in it: blur, noise, vignette, compression."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter


@dataclass(frozen=True)
class Camera:
    """Faults of a camera.

    Args:
        blur: Standard deviation, pixels.
        motion: Length of a level smear, pixels.
        shrink: Share of its size that the picture is reduced to and enlarged from again; 1 leaves it.
        noise: Standard deviation of a white pixel's shot noise, of 1.
        vignette: Share of light lost in the corners.
        quality: Of JPEG, 1 to 95; 0 for none.
        seed: Draws the noise.
    """

    blur: float = 0.0
    motion: int = 0
    shrink: float = 1.0
    noise: float = 0.0
    vignette: float = 0.0
    quality: int = 0
    seed: int = 0


def sample_camera(rng: np.random.Generator) -> Camera:
    """Draw a camera as phones have it, from nearly perfect to poor."""
    return Camera(
        blur=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.35 else 0.0,
        motion=int(rng.integers(2, 4)) if rng.random() < 0.1 else 0,
        shrink=float(rng.uniform(0.65, 1)) if rng.random() < 0.2 else 1.0,
        noise=float(rng.uniform(0.005, 0.04)) if rng.random() < 0.7 else 0.0,
        vignette=float(rng.uniform(0.05, 0.3)) if rng.random() < 0.2 else 0.0,
        quality=int(rng.integers(45, 96)) if rng.random() < 0.6 else 0,
        seed=int(rng.integers(2**31)),
    )


def take(pictures: list[np.ndarray], camera: Camera) -> list[np.ndarray]:
    """Take pictures of one size with the same camera and the same noise.

    Shapes:
        each (H, W, 3) float, 0 to 1 -> (H, W, 3) uint8
    """
    height, width = pictures[0].shape[:2]
    grain = None
    if camera.noise:
        rng = np.random.Generator(np.random.PCG64(camera.seed))
        grain = rng.standard_normal((height, width, 3), dtype=np.float32) * camera.noise
    falloff = _falloff(height, width, camera.vignette) if camera.vignette else None
    return [_one(picture, camera, grain, falloff) for picture in pictures]


def _one(
    picture: np.ndarray, camera: Camera, grain: np.ndarray | None, falloff: np.ndarray | None
) -> np.ndarray:
    levels = _soften(Image.fromarray((picture * 255 + 0.5).astype(np.uint8)), camera)
    if grain is not None or falloff is not None:
        values = np.asarray(levels, np.float32) / 255
        if falloff is not None:
            values = values * falloff
        if grain is not None:
            values = values + grain * np.sqrt(values + 0.02)
        levels = Image.fromarray((np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8))
    if camera.quality:
        buffer = io.BytesIO()
        levels.save(buffer, format="JPEG", quality=camera.quality)
        levels = Image.open(buffer)
    return np.array(levels)


def _soften(levels: Image.Image, camera: Camera) -> Image.Image:
    if camera.blur:
        levels = levels.filter(ImageFilter.GaussianBlur(camera.blur))
    if camera.motion:
        before = np.pad(np.asarray(levels, np.uint16), ((0, 0), (camera.motion - 1, 0), (0, 0)), mode="edge")
        total = (
            sum(before[:, shift : shift + levels.width] for shift in range(camera.motion)) // camera.motion
        )
        levels = Image.fromarray(np.asarray(total, np.uint8))
    if camera.shrink < 1:
        small = (max(8, round(levels.width * camera.shrink)), max(8, round(levels.height * camera.shrink)))
        levels = levels.resize(small, Image.Resampling.BOX).resize(levels.size, Image.Resampling.BICUBIC)
    return levels


def _falloff(height: int, width: int, lost: float) -> np.ndarray:
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    return (1 - lost * (y * y + x * x) / 2)[..., None].astype(np.float32)
