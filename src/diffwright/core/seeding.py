"""One CPU generator per image, so that a seed gives the same bytes on every device and in every batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from diffwright.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**63 - 1


def generator(seed: int) -> torch.Generator:
    """Make a CPU generator.

    Args:
        seed: 0 to 2^63 - 1.

    Returns:
        A fresh generator; two of the same seed draw the same numbers.

    Raises:
        ConfigError: the seed is not an integer in that range.
    """
    import torch

    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise ConfigError(
            f"seed {seed!r} was given where an integer from 0 to 2^63 - 1 is expected; choose one"
        )
    return torch.Generator(device="cpu").manual_seed(seed)


def generators(seeds: Iterable[int]) -> list[torch.Generator]:
    """Make one CPU generator for each seed, in order."""
    return [generator(seed) for seed in seeds]
