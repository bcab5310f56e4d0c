import numpy as np
import pytest

from diffwright.core.errors import ConfigError, InputError
from diffwright.matching.fit import fit_homography

TRUE = np.array([[0.9, 0.2, 30.0], [-0.15, 1.1, -12.0], [2e-4, -1e-4, 1.0]])


def pairs(count=200, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.uniform(0, 400, (count, 2))
    lifted = np.c_[a, np.ones(count)] @ TRUE.T
    return a, lifted[:, :2] / lifted[:, 2:] + rng.normal(0, noise, (count, 2)) if noise else lifted[
        :, :2
    ] / lifted[:, 2:]


def test_exact_matches_give_the_exact_map():
    a, b = pairs()
    found = fit_homography(a, b)
    np.testing.assert_allclose(found.matrix, TRUE, atol=1e-6)
    assert found.inliers.all()
    np.testing.assert_allclose(found.apply(a), b, atol=1e-6)


def test_a_third_of_wrong_matches_does_not_matter():
    a, b = pairs(300, noise=0.5)
    wrong = np.random.default_rng(1).permutation(300)[:100]
    b[wrong] = np.random.default_rng(2).uniform(0, 400, (100, 2))
    found = fit_homography(a, b)
    corners = np.array([[0, 0], [400, 0], [0, 400], [400, 400]], float)
    lifted = np.c_[corners, np.ones(4)] @ TRUE.T
    assert np.abs(found.apply(corners) - lifted[:, :2] / lifted[:, 2:]).max() < 1.5
    assert found.inliers[wrong].mean() < 0.05
    assert 0.2 < found.error_px < 1
    assert fit_homography(a, b).matrix.tolist() == found.matrix.tolist()


def test_points_on_a_line_or_too_few_are_refused():
    line = np.c_[np.arange(20.0), 2 * np.arange(20.0)]
    with pytest.raises(InputError, match="on a line"):
        fit_homography(line, line)
    with pytest.raises(InputError, match="at least four"):
        fit_homography(line[:3], line[:3])
    with pytest.raises(InputError, match="at least four"):
        fit_homography(line, line[:5])
    with pytest.raises(ConfigError, match="threshold"):
        fit_homography(line, line, threshold=0)
