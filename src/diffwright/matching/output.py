"""What a match gives: flow with confidence and occlusion, and what people make of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffwright.core.checks import in_range, whole
from diffwright.core.images import save_png, to_pil, to_tensor, to_u8
from diffwright.core.results import Result
from diffwright.matching.files import write_flo, write_kitti, write_npz
from diffwright.matching.fit import Homography, fit_homography
from diffwright.matching.pictures import (
    checkerboard,
    confidence_picture,
    flow_picture,
    match_lines,
    overlay,
)

SHOWN = 48
"""Match lines in a picture."""

CANDIDATES = 400_000
"""Places that matches are drawn from, at most."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Single matches, ordered so that any first part covers the picture evenly.

    Attributes:
        points_a: (N, 2), x and y in pixels of A.
        points_b: (N, 2), x and y in pixels of B.
        confidence: (N,), 0 to 1.
    """

    points_a: np.ndarray
    points_b: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.points_a)


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchOutput(Result):
    """Dense correspondence from A to B.

    Attributes:
        flow: float32 (H, W, 2) at the size of A: pixel p of A is at p + flow[p] in B, in B's pixels; x first.
        confidence: float32 (H, W), probability that the match is right.
        occlusion: bool (H, W), True where the place is hidden in B or outside it.
        image_a: uint8 (H, W, 3).
        image_b: uint8 (H', W', 3).
        initial: Like ``flow``: the field before diffusion.
        reverse: float32 (H', W', 2), from B to A; None if it was not asked for.
        samples: float32 (K, H, W, 2), all samples; None if they were not asked for.
        rotation: Degrees by which B was turned back before matching, from the chosen hypothesis.
        scale: How many times larger things were assumed to be in B.
    """

    flow: np.ndarray
    confidence: np.ndarray
    occlusion: np.ndarray
    image_a: np.ndarray
    image_b: np.ndarray
    initial: np.ndarray
    reverse: np.ndarray | None = None
    samples: np.ndarray | None = None
    rotation: float = 0.0
    scale: float = 1.0

    @property
    def overlap(self) -> float:
        """Share of A that is confidently seen in B, 0 to 1."""
        return float((self.confidence * ~self.occlusion).mean())

    def warp(self) -> Image.Image:
        """Give B seen from A: at each pixel of A what B shows at its match; gray outside B."""
        import torch

        from diffwright.core.geometry import warp

        flow = torch.from_numpy(self.flow).permute(2, 0, 1)[None]
        return to_pil(to_u8(warp(to_tensor(self.image_b), flow)[0])[0])

    def sample_matches(self, n: int = 1000, *, least: float = 0.1, seed: int = 0) -> Matches:
        """Draw single matches, the more confident the likelier, spread evenly over the picture.

        Args:
            n: How many, 1 to 100,000; fewer are given when fewer places are confident enough.
            least: Confidence below which a place is left out, 0 to 1. Occluded places always are.
            seed: Chooses them.
        """
        whole("n", n, 1, 100_000)
        in_range("least", least, 0, 1)
        rng = np.random.default_rng(seed)
        fit = np.flatnonzero((self.confidence >= least) & ~self.occlusion)
        if len(fit) > CANDIDATES:
            fit = rng.choice(fit, CANDIDATES, replace=False)
        height, width = self.confidence.shape
        y, x = np.divmod(fit, width)
        score = np.log(np.maximum(self.confidence[y, x], 1e-6)) + rng.gumbel(size=len(fit))
        chosen = _evenly(x / width, y / height, score, n)
        places = np.stack([x[chosen], y[chosen]], axis=1).astype(np.float64)
        landed = places + self.flow[y[chosen], x[chosen]]
        return Matches(places, landed, self.confidence[y[chosen], x[chosen]].astype(np.float64))

    def fit_homography(self, *, threshold: float = 3.0, n: int = 2000, seed: int = 0) -> Homography:
        """Fit the plane's map that most confident matches follow.

        Args:
            threshold: Distance in B within which a match follows it, pixels.
            n: How many matches to draw.
            seed: Chooses matches and minimal sets.

        Raises:
            InputError: fewer than four places are confident, or they lie on a line.
        """
        drawn = self.sample_matches(n, seed=seed)
        return fit_homography(drawn.points_a, drawn.points_b, threshold=threshold, seed=seed)

    def pictures(self) -> dict[str, np.ndarray]:
        """Draw it: warped, flow, confidence, checkerboard, overlay and matches, each uint8 (H, W, 3)."""
        warped = np.asarray(self.warp())
        lines = self.sample_matches(SHOWN)
        return {
            "warped": warped,
            "flow": flow_picture(self.flow),
            "confidence": confidence_picture(self.confidence, self.occlusion),
            "checkerboard": checkerboard(self.image_a, warped),
            "overlay": overlay(self.image_a, warped, self.occlusion),
            "matches": match_lines(
                self.image_a, self.image_b, lines.points_a, lines.points_b, lines.confidence
            ),
        }

    def record(self) -> dict[str, Any]:
        """Give what ``result.json`` holds."""
        return super().record() | {
            "direction": "a_to_b",
            "size_a": [self.image_a.shape[1], self.image_a.shape[0]],
            "size_b": [self.image_b.shape[1], self.image_b.shape[0]],
            "hypothesis": {"rotation": self.rotation, "scale": self.scale},
        }

    def write(self, folder: Path) -> None:
        """Write flow.npz, flow.flo, flow_kitti.png, the pictures and ``result.json``."""
        for name, picture in self.pictures().items():
            if name not in self.names:
                save_png(picture, folder / f"{name}.png")
        more = {"reverse": self.reverse, "samples": self.samples}
        kept = {name: values for name, values in more.items() if values is not None}
        write_npz(folder / "flow.npz", self.flow, self.confidence, self.occlusion, **kept)
        write_flo(folder / "flow.flo", self.flow)
        write_kitti(folder / "flow_kitti.png", self.flow, ~self.occlusion)
        super().write(folder)


def _evenly(x: np.ndarray, y: np.ndarray, score: np.ndarray, n: int) -> np.ndarray:
    """Choose n places: the best of each block of the picture, then the second best, and so on."""
    side = max(1, round(np.sqrt(n)))
    block = (y * side).astype(int) * side + (x * side).astype(int)
    order = np.lexsort((-score, block))
    first = np.flatnonzero(np.diff(block[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    return order[np.lexsort((-score[order], rank))][:n]
