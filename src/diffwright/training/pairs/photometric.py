"""How each picture of a pair is spoiled on its own: light, color, fog, blur, noise, compression, holes.

Six kinds of corruption are kept out, so that a test under them says how the matcher bears what it never saw.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

HELD_OUT = ("frost", "snow", "glass blur", "zoom blur", "pixelate", "elastic")
"""Corruptions that training never shows."""

KERNEL = 9
TILE = 640  # side of the noise that all pictures cut theirs from
LUMA = np.array([0.299, 0.587, 0.114])
SHARES = {
    "shade": 0.35,
    "fog": 0.10,
    "gamma": 0.25,
    "blur": 0.25,
    "strong_blur": 0.06,
    "noise": 0.55,
    "impulse": 0.06,
    "compression": 0.25,
    "hole": 0.10,
}
"""How often each is used; colors always change a little."""


class Looks(NamedTuple):
    """What happens to N pictures.

    Shapes:
        color (N, 3, 4) the matrix and offset of RGB in [0, 1]; gamma (N,); shade (N, 1, 4, 4) factors;
        fog (N, 1, 8, 8) coverage in [0, 1]; haze (N, 3) its color; kernel (N, KERNEL, KERNEL);
        noise (N, 2) deviation of the noise and of the part that grows with the root of brightness;
        impulse (N,) deviations beyond which noise makes a pixel black or white; step (N,) of the compression;
        hole (N, 3) color, with corners x0 y0 x1 y1 in ``box`` as shares of the side; ``start`` is where each
        picture's noise begins in the tile; ``rows`` names the pictures to which each is done
    """

    color: Tensor
    gamma: Tensor
    shade: Tensor
    fog: Tensor
    haze: Tensor
    kernel: Tensor
    noise: Tensor
    impulse: Tensor
    step: Tensor
    hole: Tensor
    box: list[list[float]]
    start: list[list[int]]
    rows: dict[str, list[int]]


def draw(rngs: Sequence[np.random.Generator]) -> Looks:
    """Draw what happens to one picture from each generator."""
    drawn = [_draw_one(rng) for rng in rngs]
    rows = {name: [i for i, one in enumerate(drawn) if name in one["used"]] for name in SHARES}
    stacked = {
        name: torch.from_numpy(np.stack([np.asarray(one[name], np.float32) for one in drawn]))
        for name in Looks._fields
        if name not in ("box", "start", "rows")
    }
    box, start = ([one[name] for one in drawn] for name in ("box", "start"))
    return Looks(rows=rows, box=box, start=start, **stacked)


def apply(looks: Looks, images: Tensor) -> Tensor:
    """Spoil pictures.

    Args:
        looks: One for each picture, on its device.
        images: In [-1, 1]; the side is a multiple of 8.

    Shapes:
        (N, 3, S, S) -> (N, 3, S, S) in [-1, 1]
    """
    x, size, rows = (images + 1) / 2, images.shape[-1], looks.rows

    def change(name: str, result: Callable[[Tensor, Tensor], Tensor]) -> None:
        if chosen := rows[name]:
            at = torch.tensor(chosen, device=x.device)
            x.index_copy_(0, at, result(x.index_select(0, at), at))

    change("shade", lambda y, i: y * _smooth(looks.shade[i], size))
    change("fog", lambda y, i: y.lerp(looks.haze[i][:, :, None, None], _smooth(looks.fog[i], size)))
    x = recolored(x, looks.color).clamp_(0, 1)
    change("gamma", lambda y, i: y ** looks.gamma[i].view(-1, 1, 1, 1))
    change("blur", lambda y, i: blurred(y, looks.kernel[i]))
    change(
        "strong_blur",
        lambda y, i: _smooth(blurred(F.avg_pool2d(y, 2), looks.kernel[i]), size),
    )
    for name, grainy in (("noise", _noisy), ("impulse", _speckled)):
        change(name, lambda y, i, f=grainy: f(looks, y, i))
    change("compression", lambda y, i: compressed(y.clamp(0, 1), looks.step[i]))
    for i in rows["hole"]:
        x0, y0, x1, y1 = (int(edge * size) for edge in looks.box[i])
        x[i, :, y0:y1, x0:x1] = looks.hole[i, :, None, None]
    return x.clamp_(0, 1).mul_(2).sub_(1)


def recolored(images: Tensor, color: Tensor) -> Tensor:
    """Apply a matrix and an offset to the channels.

    Shapes:
        images (N, 3, H, W), color (N, 3, 4) -> (N, 3, H, W)
    """
    return torch.baddbmm(color[:, :, 3:], color[:, :, :3], images.flatten(2)).view_as(images)


def blurred(images: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each picture with its own kernel, edges repeated.

    Shapes:
        images (N, 3, H, W), kernel (N, K, K) -> (N, 3, H, W)
    """
    padded = F.pad(images, (kernel.shape[-1] // 2,) * 4, mode="replicate").flatten(0, 1)[None]
    weight = kernel.repeat_interleave(3, dim=0)[:, None]
    return F.conv2d(padded, weight, groups=len(weight)).view_as(images)


def compressed(images: Tensor, step: Tensor) -> Tensor:
    """Round the cosine transform of each 8 x 8 block, coarser for higher frequencies, as JPEG does.

    Args:
        images: In [0, 1].
        step: Step of the mean of a block; that of frequency (u, v) is ``1 + 0.7 (u + v)`` times larger.

    Shapes:
        images (N, 3, H, W), step (N,) -> (N, 3, H, W), not bounded
    """
    n, _, height, width = images.shape
    dct = _cosines(images)
    blocks = images.reshape(n, 3, height // 8, 8, width // 8, 8).transpose(3, 4)
    order = torch.arange(8, device=images.device)
    steps = step.view(n, 1, 1, 1, 1, 1) * (1 + 0.7 * (order[:, None] + order))
    rounded = (dct @ blocks @ dct.T / steps).round() * steps
    return (dct.T @ rounded @ dct).transpose(3, 4).reshape(images.shape)


def color_matrix(saturation: float, hue: float, contrast: float, brightness: float) -> np.ndarray:
    """Matrix and offset (3, 4) of a change of color of RGB in [0, 1]; a matrix times (r, g, b, 1).

    Args:
        saturation: 1 leaves it, 0 is gray.
        hue: Turn about the gray axis, degrees.
        contrast: Factor about middle gray.
        brightness: Offset.
    """
    angle, axis = np.radians(hue), np.full(3, 1 / np.sqrt(3))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix = contrast * (saturation * np.eye(3) + (1 - saturation) * LUMA) @ turn
    return np.concatenate([matrix, np.full((3, 1), 0.5 - 0.5 * contrast + brightness)], axis=1)


def _noisy(looks: Looks, y: Tensor, rows: Tensor) -> Tensor:
    sigma, shot = looks.noise[rows].view(-1, 2, 1, 1, 1).unbind(1)
    return y + _grain(looks, y, rows) * (sigma**2 + shot**2 * y.clamp_min(0)).sqrt()


def _speckled(looks: Looks, y: Tensor, rows: Tensor) -> Tensor:
    grain, limit = _grain(looks, y, rows), looks.impulse[rows].view(-1, 1, 1, 1)
    return torch.where(grain > limit, 1.0, torch.where(grain < -limit, 0.0, y))


def _grain(looks: Looks, y: Tensor, rows: Tensor) -> Tensor:
    tile, offset = _tile(y.device), torch.arange(y.shape[-1], device=y.device)
    cuts = []
    for i in rows.tolist():
        top, left = looks.start[i]
        cuts.append(tile[:, (top + offset)[:, None] % TILE, (left + offset) % TILE])
    return torch.stack(cuts)


@lru_cache(maxsize=2)
def _tile(device: torch.device) -> Tensor:
    rng = np.random.Generator(np.random.PCG64(23))
    return torch.from_numpy(rng.standard_normal((3, TILE, TILE), dtype=np.float32)).to(device)


def _cosines(like: Tensor) -> Tensor:
    """Orthonormal cosine transform (8, 8)."""
    order = torch.arange(8, device=like.device, dtype=like.dtype)
    dct = (torch.pi / 8 * order[:, None] * (order + 0.5)).cos() / 2
    dct[0] /= 2**0.5
    return dct


def _smooth(field: Tensor, size: int) -> Tensor:
    return F.interpolate(field, size=(size, size), mode="bilinear", align_corners=False)


def _draw_one(rng: np.random.Generator) -> dict[str, Any]:
    plain = rng.random() < 0.15  # some pictures are as they are
    used = {name for name, share in SHARES.items() if rng.random() < share and not plain}
    strong = rng.random() < 0.2
    sigma = rng.uniform(0.05, 0.35) if strong else rng.uniform(0, 0.04)
    shot = np.exp(rng.uniform(np.log(0.03), np.log(0.5))) if rng.random() < 0.15 else 0.0
    wide, high = rng.uniform(0.08, 0.35, 2)
    left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)
    return {
        "used": used,
        "color": _color(rng, plain),
        "gamma": np.exp(rng.uniform(-0.6, 0.6)),
        "shade": np.exp(rng.uniform(-1, 1, (1, 4, 4)) * rng.uniform(0, 0.7)),
        "fog": rng.random((1, 8, 8)) * rng.uniform(0.3, 0.9),
        "haze": rng.uniform(0.5, 1.0) + rng.uniform(-0.05, 0.05, 3),
        "kernel": _kernel(rng),
        "noise": [sigma, shot],
        "impulse": NormalDist().inv_cdf(1 - rng.uniform(0.01, 0.27) / 2),
        "step": np.exp(rng.uniform(np.log(0.015), np.log(0.35))),
        "hole": rng.uniform(0, 1, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0, 1)),
        "box": [left, top, left + wide, top + high],
        "start": rng.integers(0, TILE, 2).tolist(),
    }


def _color(rng: np.random.Generator, plain: bool) -> np.ndarray:
    saturation = 0.0 if rng.random() < 0.12 else rng.uniform(0.5, 1.4)
    hue = rng.uniform(-40, 40) if rng.random() < 0.3 else rng.uniform(-5, 5)
    contrast = np.exp(rng.uniform(-2.5, -0.5) if rng.random() < 0.12 else rng.uniform(-0.4, 0.3))
    brightness = rng.uniform(-0.4, 0.45) if rng.random() < 0.1 else rng.uniform(-0.12, 0.12)
    return color_matrix(1, 0, 1, 0) if plain else color_matrix(saturation, hue, contrast, brightness)


def _kernel(rng: np.random.Generator) -> np.ndarray:
    """A Gaussian, a disk or a line."""
    axis = np.arange(KERNEL) - KERNEL // 2
    x, y = np.meshgrid(axis, axis)
    kind = rng.random()
    if kind < 0.5:
        kernel = np.exp(-(x**2 + y**2) / (2 * rng.uniform(0.3, 2.0) ** 2))
    elif kind < 0.75:
        kernel = np.clip(rng.uniform(1.0, 4.0) + 0.5 - np.hypot(x, y), 0, 1)
    else:
        turn, reach = rng.uniform(0, np.pi), rng.uniform(1.0, 4.0)
        along, aside = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        kernel = np.clip(reach + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(aside), 0, 1)
    return kernel / kernel.sum()
