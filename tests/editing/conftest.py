import numpy as np
import pytest

from diffwright.editing.presets import PRESETS
from tests.support.tiny import pipeline

SIZE = (32, 48)


def quick(name, **changes):
    """A preset with few steps in which every mechanism still acts."""
    from dataclasses import replace

    return replace(PRESETS[name], **{"steps": 10, **changes})


def box(x0, y0, x1, y1, size=SIZE):
    mask = np.zeros(size, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def noise_picture(size=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def smooth_picture(size=SIZE):
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([4 * x % 256, 5 * y % 256, 128 + 0 * x], axis=-1).astype(np.uint8)


@pytest.fixture(scope="session")
def pipes():
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = pipeline(kind)
        return made[kind]

    return get
