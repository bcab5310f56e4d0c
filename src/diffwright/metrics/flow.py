"""How near a flow field is to the truth, and whether its confidence tells where it is wrong."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffwright.core.errors import InputError

THRESHOLDS = (1.0, 3.0, 5.0)
FRACTIONS = 20  # shares of removed pixels at which a sparsification curve is read: 0, 1/20 ... 19/20


def epe(flow: Tensor, truth: Tensor) -> Tensor:
    """Endpoint error of each pixel: the length of the difference of two vectors.

    Args:
        flow: From A to B, in pixels.
        truth: Of the same shape and unit.

    Shapes:
        (B, 2, H, W), (B, 2, H, W) -> (B, H, W)

    Raises:
        InputError: The shapes differ or are no flow.

    Example:
        >>> epe(torch.tensor([3.0, 4.0]).view(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)).item()
        5.0
    """
    if flow.ndim != 4 or flow.shape[1] != 2 or flow.shape != truth.shape:
        raise InputError(
            f"expected two fields of one shape (B, 2, H, W), got {tuple(flow.shape)} and {tuple(truth.shape)}"
        )
    return (flow.double() - truth.double()).square().sum(dim=1).sqrt()


def aepe(flow: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Average endpoint error of each pair over its valid pixels.

    A data set's figure is the mean of these: every pair counts alike, however many pixels it has.

    Args:
        flow: From A to B, in pixels.
        truth: Of the same shape.
        valid: Where the truth is known; everywhere without it.

    Shapes:
        (B, 2, H, W), (B, 2, H, W), bool (B, H, W) -> (B,)

    Returns:
        Pixels; NaN for a pair without valid pixels.

    Raises:
        InputError: The shapes differ.
    """
    return _mean(epe(flow, truth), valid)


def pck(flow: Tensor, truth: Tensor, valid: Tensor | None = None, threshold: float = 1.0) -> Tensor:
    """Percentage of correct pixels of each pair: valid ones whose error is at most the threshold.

    Args:
        flow: From A to B, in pixels.
        truth: Of the same shape.
        valid: Where the truth is known; everywhere without it.
        threshold: Largest error that counts as correct, pixels.

    Shapes:
        (B, 2, H, W), (B, 2, H, W), bool (B, H, W) -> (B,)

    Returns:
        0 to 100; NaN for a pair without valid pixels.

    Raises:
        InputError: The shapes differ.
    """
    return 100 * _mean((epe(flow, truth) <= threshold).double(), valid)


def pair_table(
    flow: Tensor, truth: Tensor, valid: Tensor | None = None, names: Sequence[str] | None = None
) -> list[dict[str, str | float]]:
    """One row a pair: its name, AEPE, PCK at 1, 3 and 5 pixels, and how many pixels were measured.

    Args:
        flow: From A to B, in pixels.
        truth: Of the same shape.
        valid: Where the truth is known; everywhere without it.
        names: One for each pair; their numbers without it.

    Shapes:
        (B, 2, H, W), (B, 2, H, W), bool (B, H, W) -> B rows

    Raises:
        InputError: The shapes differ, or the number of names.

    Example:
        >>> pair_table(torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), 2.0))[0]["pck3"]
        100.0
    """
    names = [str(i) for i in range(len(flow))] if names is None else list(names)
    if len(names) != len(flow):
        raise InputError(f"{len(names)} names were given for {len(flow)} pairs; give one for each")
    columns = {
        "aepe": aepe(flow, truth, valid),
        **{f"pck{t:g}": pck(flow, truth, valid, t) for t in THRESHOLDS},
        "pixels": _where(epe(flow, truth), valid).sum(dim=(1, 2)),
    }
    return [
        {"name": name, **{k: float(column[i]) for k, column in columns.items()}}
        for i, name in enumerate(names)
    ]


def sparsification(error: Tensor, order: Tensor, fractions: int = FRACTIONS) -> Tensor:
    """Mean error of the pixels that stay when those of highest ``order`` are removed first.

    Args:
        error: Errors of N pixels, at least 0.
        order: By which they are removed, for example the uncertainty; the error itself gives the oracle's curve.
        fractions: Points of the curve: 0, 1/fractions ... are removed.

    Shapes:
        (N,), (N,) -> (fractions,)

    Returns:
        The curve over the mean error of all pixels: 1 first, all 0 for a field without error.

    Raises:
        InputError: The lengths differ or there are fewer pixels than points.
    """
    if error.ndim != 1 or error.shape != order.shape or len(error) < fractions:
        raise InputError(
            f"errors of shape {tuple(error.shape)} and order of shape {tuple(order.shape)} were given; "
            f"expected two lists of one length, at least {fractions}"
        )
    kept = error.double()[order.argsort(stable=True)]
    means = kept.cumsum(0) / torch.arange(1, len(kept) + 1, device=kept.device)
    last = len(kept) - torch.arange(fractions, device=kept.device) * len(kept) // fractions - 1
    return means[last] / means[-1] if means[-1] > 0 else torch.zeros_like(means[last])


def ause(error: Tensor, uncertainty: Tensor, fractions: int = FRACTIONS) -> float:
    """Area under the sparsification error: how far an uncertainty's curve lies above the oracle's.

    Args:
        error: Errors of N pixels.
        uncertainty: Of the same pixels; any scale, larger is less sure.
        fractions: Points of the curves.

    Shapes:
        (N,), (N,) -> a number

    Returns:
        0 for an uncertainty that sorts like the error; compare with :func:`ause_random`.

    Raises:
        InputError: As in :func:`sparsification`.

    Reference:
        Ilg et al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow, 2018, section 5.1.

    Example:
        >>> ause(torch.arange(100.0), torch.arange(100.0) ** 2)
        0.0
    """
    curves = [sparsification(error, by, fractions) for by in (uncertainty, error)]
    return float((curves[0] - curves[1]).mean())


def ause_random(error: Tensor, fractions: int = FRACTIONS) -> float:
    """The area that an uncertainty without any knowledge has: its expected curve is constant 1.

    Args:
        error: Errors of N pixels.
        fractions: Points of the curves.

    Shapes:
        (N,) -> a number

    Raises:
        InputError: As in :func:`sparsification`.
    """
    oracle = sparsification(error, error, fractions)
    return float((oracle[0] - oracle).mean())


def _where(error: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return torch.ones_like(error)
    if valid.shape != error.shape:
        raise InputError(f"valid has shape {tuple(valid.shape)}, expected {tuple(error.shape)}")
    return valid.to(error)


def _mean(error: Tensor, valid: Tensor | None) -> Tensor:
    where = _where(error, valid)
    total = torch.where(where > 0, error, 0.0).sum(dim=(1, 2))  # an invalid pixel may hold NaN
    return total / where.sum(dim=(1, 2))
