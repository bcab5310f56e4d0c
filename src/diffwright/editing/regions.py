"""Operations on the model's grids: where gradients act, which cells correspond, what stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffwright.core.geometry import Point
from diffwright.editing.energies import WEIGHTS, Region
from diffwright.editing.frame import Frame
from diffwright.editing.operations import Placement

SEEN = 2  # cells around each that its code tells of


@dataclass(frozen=True, eq=False)
class Plan:
    """All operations of one pass, on the grids of one frame.

    Attributes:
        regions: the operations on the tap grid.
        share: m_share, cells that must stay.
        edited: M, latents where the edit energy acts; elsewhere the content energy does.
        loose: latents where noise may be added.
        free: the same with a margin; where the rest is held, only these change.
        near: held latents whose codes an edit beside them changes, because the autoencoder sees some cells around.
        vacated: latents that an object or its shadow left and none took.
        carried: latents that an edit's content covers, or touches where nothing was left.
        kept: latents whose self-attention states of the picture may be shown.
        moves: for each operation the latents that take content, and its places in the guide.

    Shapes (h, w = latents, g, k = tap grid):
        share: bool (g, k); edited, loose, free, near, vacated, carried, kept: bool (h, w)
    """

    regions: tuple[Region, ...]
    share: Tensor
    edited: Tensor
    loose: Tensor
    free: Tensor
    near: Tensor
    vacated: Tensor
    carried: Tensor
    kept: Tensor
    moves: tuple[tuple[Tensor, Tensor], ...]

    def to(self, device: torch.device) -> Plan:
        """The same on another device."""
        masks = ("share", "edited", "loose", "free", "near", "vacated", "carried", "kept")
        return replace(
            self,
            regions=tuple(_region_to(r, device) for r in self.regions),
            moves=tuple((to.to(device), at.to(device)) for to, at in self.moves),
            **{name: getattr(self, name).to(device) for name in masks},
        )


def plan(placements: Sequence[Placement], frame: Frame, guides: Sequence[Frame], margin: int = 0) -> Plan:
    """Bring operations to the grids of a frame.

    Args:
        placements: the operations on the picture.
        frame: what the model sees of the picture.
        guides: by operation the frame of its guide; ``frame`` itself where the picture guides itself.
        margin: latents around the edited ones that belong to ``free``.
    """
    cells, latent = frame.cells, frame.latent
    touched = torch.zeros(cells, dtype=torch.bool)
    edited, loose, vacated, carried = (torch.zeros(latent, dtype=torch.bool) for _ in range(4))
    kept = torch.ones(latent, dtype=torch.bool)
    regions, moves, number = [], [], 0
    for p, theirs in zip(placements, guides, strict=True):
        number += p.guide is not None
        regions.append(_region(p, frame, theirs, number if p.guide is not None else 0))
        touched |= frame.touched(p.zone, cells)
        target = p.destination if p.destination.any() else p.source
        if p.task != "remove":
            edited |= frame.touched(p.destination, latent)
        loose |= frame.touched(p.zone, latent)
        carried &= ~frame.touched(p.zone, latent)
        if p.task != "remove":
            inside = frame.coverage(p.destination, latent) >= 0.5
            carried |= inside | (frame.touched(p.destination, latent) & ~frame.touched(p.left, latent))
        vacated |= frame.touched(p.left, latent)
        if p.task in ("replace", "paste", "remove"):
            kept &= ~frame.covered(target, latent)
        moves.append(_move(p, frame, theirs))
    vacated &= ~edited
    free = _widened(loose, margin)
    near = _widened(free, SEEN) & ~free
    return Plan(tuple(regions), ~touched, edited, loose, free, near, vacated, carried, kept, tuple(moves))


def _widened(mask: Tensor, cells: int) -> Tensor:
    return F.max_pool2d(mask[None].float(), 2 * cells + 1, 1, cells)[0] > 0


def _region(p: Placement, frame: Frame, theirs: Frame, guide: int) -> Region:
    cells = frame.cells
    nothing = torch.zeros(cells, dtype=torch.bool)
    if p.task == "drag":
        gen, places, vacated = _handle_patches(p.handles, frame)
    elif p.task == "remove":
        gen, places, vacated = (), (), frame.covered(p.source, cells)
    else:
        to = frame.covered(p.destination, cells)
        places = (theirs.normalized(p.inverse(frame.centers(cells)[to.numpy()])),)
        gen = (to,)
        left = p.source & ~p.destination
        vacated = frame.covered(left, cells) & ~to if left.any() else nothing
    gud = theirs.covered(p.guide_mask, theirs.cells)
    return Region(p.task, guide, gen, places, gud, vacated, weights=WEIGHTS[p.task])


def _handle_patches(
    handles: Sequence[tuple[Point, Point]], frame: Frame
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
    """3 x 3 cells around every end, their places around the start, and the start cells that no end covers."""
    centers = frame.centers(frame.cells)
    gen, places = [], []
    left = torch.zeros(frame.cells, dtype=torch.bool)
    for start, end in handles:
        at_end = _patch(end, frame, frame.cells)
        gen.append(at_end)
        places.append(frame.normalized(np.array(start) + centers[at_end.numpy()] - np.array(end)))
        left |= _patch(start, frame, frame.cells)
    for patch in gen:
        left &= ~patch
    return tuple(gen), tuple(places), left


def _patch(point: Point, frame: Frame, grid: tuple[int, int]) -> Tensor:
    """The 3 x 3 cells of a grid around a point, bool (h, w)."""
    corner = np.array([frame.box[0], frame.box[1]]) - 0.5
    x, y = ((np.array(point) - corner) * [grid[1], grid[0]] / [frame.pixels[1], frame.pixels[0]]).astype(int)
    mask = torch.zeros(grid, dtype=torch.bool)
    y, x = min(max(y, 0), grid[0] - 1), min(max(x, 0), grid[1] - 1)
    mask[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
    return mask


def _move(p: Placement, frame: Frame, theirs: Frame) -> tuple[Tensor, Tensor]:
    """Latents that take content, and its places in the guide; none for what has no content to take."""
    to = torch.zeros(frame.latent, dtype=torch.bool)
    if p.task == "drag":
        for _, end in p.handles:
            to |= _patch(end, frame, frame.latent)
    elif p.task in ("move", "resize", "paste"):
        to = frame.covered(p.destination, frame.latent)
    return to, theirs.normalized(p.inverse(frame.centers(frame.latent)[to.numpy()]))


def _region_to(r: Region, device: torch.device) -> Region:
    return replace(
        r,
        gen=tuple(m.to(device) for m in r.gen),
        places=tuple(at.to(device) for at in r.places),
        gud=r.gud.to(device),
        vacated=r.vacated.to(device),
    )
