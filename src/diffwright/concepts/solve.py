"""The closed-form edit: the smallest change of a linear map that sends given keys to given values."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffwright.core.errors import ConfigError, InputError

NEGLIGIBLE = 1e-12
"""Singular values of a change below this part of the largest one are rounding and are dropped."""


class Factors(NamedTuple):
    """A change of a weight as a product of two thin matrices, ``up @ down``.

    Attributes:
        up: (O, R), O outputs of the map, R rank of the change.
        down: (R, I), I inputs of the map.
    """

    up: Tensor
    down: Tensor

    def dense(self) -> Tensor:
        """Multiply the factors in float64 into the change of the weight (O, I)."""
        return self.up.double() @ self.down.double()

    def truncated(self, rank: int) -> tuple[Factors, float]:
        """Keep the strongest directions of the change.

        Args:
            rank: how many, at least 1.

        Returns:
            The factors, float64, and the part of the squared change that they hold.

        Reference:
            Eckart and Young, The approximation of one matrix by another of lower rank, 1936.
        """
        u, s, v = thin_svd(self.up.double(), self.down.double())
        root, total = s[:rank].sqrt(), s.square().sum()
        kept = float(s[:rank].square().sum() / total) if len(s) and total > 0 else 1.0
        return Factors(u[:, :rank] * root, root[:, None] * v[:rank]), kept


def ridge(keys: Tensor, residuals: Tensor, lam: float = 1e-2, weights: Tensor | None = None) -> Factors:
    """Solve for the change D of a linear map that adds ``residuals`` to its outputs at ``keys``.

    Minimises ``sum_i w_i |D k_i - r_i|^2 + lam |D|^2`` in float64. With r = v - W k this is the edit of
    Diff-QuickFix, W + D = (lam W + V^T K)(lam I + K^T K)^-1, in its delta form; keys that must keep their
    output are rows with residual 0. The bias of the layer takes no part: values are bias-free outputs.

    Args:
        keys: inputs of the map at the concepts.
        residuals: what must be added to its outputs there.
        lam: ridge strength, above 0, in units of squared key length; larger changes less.
        weights: importance of each row, above 0; 1 when left out.

    Shapes:
        keys (N, I), residuals (N, O), weights (N,) -> up (O, R), down (R, I), R <= min(N, I, O)

    Returns:
        Float64 factors; rank 0 when every residual is zero.

    Raises:
        InputError: shapes differ, or a number is not finite.
        ConfigError: ``lam`` or a weight is not above 0.

    Reference:
        Basu et al., Localizing and Editing Knowledge in Text-to-Image Generative Models, ICLR 2024.
    """
    keys, residuals = keys.double(), residuals.double()
    if keys.ndim != 2 or residuals.ndim != 2 or len(keys) != len(residuals):
        raise InputError(
            f"Got keys {tuple(keys.shape)} and residuals {tuple(residuals.shape)}; rows must agree."
        )
    if not (keys.isfinite().all() and residuals.isfinite().all()):
        raise InputError("A key or residual is not finite; the model's weights may hold NaN.")
    if not lam > 0 or (weights is not None and not bool((weights > 0).all())):
        raise ConfigError(f"lam is {lam} and must be above 0, as must every weight.")
    if weights is not None:
        scale = weights.to(keys).sqrt()[:, None]
        keys, residuals = keys * scale, residuals * scale
    moved = residuals.any(dim=1)
    return _compressed(residuals[moved].T, duals(keys, lam)[moved])


def duals(keys: Tensor, lam: float) -> Tensor:
    """Give the rows whose combination with the residuals is the change of the map.

    K (K^T K + lam I)^-1 and (K K^T + lam I)^-1 K are the same matrix; the smaller system is solved.

    Shapes:
        keys (N, I) -> (N, I)
    """
    rows, width = keys.shape
    if rows < width:
        return torch.cholesky_solve(keys, cholesky(keys @ keys.T, lam))
    return torch.cholesky_solve(keys.T, cholesky(keys.T @ keys, lam)).T


def cholesky(gram: Tensor, lam: float) -> Tensor:
    """Factor gram + lam I = L L^T.

    Raises:
        ConfigError: ``lam`` is too small for the rounding of the matrix.
    """
    factor, info = torch.linalg.cholesky_ex(
        gram + lam * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    )
    if info.item():
        raise ConfigError(f"lam={lam} is too small for these keys; raise it tenfold.")
    return factor


def _compressed(up: Tensor, down: Tensor) -> Factors:
    """Cut a product of factors to its numerical rank."""
    if up.shape[1] == 0:
        return Factors(up, down)
    if up.shape[1] >= len(up):  # full rank: nothing to gain from a decomposition
        return Factors(torch.eye(len(up)).to(up), up @ down)
    u, s, v = thin_svd(up, down)
    kept = s > NEGLIGIBLE * s[0]
    root = s[kept].sqrt()
    return Factors(u[:, kept] * root, root[:, None] * v[kept])


def thin_svd(up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Decompose a product of thin factors without forming it.

    Shapes:
        up (O, R), down (R, I) -> u (O, M), s (M,), v (M, I), M = min(O, R, I)
    """
    left, left_core = torch.linalg.qr(up)
    right, right_core = torch.linalg.qr(down.T)
    u, s, vh = torch.linalg.svd(left_core @ right_core.T, full_matrices=False)
    return left @ u, s, vh @ right.T
