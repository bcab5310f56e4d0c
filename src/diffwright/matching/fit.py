"""A homography from matches: normalised direct linear transform inside RANSAC, in NumPy.

Reference:
    Hartley & Zisserman, Multiple View Geometry, 2nd ed., algorithms 4.2 and 4.6; score of Torr & Zisserman,
    MLESAC, CVIU 2000, Eq. 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffwright.core.checks import in_range, whole
from diffwright.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Homography:
    """A plane's map from picture A to picture B.

    Attributes:
        matrix: (3, 3), takes (x, y, 1) in pixels of A to B; its last entry is 1.
        inliers: bool (N,), which matches follow it.
        error_px: Median distance of the inliers from it.
    """

    matrix: np.ndarray
    inliers: np.ndarray
    error_px: float

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Take points (N, 2) of A to B."""
        return _mapped(self.matrix, np.asarray(points, float))


def fit_homography(
    points_a: np.ndarray, points_b: np.ndarray, *, threshold: float = 3.0, rounds: int = 1000, seed: int = 0
) -> Homography:
    """Find the homography that most matches follow.

    Args:
        points_a: Places in A, pixels.
        points_b: Their matches in B.
        threshold: Distance in B within which a match counts as following, 0.1 to 1000 pixels.
        rounds: Minimal sets that are tried, 1 to 100,000.
        seed: Chooses them.

    Shapes:
        points (N, 2), N at least 4

    Raises:
        InputError: there are fewer than four matches, or none of the sets gives a map.

    Example:
        >>> a = np.random.default_rng(0).uniform(0, 100, (50, 2))
        >>> bool(np.allclose(fit_homography(a, a + [5, -2]).matrix, [[1, 0, 5], [0, 1, -2], [0, 0, 1]]))
        True
    """
    in_range("threshold", threshold, 0.1, 1000)
    whole("rounds", rounds, 1, 100_000)
    a, b = np.asarray(points_a, float), np.asarray(points_b, float)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 2 or len(a) < 4:
        raise InputError(
            f"matches {a.shape} and {b.shape} were given; a homography needs at least four pairs (N, 2)"
        )
    picks = np.random.default_rng(seed).random((rounds, len(a))).argpartition(3, axis=1)[:, :4]
    best, score = None, np.inf
    for pick in picks:
        matrix = _direct(a[pick], b[pick])
        if matrix is None:
            continue
        loss = np.minimum(_distance(matrix, a, b), threshold).sum()
        if loss < score:
            best, score = matrix, loss
    for _ in range(5):
        near = None if best is None else _distance(best, a, b) < threshold
        refined = None if near is None or near.sum() < 4 else _direct(a[near], b[near])
        if refined is None or np.minimum(_distance(refined, a, b), threshold).sum() > score:
            break
        best, score = refined, np.minimum(_distance(refined, a, b), threshold).sum()
    if best is None:
        raise InputError("the matches lie on a line or coincide; a homography needs four in general position")
    distance = _distance(best, a, b)
    inliers = distance < threshold
    return Homography(best, inliers, float(np.median(distance[inliers])) if inliers.any() else float("inf"))


def _direct(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """Normalised DLT: the map of least algebraic error, or None for degenerate points."""
    to_a, to_b = _normaliser(a), _normaliser(b)
    (x, y), (u, v) = _mapped(to_a, a).T, _mapped(to_b, b).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], axis=1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v], axis=1),
        ]
    )
    values, vectors = np.linalg.eigh(rows.T @ rows)
    if not np.isfinite(values).all() or values[1] < 1e-9 * values[-1]:
        return None
    matrix = np.linalg.inv(to_b) @ vectors[:, 0].reshape(3, 3) @ to_a
    if abs(matrix[2, 2]) < 1e-12 or abs(np.linalg.det(matrix / matrix[2, 2])) < 1e-9:
        return None
    return matrix / matrix[2, 2]


def _normaliser(points: np.ndarray) -> np.ndarray:
    """Similarity that brings points to mean 0 and mean distance sqrt 2."""
    middle = points.mean(axis=0)
    size = np.sqrt(2) / max(np.linalg.norm(points - middle, axis=1).mean(), 1e-9)
    return np.array([[size, 0, -size * middle[0]], [0, size, -size * middle[1]], [0, 0, 1]])


def _mapped(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    lifted = points @ matrix[:, :2].T + matrix[:, 2]
    depth = np.where(np.abs(lifted[:, 2:]) < 1e-12, 1e-12, lifted[:, 2:])
    return lifted[:, :2] / depth


def _distance(matrix: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(_mapped(matrix, a) - b, axis=1)
