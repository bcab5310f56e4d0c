"""How near two pictures are: PSNR and SSIM, a value a picture."""

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.errors import InputError


def psnr(picture: Tensor, reference: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio over 256-level pictures in [-1, 1] (peak to peak 2).

    Args:
        picture: Pictures in [-1, 1].
        reference: Of the same shape.
        mask: Where to measure, true = counted; everywhere without it.

    Shapes:
        picture, reference (B, 3, H, W); mask bool (H, W) or (B, H, W) -> (B,).

    Returns:
        Decibels a picture, infinite for equal ones, NaN where the mask is empty.

    Raises:
        InputError: The shapes differ.
    """
    _same_shape(picture, reference)
    error = (picture.double() - reference.double()).square().mean(dim=1)  # (B, H, W)
    where = torch.ones_like(error) if mask is None else mask.to(error).expand_as(error)
    mse = (error * where).sum(dim=(1, 2)) / where.sum(dim=(1, 2))
    return 10 * torch.log10(4 / mse)


def ssim(picture: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity with the paper's Gaussian window (11 pixels, sigma 1.5), mean over colors.

    Args:
        picture: Pictures in [-1, 1], at least 11 pixels a side.
        reference: Of the same shape.

    Shapes:
        picture, reference (B, 3, H, W) -> (B,).

    Returns:
        A number in [-1, 1] a picture, 1 for equal ones.

    Raises:
        InputError: The shapes differ or a side is under 11 pixels.

    Reference:
        Wang, Bovik, Sheikh, Simoncelli, Image Quality Assessment, 2004, equation 13.
    """
    _same_shape(picture, reference)
    if min(picture.shape[-2:]) < 11:
        raise InputError(f"ssim needs at least 11 x 11 pixels, got {tuple(picture.shape[-2:])}")
    x, y = picture.double(), reference.double()
    mu_x, mu_y = _window_mean(x), _window_mean(y)
    var_x = _window_mean(x * x) - mu_x**2
    var_y = _window_mean(y * y) - mu_y**2
    cov = _window_mean(x * y) - mu_x * mu_y
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    index = ((2 * mu_x * mu_y + c1) * (2 * cov + c2)) / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))
    return index.mean(dim=(1, 2, 3))


def _window_mean(x: Tensor) -> Tensor:
    """Gaussian mean of each color over the windows that fit, (B, C, H, W) -> (B, C, H-10, W-10)."""
    offset = torch.arange(11, dtype=x.dtype, device=x.device) - 5
    weight = torch.exp(-(offset**2) / (2 * 1.5**2))
    weight = (weight / weight.sum()).expand(x.shape[1], 1, 11)
    x = F.conv2d(x, weight.unsqueeze(2), groups=x.shape[1])
    return F.conv2d(x, weight.unsqueeze(3), groups=x.shape[1])


def _same_shape(picture: Tensor, reference: Tensor) -> None:
    if picture.ndim != 4 or picture.shape != reference.shape:
        raise InputError(
            f"expected two pictures of one shape (B, 3, H, W), got {tuple(picture.shape)} "
            f"and {tuple(reference.shape)}"
        )
