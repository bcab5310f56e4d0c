import numpy as np
import pytest

from diffwright.bench import matching_corruptions as corruptions
from diffwright.core.errors import ConfigError
from tests.support.match_files import texture

KEEP_POINTS = [name for name in corruptions.CORRUPTIONS if name != "elastic"]
IMAGE = texture(96, 120)


def test_there_are_fifteen_and_six_of_them_are_held_out_of_training():
    assert len(corruptions.CORRUPTIONS) == 15
    assert len(corruptions.HELD_OUT) == 6
    assert set(corruptions.HELD_OUT) <= set(corruptions.CORRUPTIONS)


@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_each_changes_the_picture_and_repeats_itself(name):
    bad = corruptions.corrupt(IMAGE, name, "one")
    assert bad.shape == IMAGE.shape
    assert bad.dtype == np.uint8
    assert np.abs(bad.astype(int) - IMAGE).mean() > 2
    assert np.array_equal(bad, corruptions.corrupt(IMAGE, name, "one"))


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "snow", "frost", "fog", "glass_blur", "motion_blur", "elastic"]
)
def test_random_ones_depend_on_the_seed(name):
    first, second = (corruptions.corrupt(IMAGE, name, seed) for seed in ("one", "two"))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", ["defocus_blur", "glass_blur", "zoom_blur", "contrast", "jpeg", "pixelate"])
def test_a_uniform_picture_stays_uniform(name):
    flat = np.full((64, 64, 3), 90, np.uint8)
    bad = corruptions.corrupt(flat, name, "x").astype(int)
    assert np.ptp(bad) <= 2
    assert abs(bad.mean() - 90) <= (6 if name == "jpeg" else 2)


def test_noise_has_its_strength():
    gray = np.full((200, 200, 3), 0.5)
    rng = np.random.default_rng(0)
    assert corruptions.CORRUPTIONS["gaussian_noise"](gray, rng).std() == pytest.approx(0.38, rel=0.02)
    assert corruptions.CORRUPTIONS["shot_noise"](gray, rng).std() == pytest.approx((0.5 / 3) ** 0.5, rel=0.02)
    hit = corruptions.CORRUPTIONS["impulse_noise"](gray, rng)
    assert (hit != 0.5).mean() == pytest.approx(0.27, rel=0.03)


def test_brightness_keeps_the_hue():
    color = np.full((4, 4, 3), (0.4, 0.2, 0.1))
    bright = corruptions.CORRUPTIONS["brightness"](color, np.random.default_rng(0))
    assert bright[0, 0] == pytest.approx([0.9, 0.45, 0.225])


def test_elastic_moves_points_by_a_few_pixels():
    ramp = np.stack(np.broadcast_arrays(*np.mgrid[:240, :240], 0), -1) / 255.0
    rng = np.random.default_rng(1)
    moved = corruptions.CORRUPTIONS["elastic"](ramp, rng)[40:-40, 40:-40, :2] - ramp[40:-40, 40:-40, :2]
    assert 1 < np.hypot(*np.moveaxis(moved * 255, -1, 0)).mean() < 8


def test_glass_shuffles_within_its_reach():
    spot = np.zeros((64, 64, 3))
    spot[32, 32] = 1
    spread = corruptions.CORRUPTIONS["glass_blur"](spot, np.random.default_rng(0))[..., 0] > 1e-3
    rows, columns = np.nonzero(spread)
    assert np.abs(np.r_[rows, columns] - 32).max() <= 24


def test_an_unknown_corruption_is_named():
    with pytest.raises(ConfigError, match="did you mean 'frost'"):
        corruptions.corrupt(IMAGE, "frots", "x")
