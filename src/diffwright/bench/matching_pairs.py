"""Pairs of real pictures with known flow: Oxford and HPatches sequences, and `.flo` pairs.

A sequence is a folder with pictures `1` to `6` and homographies from picture 1 to the others; as in the HPatches
protocol, A is picture k and B picture 1, so levels I to V are k = 2 to 6. A flow pair is three files `NAME_1`,
`NAME_2` (pictures) and `NAME.flo`. Both are found anywhere below a folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffwright.core.errors import InputError
from diffwright.core.images import load_image, to_pil
from diffwright.matching.files import read_flow

LEVELS = ("I", "II", "III", "IV", "V")
SIDE = 240
"""Side of the small protocol, pixels."""
PHOTOMETRIC = frozenset({"bikes", "leuven", "trees", "ubc"})
"""Oxford sequences whose light, blur or compression changes instead of the viewpoint; in HPatches `i_...`."""
PICTURES = (".png", ".jpg", ".jpeg", ".ppm", ".pgm")
HOMOGRAPHIES = ("H1to{}.txt", "H1to{}p", "H_1_{}")


@dataclass(frozen=True)
class Pair:
    """Two pictures and the true flow from A to B.

    Args:
        name: Such as ``graf 1-3``.
        group: Sequence or set it belongs to; intervals are drawn over pairs.
        kind: ``view``, ``photo``, ``flow`` or ``world``.
        level: One of ``LEVELS``, or empty.
        image_a: uint8 (H, W, 3).
        image_b: uint8 (h, w, 3).
        flow: A to B, in pixels.
        valid: Where the flow is known and leads onto B.

    Shapes:
        flow (2, H, W) float32, valid (H, W) bool
    """

    name: str
    group: str
    kind: str
    level: str
    image_a: np.ndarray
    image_b: np.ndarray
    flow: Tensor
    valid: Tensor


def sequence_pairs(folder: Path, side: int | None = SIDE) -> list[Pair]:
    """Read all sequences below a folder.

    Args:
        folder: Holds sequences at any depth, or none.
        side: Pictures and homographies are scaled to this square; None keeps the original resolution.

    Returns:
        Five pairs a sequence, in order of names and levels.

    Raises:
        InputError: A picture or a homography is missing or damaged.
    """
    return [pair for place in _sequences(folder) for pair in _read_sequence(place, side)]


def flow_pairs(folder: Path) -> list[Pair]:
    """Read all `.flo` pairs below a folder, at their own resolution.

    Args:
        folder: Holds flow pairs at any depth, or none.

    Returns:
        Pairs of kind ``flow`` in order of names.

    Raises:
        InputError: A picture is missing, a file is damaged, or sizes disagree.
    """
    return [_read_flow_pair(path) for path in sorted(folder.rglob("*.flo"))]


def check_pairs(folder: Path) -> None:
    """Refuse a folder without any pair before a long measurement begins.

    Raises:
        InputError: It is no folder, or holds neither sequences nor flow pairs.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name one with Oxford or HPatches sequences or .flo pairs")
    if not _sequences(folder) and not any(folder.rglob("*.flo")):
        raise InputError(
            f"{folder} holds neither a sequence (1.png to 6.png with H1to2.txt to H1to6.txt) nor a flow pair "
            "(NAME_1.png, NAME_2.png, NAME.flo); name a folder that does"
        )


def homography_flow(
    matrix: np.ndarray, size_a: tuple[int, int], size_b: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Flow that a homography from A to B gives, and where it lands on B.

    Args:
        matrix: 3 x 3, takes (x, y, 1) in pixels of A to pixels of B.
        size_a: (height, width).
        size_b: (height, width).

    Shapes:
        -> (2, H, W), bool (H, W)

    Example:
        >>> homography_flow(np.eye(3), (2, 2), (2, 2))[0].abs().max().item()
        0.0
    """
    height, width = size_a
    y, x = np.divmod(np.arange(height * width, dtype=np.float64), width)
    here = np.stack([x, y])
    there = matrix @ np.stack([x, y, np.ones_like(x)])
    ahead = there[2] > 1e-9
    there = there[:2] / np.where(ahead, there[2], 1)
    inside = ahead & (there >= 0).all(0) & (there[0] <= size_b[1] - 1) & (there[1] <= size_b[0] - 1)
    flow = np.where(inside, there - here, 0).reshape(2, height, width)
    return torch.from_numpy(flow).float(), torch.from_numpy(inside.reshape(height, width))


def square(image: np.ndarray, side: int) -> np.ndarray:
    """Scale a picture to a square, smoothed where it shrinks.

    Shapes:
        uint8 (H, W, 3) -> (side, side, 3)
    """
    return np.asarray(to_pil(image).resize((side, side), Image.Resampling.BILINEAR))


def zero_flow_rows(pairs: Sequence[Pair]) -> dict[str, list[float]]:
    """AEPE of the zero flow by sequence, levels in order: the protocol's fingerprint.

    Args:
        pairs: As :func:`sequence_pairs` gives them.
    """
    rows: dict[str, list[float]] = {}
    for pair in pairs:
        length = pair.flow.double().square().sum(0).sqrt()
        rows.setdefault(pair.group, []).append(float(length[pair.valid].mean()))
    return rows


def _sequences(folder: Path) -> list[Path]:
    return sorted(
        {
            path.parent
            for pattern in HOMOGRAPHIES
            for path in folder.rglob(pattern.format(2))
            if path.is_file()
        }
    )


def _read_sequence(place: Path, side: int | None) -> Iterator[Pair]:
    first = _picture(place, "1")
    photo = place.name in PHOTOMETRIC or place.name.startswith("i_")
    for k, level in enumerate(LEVELS, 2):
        other = _picture(place, str(k))
        matrix = np.linalg.inv(_homography(place, k))  # from picture k, our A, to picture 1, our B
        a, b = (other, first) if side is None else (square(other, side), square(first, side))
        # The published protocol scales coordinates without the half pixel between corner and center.
        matrix = _scale(first, b) @ matrix @ np.linalg.inv(_scale(other, a))
        flow, valid = homography_flow(matrix / matrix[2, 2], a.shape[:2], b.shape[:2])
        if not bool(valid.any()):
            raise InputError(
                f"H1to{k} of {place} leads nowhere onto picture 1; give the homography from 1 to {k}"
            )
        yield Pair(f"{place.name} 1-{k}", place.name, "photo" if photo else "view", level, a, b, flow, valid)


def _scale(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.diag([after.shape[1] / before.shape[1], after.shape[0] / before.shape[0], 1.0])


def _read_flow_pair(path: Path) -> Pair:
    a, b = (_picture(path.parent, f"{path.stem}_{number}") for number in (1, 2))
    truth = read_flow(path)
    if truth.flow.shape[:2] != a.shape[:2]:
        raise InputError(
            f"{path} is {truth.flow.shape[1]} x {truth.flow.shape[0]} pixels and its picture "
            f"{a.shape[1]} x {a.shape[0]}; they must agree"
        )
    flow = torch.from_numpy(np.ascontiguousarray(truth.flow.transpose(2, 0, 1)))
    return Pair(path.stem, path.parent.name, "flow", "", a, b, flow, torch.from_numpy(truth.known))


def _picture(place: Path, stem: str) -> np.ndarray:
    for suffix in PICTURES:
        path = place / f"{stem}{suffix}"
        if path.is_file():
            return _netpbm(path) if suffix in (".ppm", ".pgm") else load_image(path)
    raise InputError(f"{place} lacks the picture {stem!r}; expected one of {', '.join(PICTURES)}")


def _netpbm(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=("PPM",)) as picture:
            return load_image(picture)
    except OSError as error:
        raise InputError(f"{path} is damaged ({error}); save it again as PNG") from error


def _homography(place: Path, k: int) -> np.ndarray:
    for pattern in HOMOGRAPHIES:
        path = place / pattern.format(k)
        if not path.is_file():
            continue
        try:
            matrix = np.loadtxt(path, dtype=np.float64)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} holds no numbers ({error}); expected a 3 x 3 homography") from error
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
            raise InputError(f"{path} holds no invertible 3 x 3 homography; give that from picture 1 to {k}")
        return matrix
    raise InputError(f"{place} lacks the homography from picture 1 to {k}, such as H1to{k}.txt")
