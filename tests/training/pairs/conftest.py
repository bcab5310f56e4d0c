import numpy as np
import pytest
import torch

from diffwright.training.pairs.bank import SIDE, Bank, silhouettes
from diffwright.training.pairs.textures import noise


@pytest.fixture(scope="session")
def canvases():
    return Bank().canvases(6)


@pytest.fixture(scope="session")
def smooth():
    rng = np.random.Generator(np.random.PCG64(0))
    fields = [noise(rng, SIDE, 3, 12) for _ in range(4)]
    return torch.from_numpy(np.stack(fields) * 255).to(torch.uint8).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="session")
def shapes():
    return silhouettes(6)
