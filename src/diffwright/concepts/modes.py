"""How an edit is held back: five modes, each a price on the directions in which a linear map may change.

Every mode is one rule for how far the principal directions of the held rows are shrunk before the same solve; where
the rows are many, a triangular factor of the same prices saves their decomposition.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffwright.concepts.solve import Factors, cholesky, ridge
from diffwright.core.checks import in_range, one_of
from diffwright.core.errors import ConfigError, InputError

MODES = ("ridge", "preserve", "covariance", "null-space", "legacy")
HOLDING = ("preserve", "covariance", "null-space")
"""Modes that hold rows; the others hold none."""


class Frame(NamedTuple):
    """A symmetric matrix B = scale (I - Q diag(shrink) Q^T): a change D = Y B of the map costs |Y|^2.

    Attributes:
        scale: 1 / sqrt(lam).
        directions: Q (I, H), orthonormal.
        shrink: (H,), 0 leaves a direction free, 1 forbids it.
    """

    scale: float
    directions: Tensor
    shrink: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiply rows (N, I) by B."""
        return self.scale * (rows - (rows @ self.directions * self.shrink) @ self.directions.T)

    def back(self, rows: Tensor) -> Tensor:
        """Multiply rows (N, I) by B^T, which is B."""
        return self(rows)

    @property
    def free(self) -> int:
        """Number of input directions that are not forbidden."""
        return len(self.directions) - int((self.shrink == 1).sum())


class Triangle(NamedTuple):
    """A matrix B = L^-T with the prices L L^T: a change D = Y B^T of the map costs |Y|^2.

    Attributes:
        lower: L (I, I).
    """

    lower: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiply rows (N, I) by B."""
        return torch.linalg.solve_triangular(self.lower, rows.T, upper=False).T

    def back(self, rows: Tensor) -> Tensor:
        """Multiply rows (N, I) by B^T."""
        return torch.linalg.solve_triangular(self.lower.T, rows.T, upper=True).T

    @property
    def free(self) -> int:
        """Number of input directions: none is forbidden."""
        return len(self.lower)


Prices = Frame | Triangle
"""What directions cost, in either form."""


def frame_of(
    mode: str, held: Tensor, *, lam: float, weight: float = 1.0, null_threshold: float = 1e-2
) -> Prices:
    """Turn a mode and its held rows into prices.

    With H the held rows, each mode minimises ``sum_i |D k_i - r_i|^2 + lam |D|^2`` and

    - ``ridge``, ``legacy``: nothing more (Diff-QuickFix);
    - ``preserve``: + weight ``sum_h |D h|^2``, a few named rows (the family of UCE);
    - ``covariance``: + weight ``mean_h |D h|^2`` = weight tr(D C D^T) with C = E[h h^T], the statistics of a
      corpus (the family of ROME and MEMIT); the same as ``preserve`` with its weight divided among the rows;
    - ``null-space``: subject to D h = 0 along every principal direction of H whose energy is above
      ``null_threshold`` of the largest (the family of AlphaEdit).

    Args:
        mode: one of ``MODES``.
        held: inputs of the map that must keep their output.
        lam: ridge strength, from 1e-12 to 1e12.
        weight: importance of held rows against edited ones, above 0.
        null_threshold: energies below this part of the largest are free, from 0 to 1.

    Shapes:
        held (H, I)

    Raises:
        ConfigError: unknown mode, ``lam`` out of range or too small beside the held rows, or no direction is left free.
        InputError: the mode holds rows, but there are none.
    """
    one_of("mode", mode, MODES)
    in_range("lam", lam, 1e-12, 1e12)
    scale = lam**-0.5
    if mode not in HOLDING:
        return Frame(scale, held.new_zeros(held.shape[1], 0), held.new_zeros(0))
    if not len(held):
        raise InputError(
            f"Mode {mode!r} holds nothing; name concepts or prompts to preserve, or use 'ridge'."
        )
    if mode == "covariance":
        weight = weight / len(held)
    if mode != "null-space" and len(held) >= held.shape[1]:
        return Triangle(cholesky(weight * (held.T @ held), lam))
    energy, directions = spectrum(held)
    if mode == "null-space":
        forbidden = energy > null_threshold * energy.max()
        if int(forbidden.sum()) == len(directions):
            raise ConfigError(
                f"The held prompts use all {len(directions)} directions of the layer; raise null_threshold, "
                f"now {null_threshold:g}, or hold fewer."
            )
        return Frame(scale, directions[:, forbidden], energy.new_ones(int(forbidden.sum())))
    return Frame(scale, directions, 1 - (1 + weight * energy / lam).rsqrt())


def spectrum(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Give the energies and principal directions of rows: R^T R = Q diag(energy) Q^T.

    Shapes:
        rows (N, I) -> energy (M,), Q (I, M), M = min(N, I)
    """
    count, width = rows.shape
    if count < width:
        _, singular, directions = torch.linalg.svd(rows, full_matrices=False)
        return singular.square(), directions.T
    energy, directions = torch.linalg.eigh(rows.T @ rows)
    return energy.clamp_min(0), directions


def solve(frame: Prices, keys: Tensor, residuals: Tensor) -> Factors:
    """Solve for the cheapest change that adds ``residuals`` at ``keys``, at the prices of a frame.

    Shapes:
        keys (N, I), residuals (N, O) -> up (O, R), down (R, I)
    """
    up, down = ridge(frame(keys), residuals, 1.0)
    return Factors(up, frame.back(down))
