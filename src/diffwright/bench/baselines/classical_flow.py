"""Dense flow without learning, by OpenCV: DIS, Farneback, DeepFlow, and one homography from SIFT and MAGSAC."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from diffwright.core.errors import MissingExtra

Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From two uint8 pictures (H, W, 3) and (h, w, 3) to the flow A -> B, float32 (H, W, 2), pixels."""

FARNEBACK = {
    "pyr_scale": 0.5,
    "levels": 5,
    "winsize": 21,
    "iterations": 3,
    "poly_n": 7,
    "poly_sigma": 1.5,
    "flags": 0,
}
RATIO = 0.85  # of Lowe's test
INLIER_PX = 3.0
ITERATIONS = 10_000


def classical_flows() -> dict[str, Flow]:
    """Give the methods by name: dis, farneback, deepflow, sift_magsac.

    The first three follow small shifts between pictures of one size. The last one knows that the scene is one
    plane, which no dense method may assume; where it finds no homography its flow is zero.

    Returns:
        Methods that are deterministic and keep no state between calls.

    Raises:
        MissingExtra: OpenCV with its contributed modules is not installed.

    Reference:
        Kroeger et al. 2016 (DIS); Farneback 2003; Weinzaepfel et al. 2013 (DeepFlow); Lowe 2004 (SIFT);
        Arandjelovic and Zisserman 2012 (RootSIFT); Barath et al. 2019 (MAGSAC).
    """
    cv2 = _opencv()
    return {name: partial(method, cv2) for name, method in _METHODS.items()}


def _opencv() -> Any:
    try:
        import cv2

        _ = cv2.optflow
    except (ImportError, AttributeError) as error:
        raise MissingExtra(
            "the classical flows need opencv-contrib; install it with: pip install 'diffwright[bench]'"
        ) from error
    return cv2


def _dis(cv2: Any, image_a: np.ndarray, image_b: np.ndarray) -> np.ndarray:
    solver = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return _dense(cv2, solver.calc, image_a, image_b)


def _farneback(cv2: Any, image_a: np.ndarray, image_b: np.ndarray) -> np.ndarray:
    return _dense(cv2, partial(cv2.calcOpticalFlowFarneback, **FARNEBACK), image_a, image_b)


def _deepflow(cv2: Any, image_a: np.ndarray, image_b: np.ndarray) -> np.ndarray:
    return _dense(cv2, cv2.optflow.createOptFlow_DeepFlow().calc, image_a, image_b)


def _sift_magsac(cv2: Any, image_a: np.ndarray, image_b: np.ndarray) -> np.ndarray:
    found = _homography(cv2, image_a, image_b)
    height, width = image_a.shape[:2]
    if found is None:
        return np.zeros((height, width, 2), np.float32)
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    landed = cv2.perspectiveTransform(np.stack([x, y], -1), found)
    # Pixels near the horizon of a wrong homography land arbitrarily far away.
    reach = 10.0 * max(height, width)
    return (landed - np.stack([x, y], -1)).clip(-reach, reach).astype(np.float32)


_METHODS = {"dis": _dis, "farneback": _farneback, "deepflow": _deepflow, "sift_magsac": _sift_magsac}


def _dense(cv2: Any, calc: Any, image_a: np.ndarray, image_b: np.ndarray) -> np.ndarray:
    """Run a method that wants gray pictures of one size; B is brought to the size of A and the flow back."""
    (height, width), (high, wide) = image_a.shape[:2], image_b.shape[:2]
    if (height, width) != (high, wide):
        image_b = cv2.resize(image_b, (width, height), interpolation=cv2.INTER_AREA)
    flow = calc(_gray(cv2, image_a), _gray(cv2, image_b), None).astype(np.float32)
    if (height, width) == (high, wide):
        return flow
    scale = np.array([wide / width, high / height], np.float32)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    return (grid + flow + 0.5) * scale - 0.5 - grid


def _homography(cv2: Any, image_a: np.ndarray, image_b: np.ndarray) -> np.ndarray | None:
    sift = cv2.SIFT_create()
    (points_a, words_a), (points_b, words_b) = (
        sift.detectAndCompute(_gray(cv2, image), None) for image in (image_a, image_b)
    )
    if words_a is None or words_b is None or min(len(words_a), len(words_b)) < 4:
        return None
    forward, backward = _nearest(cv2, words_a, words_b), _nearest(cv2, words_b, words_a)
    good = [(a, b) for a, (b, ratio) in forward.items() if ratio < RATIO and backward[b][0] == a]
    if len(good) < 4:
        return None
    cv2.setRNGSeed(0)
    places = [
        np.array([points[pair[i]].pt for pair in good], np.float32)
        for i, points in enumerate((points_a, points_b))
    ]
    try:
        found, _ = cv2.findHomography(
            *places, cv2.USAC_MAGSAC, INLIER_PX, maxIters=ITERATIONS, confidence=0.999
        )
    except cv2.error:  # it refuses degenerate sets of points
        return None
    return found


def _nearest(cv2: Any, words: np.ndarray, others: np.ndarray) -> dict[int, tuple[int, float]]:
    """Nearest other word of each word, and its distance over that of the second; distances as in RootSIFT."""
    words, others = (np.sqrt(w / np.maximum(w.sum(axis=1, keepdims=True), 1e-9)) for w in (words, others))
    found = cv2.BFMatcher().knnMatch(words, others, k=2)
    return {a.queryIdx: (a.trainIdx, a.distance / max(b.distance, 1e-9)) for a, b in found}


def _gray(cv2: Any, image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
