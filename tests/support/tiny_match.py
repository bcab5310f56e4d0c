"""Tiny random matching models and pairs with a known field, for tests without trained weights."""

import torch

from diffwright.core.geometry import pixel_grid
from diffwright.matching.model import MatchConfig, MatchModel

SIZES = {
    "size": 64,
    "feature_widths": (8, 8, 16, 16),
    "feature_blocks": (1, 1, 1, 1),
    "coarse_channels": 16,
    "fine_channels": 8,
    "stage1_widths": (16, 16),
    "stage1_blocks": 1,
    "stage2_widths": (16, 16),
    "attention": 1,
}


def config(**changes):
    """Configuration of a model that runs in milliseconds: 64 pixels, grids of 8 and 32 cells."""
    return MatchConfig(**{**SIZES, **changes})


def model(seed=0, **changes):
    """Build a random model; layers that start at zero are filled too, so that its stages do something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = MatchModel(config(**changes)).eval()
        with torch.no_grad():
            for parameter in net.parameters():
                if not parameter.any():
                    parameter.normal_(0, 0.05)
    return net


def folder(path, seed=0, **changes):
    """Save ``model(seed, **changes)`` as ``Matcher.from_pretrained`` reads it and return the path."""
    model(seed, **changes).save_pretrained(path)
    return path


def codes(height, width, channels=64, seed=0):
    """Unit vectors that differ from cell to cell: features of a picture without repetition, (1, D, h, w)."""
    values = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=1)


def smooth_codes(places, channels=256, seed=0):
    """Smooth unit vectors over the plane, read at places (1, 2, h, w) in cells: similarity falls with distance.

    Random Fourier features of a Gaussian kernel 1.5 cells wide, so a field between cells can be found.
    """
    generator = torch.Generator().manual_seed(seed)
    rates = torch.randn(channels // 2, 2, generator=generator) / 1.5
    angle = torch.einsum("dk,bkhw->bdhw", rates, places)
    return torch.cat([angle.cos(), angle.sin()], dim=1) / (channels / 2) ** 0.5


def affine_field(height, width, matrix, shift=(0.0, 0.0)):
    """Field ``i -> A (i - c) + c + shift - i`` on a grid, (1, 2, h, w)."""
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2])[:, None, None]
    offset = pixel_grid(height, width) - middle
    moved = torch.einsum("ij,bjhw->bihw", torch.as_tensor(matrix, dtype=offset.dtype), offset)
    return moved + torch.tensor(shift)[:, None, None] - offset
