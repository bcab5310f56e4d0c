"""From decoded latents to the picture that is handed back: fine detail, own size, an untouched outside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from diffwright.core.images import to_u8
from diffwright.editing.cache import Coded
from diffwright.editing.collage import looked_up
from diffwright.editing.frame import Frame, resized
from diffwright.editing.masks import blurred, grown
from diffwright.editing.operations import Placement

REACH_CELLS = 1.5  # latents around an edit that its zone includes
FEATHER_CELLS = 1.0
EDGE_CELLS = 1.5  # around an object its outline shows in what the autoencoder lost


def zone_of(placements: Sequence[Placement], frame: Frame) -> np.ndarray:
    """How much of the edited picture is shown at each pixel: 1 in the edit and near it, 0 far away.

    Args:
        placements: the operations.
        frame: tells how large a latent cell is.

    Returns:
        float32 (H, W) of the picture; exactly 0 outside the feathered zone.
    """
    zone = np.zeros_like(placements[0].source)
    for p in placements:
        zone |= p.zone
    reach = max(1, round(REACH_CELLS * frame.cell_px))
    feather = max(1, round(FEATHER_CELLS * frame.cell_px))
    part = frame.cut(zone)
    alpha = grown(part, reach).astype(np.float32)
    soft = blurred(grown(part, reach + feather).astype(np.float32), feather)
    out = np.zeros(zone.shape, np.float32)
    x0, y0, x1, y1 = frame.box
    out[y0:y1, x0:x1] = np.maximum(alpha, soft * grown(part, reach + 2 * feather))
    return out


def composed(
    picture: np.ndarray,
    decoded: Tensor,
    frame: Frame,
    placements: Sequence[Placement],
    *,
    coded: Coded | None = None,
    laid: Coded | None = None,
    keep_outside: bool = True,
) -> np.ndarray:
    """Lay what the model made into the picture.

    Args:
        picture: the original, uint8 (H, W, 3).
        decoded: what the model made of the frame, (1, 3, h, w) in [-1, 1].
        frame: where it belongs.
        placements: the operations.
        coded: the original through the autoencoder; then what that lost is given back where content is kept.
        laid: the collage through the autoencoder, where sampling began from it: then objects get back what that lost
            at their new places.
        keep_outside: bytes outside the feathered zone are those of the original.

    Returns:
        uint8 (H, W, 3)
    """
    made = _to_pixels(decoded, frame)
    if coded is not None:
        lost = frame.cut(picture) - _to_pixels(coded.decoded, frame)
        there = None if laid is None else _to_pixels(laid.seen, frame) - _to_pixels(laid.decoded, frame)
        made = made + carried_detail(lost, frame, placements, there)
    x0, y0, x1, y1 = frame.box
    out = picture.copy()
    if not keep_outside:
        out[y0:y1, x0:x1] = made.round().clip(0, 255).astype(np.uint8)
        return out
    alpha = zone_of(placements, frame)[y0:y1, x0:x1, None]
    old = frame.cut(picture).astype(np.float32)
    mixed = (old + alpha * (made - old)).round().clip(0, 255).astype(np.uint8)
    out[y0:y1, x0:x1] = np.where(alpha > 0, mixed, frame.cut(picture))
    return out


def carried_detail(
    lost: np.ndarray, frame: Frame, placements: Sequence[Placement], there: np.ndarray | None = None
) -> np.ndarray:
    """What the autoencoder lost, where the edited picture shows the original's content.

    Args:
        lost: original minus round trip over the frame's box.
        frame: the frame.
        placements: the operations.
        there: the same of the collage, whose objects are at their new places already.

    Shapes:
        float32 (h, w, 3) -> (h, w, 3)
    """
    out = lost.astype(np.float32)
    corner = np.array(frame.box[:2], float)
    edge = max(1, round(EDGE_CELLS * frame.cell_px))
    for p in placements:
        out[grown(frame.cut(p.zone), edge)] = 0
    for p in placements:
        to = frame.cut(p.destination)
        if there is not None:
            out[to] = there[to]
        elif p.guide is None and to.any():
            y, x = np.nonzero(to)
            points = p.inverse(np.stack([x, y], axis=-1) + corner) - corner
            out[to] = looked_up(lost, points)
    return out


def _to_pixels(image: Tensor, frame: Frame) -> np.ndarray:
    """(1, 3, h, w) in [-1, 1] to float32 levels over the frame's box."""
    return resized(to_u8(image[0].clamp(-1, 1)), frame.pixels).astype(np.float32)
