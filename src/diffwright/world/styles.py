"""Styles: what is done to a finished picture in image space. Every style keeps the hue of things."""

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.world.places import hash01, value_noise


def stylize(styles: list[str], photo: Tensor, share: Tensor) -> Tensor:
    """Apply each picture's style.

    Shapes:
        photo (B, 3, H, W) in [0, 1], share (B, K, H, W) coverage of each thing -> (B, 3, H, W) in [0, 1]
    """
    photo = photo.clamp(0, 1)
    out = photo.clone()
    for style, apply in _STYLES.items():
        rows = [i for i, name in enumerate(styles) if name == style]
        if rows:
            out[rows] = apply(photo[rows], share[rows])
    return out


def _grid(image: Tensor) -> tuple[Tensor, Tensor, float]:
    h, w = image.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(h, device=image.device), torch.arange(w, device=image.device), indexing="ij"
    )
    return x, y, h / 64


def _blur(image: Tensor, radius: int) -> Tensor:
    c = image.shape[1]
    side = 2 * radius + 1
    kernel = torch.ones(c, 1, side, side, device=image.device) / side**2
    return F.conv2d(F.pad(image, (radius,) * 4, mode="replicate"), kernel, groups=c)


def _edges(photo: Tensor, share: Tensor) -> Tensor:
    """Outlines in [0, 1] from jumps of color and of object coverage, (B, 1, H, W)."""

    def jump(x: Tensor) -> Tensor:
        p = F.pad(x, (1, 1, 1, 1), mode="replicate")
        dx = p[..., 1:-1, 2:] - p[..., 1:-1, :-2]
        dy = p[..., 2:, 1:-1] - p[..., :-2, 1:-1]
        return (dx * dx + dy * dy).sum(1, keepdim=True).sqrt()

    return (jump(photo) * 0.9 + jump(share) * 0.55 - 0.12).clamp(0, 1)


def _luma(image: Tensor) -> Tensor:
    weights = image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (image * weights).sum(1, keepdim=True)


def _pencil(photo: Tensor, share: Tensor) -> Tensor:
    x, y, unit = _grid(photo)
    gray = _luma(photo)
    inside = share.sum(1, keepdim=True).clamp(0, 1)
    tint = photo + (photo - gray) * 0.25
    hatch = ((x + y) / (1.5 * unit)).float().sin() * 0.5 + 0.5
    tone = (1 - gray) * (0.55 + 0.45 * hatch)
    paper = torch.full_like(photo, 0.97)
    object_ink = paper * (1 - 0.78) + tint * 0.78
    ground_ink = paper - 0.30 * tone + 0.10 * (photo - gray)
    drawn = inside * object_ink * (0.86 + 0.14 * hatch) + (1 - inside) * ground_ink
    return drawn * (1 - 0.80 * _edges(photo, share))


def _watercolor(photo: Tensor, share: Tensor) -> Tensor:
    x, y, unit = _grid(photo)
    radius = max(1, round(1.5 * unit))
    soft = _blur(_blur(photo, radius), radius)
    inside = share.sum(1, keepdim=True).clamp(0, 1)
    wash = soft * (1 - inside) + (_blur(photo, max(1, round(unit))) * inside)
    gray = _luma(wash)
    wash = gray + (wash - gray) * 1.15
    bloom = value_noise(x / (7 * unit), y / (7 * unit), 21) - 0.5
    grain = hash01(x // max(1, round(unit)), y // max(1, round(unit)), 22) - 0.5
    wash = 0.22 + 0.78 * wash + 0.16 * bloom + 0.05 * grain
    rim = _edges(wash, inside)
    wash = wash - 0.22 * rim
    edge = torch.minimum(torch.minimum(x, x.max() - x), torch.minimum(y, y.max() - y)).float() / unit
    wobble = 3.2 + 4.5 * value_noise(x / (5 * unit), y / (5 * unit), 23)
    fade = ((edge - wobble) / 2.0).clamp(0, 1)
    return wash * fade + 0.98 * (1 - fade)


def _pixel_art(photo: Tensor, share: Tensor) -> Tensor:
    h = photo.shape[-1]
    block = max(1, h // 32)
    small = F.avg_pool2d(photo, block)
    cover = F.avg_pool2d(share, block)
    gray = _luma(small).clamp_min(0.02)
    small = (small * (((gray * 6).round() / 6).clamp_min(0.06) / gray)).clamp(0, 1)
    outline = (_edges(cover * 0, cover) > 0.25).float()
    small = small * (1 - 0.85 * outline)
    return small.repeat_interleave(block, -1).repeat_interleave(block, -2)


def _mosaic(photo: Tensor, share: Tensor) -> Tensor:
    """Stone tiles: a pixel takes the mean color of its cell in a jittered grid; tiles follow outlines."""
    x, y, unit = _grid(photo)
    owner, gap = _cells(x, y, 3.2 * unit)
    b = len(photo)
    inside = (share.sum(1) > 0.5).long().reshape(b, 1, -1)
    cells = int(owner.max()) + 1
    flat = (owner.reshape(1, 1, -1) + cells * inside).expand(b, 3, -1)
    sums = torch.zeros(b, 3, 2 * cells, device=photo.device).scatter_add(2, flat, photo.reshape(b, 3, -1))
    count = torch.zeros_like(sums).scatter_add(2, flat, torch.ones_like(photo).reshape(b, 3, -1))
    tiles = (sums / count.clamp_min(1)).gather(2, flat).reshape(photo.shape)
    tone = 0.91 + 0.18 * hash01(owner, owner * 0, 33)
    grout = (1 - gap / (0.8 * unit)).clamp(0, 1) * 0.45
    return tiles * tone * (1 - grout) + 0.34 * grout


def _cells(x: Tensor, y: Tensor, pitch: float) -> tuple[Tensor, Tensor]:
    """Number of the nearest jittered grid point of each pixel, and how far the pixel is from a tie."""
    cx, cy = (x / pitch).floor().long(), (y / pitch).floor().long()
    across = int(cx.max()) + 3
    best = torch.full_like(x, 1e9, dtype=torch.float32)
    second, owner = best.clone(), torch.zeros_like(cx)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            i, j = cx + dx, cy + dy
            sx = (i + 0.5 + 0.5 * (hash01(i, j, 31) - 0.5)) * pitch
            sy = (j + 0.5 + 0.5 * (hash01(i, j, 32) - 0.5)) * pitch
            d = ((x + 0.5 - sx) ** 2 + (y + 0.5 - sy) ** 2).sqrt()
            second = torch.minimum(second, torch.maximum(d, best))
            owner = torch.where(d < best, (j + 1) * across + i + 1, owner)
            best = torch.minimum(best, d)
    return owner, second - best


def _night(photo: Tensor, share: Tensor) -> Tensor:
    inside = share.sum(1, keepdim=True).clamp(0, 1)
    dark = photo * photo.new_tensor([0.13, 0.18, 0.38]).view(1, 3, 1, 1)
    glow = photo * photo.new_tensor([0.80, 0.76, 0.84]).view(1, 3, 1, 1)
    return dark * (1 - inside) + glow * inside


_STYLES = {
    "pencil": _pencil,
    "watercolor": _watercolor,
    "pixel art": _pixel_art,
    "mosaic": _mosaic,
    "night": _night,
}
