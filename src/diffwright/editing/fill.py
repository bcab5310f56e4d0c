"""Simple inpainting: holes take a smooth continuation of what surrounds them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.geometry import box_of

REACH = 1.0  # of the hole's longer side is looked at around it


def filled(image_u8: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill a hole by pulling colors up a pyramid of means and pushing them down again.

    Args:
        image_u8: the picture.
        hole: pixels to fill; a picture that is all hole comes back as it is.

    Shapes:
        uint8 (H, W, 3), bool (H, W) -> uint8 (H, W, 3)

    Reference:
        Gortler et al., The Lumigraph, 1996, section 3.4.2 (pull and push).
    """
    if not hole.any() or hole.all():
        return image_u8.copy()
    x0, y0, x1, y1 = box_of(hole)
    reach = int(REACH * max(x1 - x0, y1 - y0)) + 2
    box = np.s_[max(0, y0 - reach) : y1 + reach, max(0, x0 - reach) : x1 + reach]
    if hole[box].all():
        box = np.s_[:, :]
    known = torch.from_numpy(~hole[box]).float()[None, None]
    colors = torch.from_numpy(image_u8[box].astype(np.float32)).permute(2, 0, 1)[None]
    smooth = _pull_push(colors * known, known)
    out = image_u8.copy()
    inside = hole[box]
    out[box][inside] = smooth[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()[inside]
    return out


def _pull_push(sums: Tensor, weights: Tensor) -> Tensor:
    """Weighted colors (1, 3, H, W) and weights (1, 1, H, W) to colors everywhere."""
    height, width = weights.shape[-2:]
    if min(height, width) == 1 and max(height, width) == 1:
        return sums / weights.clamp_min(1e-6)
    kernel = {"kernel_size": 2, "stride": 2, "ceil_mode": True}
    up = F.avg_pool2d(sums, **kernel) * 4, F.avg_pool2d(weights, **kernel) * 4
    scale = up[1].clamp_min(1.0)  # a known cell stays known, and no more than that
    coarse = _pull_push(up[0] / scale, up[1] / scale)
    below = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return sums + (1 - weights) * below
