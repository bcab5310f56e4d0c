"""What the autoencoder loses."""

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def round_trip(vae: Any, images: Tensor, batch: int = 64) -> Tensor:
    """Encode and decode pictures, without sampling the latents.

    Args:
        vae: An ``AutoencoderKL``.
        images: Pictures in [-1, 1]; sides are multiples of its factor.
        batch: Pictures coded together.

    Shapes:
        images (B, 3, H, W) on any device -> (B, 3, H, W) on the same
    """
    device = next(vae.parameters()).device
    parts = [
        vae.decode(vae.encode(part.to(device)).latent_dist.mean).sample.to(images.device)
        for part in images.split(batch)
    ]
    return torch.cat(parts).float().clamp(-1, 1)
