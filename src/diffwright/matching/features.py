"""A diffusion backbone's decoder features in place of the matcher's own coarse ones.

A U-Net that paints knows what belongs together. A picture is encoded, a little noise is added, and what the decoder
computes on the way to removing it becomes the levels of the cost volume. The fine features stay the matcher's own.

Reference:
    Tang et al., Emergent Correspondence from Image Diffusion, NeurIPS 2023, section 3.2.
"""

from __future__ import annotations

import zlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.checks import in_range, whole
from diffwright.core.errors import UnsupportedBackbone
from diffwright.core.images import to_u8
from diffwright.core.seeding import generator
from diffwright.diffusion.backbones import describe
from diffwright.diffusion.hooks import taps
from diffwright.diffusion.prompts import encode_pooled
from diffwright.diffusion.sites import match
from diffwright.matching.fields import size_of
from diffwright.matching.model import COARSE


class DecoderFeatures:
    """Gives coarse levels of pictures from a Stable Diffusion pipeline.

    Args:
        pipe: A pipeline that paints from text alone (``pocket``, SD 1.x, 2.x, XL).
        time: How much noise is added, as a share of the training's time steps, 0 to 1.
        levels: How many resolutions of the decoder are used, the finest first, 1 to 3.
        draws: Over how many noises the features are averaged, 1 to 16.
        prompt: What the U-Net is told.

    Raises:
        UnsupportedBackbone: the pipeline is of another layout.
        ConfigError: a number is out of range.
    """

    def __init__(
        self, pipe: Any, *, time: float = 0.04, levels: int = 2, draws: int = 2, prompt: str = ""
    ) -> None:
        found = describe(pipe)
        if found.unet_channels != found.latent_channels:
            raise UnsupportedBackbone(
                f"features of the layout {found.layout!r} are not supported: its U-Net reads a masked picture"
                " too; give a text-to-image model"
            )
        in_range("time", time, 0, 1)
        whole("levels", levels, 1, 3)
        whole("draws", draws, 1, 16)
        self.pipe, self.levels, self.draws = pipe, levels, draws
        self.step = round(time * (pipe.scheduler.config.num_train_timesteps - 1))
        self.text, self.pooled = encode_pooled(pipe, [prompt])
        self.factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def __call__(self, image: Tensor, inside: Tensor | None = None) -> tuple[Tensor, ...]:
        """Compute the levels, of unit length, each on its own grid.

        The picture is resized so that the U-Net has one latent cell for each coarse cell of the matcher.

        Args:
            image: Pictures in [-1, 1].
            inside: Where they show something; everywhere without it.

        Shapes:
            image (B, 3, H, W), inside bool (B, 1, H, W) -> (B, D, H/8, W/8), (B, D', H/16, W/16) ...
        """
        grid = image.shape[-2] // COARSE, image.shape[-1] // COARSE
        weight = next(self.pipe.unet.parameters())
        side = tuple(cells * self.factor for cells in grid)
        picture = F.interpolate(image, size=side, mode="bilinear", align_corners=False, antialias=True)
        encoded = self.pipe.vae.encode(picture.to(weight)).latent_dist.mean
        vae = self.pipe.vae.config
        shift = getattr(vae, "shift_factor", None) or 0.0
        latents = (encoded - shift) * vae.scaling_factor
        sums: list[Tensor] = []
        for draw in range(self.draws):
            noise = torch.cat([_noise(one, draw, latents.shape[1:]) for one in image]).to(latents)
            found = self._tapped(latents, noise)
            sums = [old + new for old, new in zip(sums, found, strict=True)] if sums else found
        return tuple(_unit(level, inside).to(image.device) for level in sums)

    def _tapped(self, latents: Tensor, noise: Tensor) -> list[Tensor]:
        """Last output of the decoder at each of its finest resolutions."""
        step = torch.tensor(self.step, device=latents.device)
        kept = self.pipe.scheduler.alphas_cumprod[self.step].to(latents)
        noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        text = self.text.to(latents).expand(len(latents), -1, -1)
        with taps(match(self.pipe.unet, "unet.up.*.resnet.*")) as captured:
            self.pipe.unet(noisy, step, text, added_cond_kwargs=self._added(latents))
        by_size = {calls[0].shape[-2:]: calls[0].float() for calls in captured.values()}
        return list(by_size.values())[::-1][: self.levels]

    def _added(self, latents: Tensor) -> dict[str, Tensor] | None:
        """What SDXL's U-Net is told besides: pooled text and the picture's size."""
        if self.pooled is None:
            return None
        height, width = (side * self.factor for side in latents.shape[-2:])
        sizes = torch.tensor([height, width, 0, 0, height, width])
        count = len(latents)
        return {
            "text_embeds": self.pooled.to(latents).expand(count, -1),
            "time_ids": sizes.to(latents).expand(count, -1),
        }


def _noise(image: Tensor, draw: int, shape: torch.Size) -> Tensor:
    """Noise that depends on the picture (3, H, W) alone.

    The same noise on both pictures of a pair would tie equal places together.
    """
    shown = to_u8(image.clamp(-1, 1))
    return torch.randn((1, *shape), generator=generator(zlib.crc32(shown.tobytes(), draw)))


def _unit(level: Tensor, inside: Tensor | None) -> Tensor:
    """Without their mean over the picture, features tell places apart; then unit length."""
    weight = torch.ones_like(level[:, :1])
    if inside is not None:
        weight = (F.adaptive_avg_pool2d(inside.to(level), size_of(level)) > 0.5).to(level)
    mean = (level * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1)
    return F.normalize(level - mean, dim=1) * weight
