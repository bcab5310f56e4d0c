import numpy as np
import pytest

from diffwright.matching.matcher import Matcher
from tests.support import tiny_match


@pytest.fixture(scope="session")
def matcher():
    return Matcher(tiny_match.model())


@pytest.fixture
def photo():
    """A smooth random uint8 picture: ``photo(height, width, seed)``."""

    def make(height=48, width=64, seed=0):
        from PIL import Image

        rough = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC))

    return make
