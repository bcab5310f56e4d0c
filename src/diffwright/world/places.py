"""Grounds and skies, as functions of world position and view direction."""

import torch
from torch import Tensor


def hash01(i: Tensor, j: Tensor, salt: int = 0) -> Tensor:
    """Repeatable number in [0, 1) for each integer cell, the same on every device."""
    h = (i * 374761393 + j * 668265263 + salt * 2147483629) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF).float() / 65536.0


def value_noise(x: Tensor, y: Tensor, salt: int = 0) -> Tensor:
    """Smooth noise in [0, 1) with cells of unit size."""
    xi, yi = x.floor(), y.floor()
    fx, fy = x - xi, y - yi
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    i, j = xi.long(), yi.long()
    a, b = hash01(i, j, salt), hash01(i + 1, j, salt)
    c, d = hash01(i, j + 1, salt), hash01(i + 1, j + 1, salt)
    return (a + (b - a) * fx) * (1 - fy) + (c + (d - c) * fx) * fy


def _rgb(like: Tensor, *values: float) -> Tensor:
    return like.new_tensor(values).unsqueeze(1)


def ground(place: str, x: Tensor, z: Tensor, footprint: Tensor) -> Tensor:
    """Albedo of the ground (3, M) at world (x, z); detail fades with the pixel's ``footprint`` (M,)."""
    fine = 1 / (1 + (footprint * 9) ** 2)
    if place == "grass":
        n = value_noise(x * 2.3, z * 2.3, 1) * 0.6 + value_noise(x * 9, z * 4, 2) * 0.4 * fine
        return _rgb(x, 0.30, 0.42, 0.16) + (n - 0.5) * _rgb(x, 0.22, 0.24, 0.10)
    if place == "sand":
        ripple = torch.sin(z * 9 + 2.0 * value_noise(x * 0.9, z * 0.9, 3) * 6) * fine
        return _rgb(x, 0.80, 0.68, 0.47) + ripple * _rgb(x, 0.035, 0.035, 0.03)
    if place == "snow":
        n = value_noise(x * 1.1, z * 1.1, 4)
        return _rgb(x, 0.80, 0.86, 0.94) + (n - 0.5) * _rgb(x, 0.10, 0.08, 0.05)
    if place == "wooden table":
        plank = (z / 0.55).floor().long()
        tone = hash01(plank, plank * 0 + 7) * 0.22 - 0.11
        grain = (value_noise(x * 1.5 + plank * 5.3, z * 22, 5) - 0.5) * 0.16 * fine
        seam = ((z / 0.55 - (z / 0.55).floor() - 0.5).abs() > 0.475).float() * 0.45 * fine
        return _rgb(x, 0.56, 0.36, 0.20) * (1 + tone + grain - seam)
    if place == "tiles":
        check = torch.sin(x * 4.2) * torch.sin(z * 4.2)
        mix = (check * 6 * fine).tanh() * 0.5 + 0.5
        return _rgb(x, 0.44, 0.48, 0.53) * (1 - mix) + _rgb(x, 0.80, 0.80, 0.78) * mix
    crater = value_noise(x * 1.3, z * 1.3, 6)
    rim = torch.exp(-(((crater - 0.72) / 0.05) ** 2)) - 1.4 * (crater > 0.75).float()
    n = value_noise(x * 6, z * 6, 7) - 0.5
    return _rgb(x, 0.45, 0.45, 0.47) + (0.09 * rim + 0.10 * n * fine)


_SKIES = {  # color at the horizon, color above
    "grass": ((0.80, 0.89, 0.96), (0.36, 0.60, 0.90)),
    "sand": ((0.98, 0.90, 0.74), (0.52, 0.74, 0.88)),
    "snow": ((0.90, 0.93, 0.96), (0.66, 0.76, 0.86)),
    "wooden table": ((0.86, 0.80, 0.70), (0.76, 0.69, 0.60)),
    "tiles": ((0.72, 0.80, 0.80), (0.56, 0.68, 0.70)),
    "moon": ((0.07, 0.07, 0.10), (0.01, 0.01, 0.04)),
}


def sky(place: str, direction: Tensor) -> Tensor:
    """Color behind everything (3, M) along unit world directions (3, M)."""
    low, high = _SKIES[place]
    up = direction[1].clamp(0, 1)
    mix = (up * 2.6).clamp(0, 1)
    color = _rgb(up, *low) * (1 - mix) + _rgb(up, *high) * mix
    if place in ("grass", "sand"):
        flat = direction[:2] / (direction[1].clamp_min(0.02) + 0.25)
        cloud = value_noise(flat[0] * 2.2 + 11, flat[1] * 5.0, 8) * 0.65
        cloud = cloud + value_noise(flat[0] * 5.1, flat[1] * 11.0, 9) * 0.35
        cover = ((cloud - 0.52) * 4).clamp(0, 1) * (up * 8).clamp(0, 1)
        color = color + cover * (0.97 - color) * 0.85
    if place == "moon":
        cell = direction[:2] / direction[2].abs().clamp_min(0.2) * 70
        star = (hash01(cell[0].floor().long(), cell[1].floor().long(), 10) > 0.982).float()
        color = color + star * 0.75
    return color
