import numpy as np
import pytest

from diffwright.metrics.colors import ciede2000, lab

# From the table of test data that Sharma, Wu and Dalal publish with the formula.
PUBLISHED = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("first", "second", "want"), PUBLISHED)
def test_published_pairs(first, second, want):
    a, b = np.array(first, float), np.array(second, float)
    assert float(ciede2000(a, b)) == pytest.approx(want, abs=1e-4)
    assert float(ciede2000(b, a)) == pytest.approx(want, abs=1e-4)


def test_lab_of_known_colors():
    known = {(255, 255, 255): (100, 0, 0), (0, 0, 0): (0, 0, 0), (255, 0, 0): (53.24, 80.09, 67.20)}
    for rgb, want in known.items():
        np.testing.assert_allclose(lab(np.array(rgb, np.uint8)), want, atol=0.02)


def test_equal_pictures_differ_by_nothing():
    picture = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    assert ciede2000(lab(picture), lab(picture)).max() == 0
