"""Recipe ``vae``: the picture autoencoder that all pocket models share.

Stock ``AutoencoderKL``, f = 4, eight latent channels. The loss is the squared error; a little noise on the latents
keeps the decoder steady under a denoiser's errors, and half of the batches are decoded from shrunken latents into the
shrunken picture (EQ-VAE, Kouzelis et al. 2025, section 3), which keeps latents smooth: a denoiser learns shapes from
smooth channels. At export all channels are centered and brought to unit variance together, inside the two 1x1
convolutions next to the latents, so ``scaling_factor`` is 1.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.diffusion.autoencoder import round_trip
from diffwright.metrics.pictures import psnr
from diffwright.training.corpus import Renders, as_tensor, drawn_words, textures
from diffwright.training.starts import part_of
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.splits import seeds

POSTERIOR_STD = 0.05


@dataclass(frozen=True, kw_only=True)
class VaeOptions:
    """Options of the recipe.

    Args:
        cache: Folder of cached renders.
        channels: Widths at 1, 1/2 and 1/4 of the size.
        crop: Side of the training crops, pixels.
        noise: Standard deviation of the noise on latents, in units of their own.
        shrunken: Share of the batches that are decoded at half size.
        pool: Drawn words, and as many textures, beside the renders.
        fixed: Unseen renders that measure it.
        init: Autoencoder to start from, or a pipeline that holds one.
    """

    cache: Path = Path(".cache/renders")
    channels: tuple[int, int, int] = (16, 48, 128)
    crop: int = 32
    noise: float = 0.02
    shrunken: float = 0.5
    pool: int = 1500
    fixed: int = 128
    init: Path | None = None


class VaeTask:
    """Reconstruct renders, drawn words and textures."""

    name = "vae"

    def __init__(self, options: VaeOptions) -> None:
        self.options = options
        self.renders = Renders(options.cache)
        self.words, self.textures = drawn_words(options.pool, 1), textures(options.pool, 2)
        scenes = sample(seeds("development", options.fixed), core=False)
        self.fixed = render(scenes).image
        self.vae = self._build()

    def _build(self) -> nn.Module:
        from diffusers import AutoencoderKL

        if self.options.init:
            return AutoencoderKL.from_pretrained(part_of(self.options.init, "vae"), torch_dtype=torch.float32)
        return AutoencoderKL(
            block_out_channels=self.options.channels,  # pyright: ignore[reportArgumentType]
            down_block_types=("DownEncoderBlock2D",) * 3,  # pyright: ignore[reportArgumentType]
            up_block_types=("UpDecoderBlock2D",) * 3,  # pyright: ignore[reportArgumentType]
            latent_channels=8,
            layers_per_block=1,
            norm_num_groups=8,
            mid_block_add_attention=False,
            sample_size=64,
            scaling_factor=1.0,
        )

    def modules(self) -> dict[str, nn.Module]:
        """The autoencoder."""
        return {"vae": self.vae}

    def batch(self, indices: Tensor) -> Tensor:
        """Crops (B, 3, crop, crop) in [-1, 1]: six in seven from renders, the rest words and textures."""
        side = self.options.crop
        renders = iter(self.renders.numbers(indices))
        crops = []
        for index in indices.tolist():
            rng = np.random.Generator(np.random.PCG64([3, index]))
            number, choice = next(renders), rng.random()
            if choice < 0.86:
                image = self.renders.cache.image(number)
            else:
                pool = self.words if choice < 0.94 else self.textures
                image = pool[int(rng.integers(len(pool)))]
            x, y = rng.integers(0, image.shape[0] - side + 1, 2)
            crop = image[y : y + side, x : x + side]
            crops.append(crop[:, ::-1] if rng.random() < 0.5 and choice < 0.86 else crop)
        return as_tensor(np.stack(crops))

    def loss(
        self, modules: dict[str, nn.Module], batch: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Squared error of the reconstruction from slightly noisy latents."""
        vae: Any = modules["vae"]
        z = vae.encode(batch).latent_dist.mean.float()
        spread = z.std()
        offset = z.mean(dim=(0, 2, 3)).square().mean() + spread.log() ** 2
        shrink = torch.rand((), generator=generator, device=z.device) < self.options.shrunken
        if shrink:
            z, batch = F.avg_pool2d(z, 2), F.avg_pool2d(batch, 2)
        noise = torch.randn(z.shape, generator=generator, device=z.device)
        noisy = z + self.options.noise * spread * noise
        error = F.mse_loss(vae.decode(noisy).sample.float(), batch)
        return error + 1e-4 * offset, {"mse": error.detach(), "psnr": -10 * (error.detach() / 4).log10()}

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """PSNR on unseen renders and on words, and how alike neighbouring latents are."""
        words = as_tensor(drawn_words(64, 99))
        return {
            "psnr_renders": float(psnr(round_trip(modules["vae"], self.fixed), self.fixed).mean()),
            "psnr_words": float(psnr(round_trip(modules["vae"], words), words).mean()),
            "latent_correlation": neighbour_correlation(modules["vae"], self.fixed),
        }

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Write the autoencoder with unit-variance latents, half precision."""
        import copy

        vae: Any = copy.deepcopy(modules["vae"]).float()
        normalise(vae, self.renders.pictures(self.renders.numbers(torch.arange(1024))))
        vae.half().save_pretrained(directory)


@torch.no_grad()
def neighbour_correlation(vae: Any, images: Tensor) -> float:
    """Correlation of horizontally neighbouring latents over all channels; 1 is perfectly smooth.

    Args:
        vae: An ``AutoencoderKL``.
        images: Pictures (B, 3, H, W) in [-1, 1].
    """
    z = vae.encode(images.to(next(vae.parameters()).device)).latent_dist.mean
    z = z - z.mean(dim=(0, 2, 3), keepdim=True)
    return float((z[..., 1:] * z[..., :-1]).mean() / z.square().mean())


@torch.no_grad()
def normalise(vae: Any, images: Tensor) -> None:
    """Center each latent channel and give all together unit variance, in place; reconstructions stay.

    Args:
        vae: An ``AutoencoderKL`` with its 1x1 quantization convolutions.
        images: Pictures (B, 3, H, W) in [-1, 1] over which the moments are taken.
    """
    device = next(vae.parameters()).device
    z = torch.cat([vae.encode(part.to(device)).latent_dist.mean for part in images.split(64)])
    mean = z.mean(dim=(0, 2, 3))
    std, c = (z - mean.view(1, -1, 1, 1)).square().mean().sqrt(), len(mean)
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:c] /= std
    before.bias[:c] = (before.bias[:c] - mean) / std
    before.weight[c:] = 0
    before.bias[c:] = 2 * float(np.log(POSTERIOR_STD))
    after.bias += (after.weight[:, :, 0, 0] * mean).sum(1)
    after.weight *= std
