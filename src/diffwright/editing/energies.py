"""The energies of DragonDiffusion and DiffEditor, in their symbols; low where an edit looks as it should.

F are decoder features on the tap grid, twice as fine as the latents; m are masks on it. ``gen`` belongs to the
picture that is being made, ``gud`` to the guide, and no gradient flows into the guide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

ALPHA, BETA = 1.0, 4.0


@dataclass(frozen=True)
class Weights:
    """Published weights of one task.

    Attributes:
        edit: w_e of the correspondence energy.
        content: w_c of what must stay.
        contrast: weight of looking unlike the old object where it stood.
        inpaint: w_i of looking like the surroundings there.
        layer: weight of each tap.
        scale: gradient factor times energy scale.
    """

    edit: float
    content: float
    contrast: float
    inpaint: float
    layer: float
    scale: float


WEIGHTS = {
    "move": Weights(4.0, 6.0, 0.2, 0.8, 0.5, 40.0),
    "resize": Weights(4.0, 6.0, 0.2, 0.8, 0.5, 40.0),
    "drag": Weights(4.0, 6.0, 0.2, 0.0, 0.5, 80.0),
    "replace": Weights(3.5, 5.0, 0.0, 0.0, 1.0, 80.0),
    "paste": Weights(4.0, 6.0, 0.0, 0.0, 0.5, 60.0),
    "remove": Weights(0.0, 6.0, 0.2, 0.8, 0.5, 40.0),
}
"""By task; removing is not in the papers and takes what moving has for the place that was left."""


@dataclass(frozen=True, eq=False)
class Region:
    """One operation on the tap grid.

    Attributes:
        task: chooses weights and energy.
        guide: which guide it looks at; 0 is the picture itself.
        gen: m_gen, cells that receive content; a list for a drag, one patch a handle.
        places: for each of them where its content lies in the guide, in [-1, 1] as ``grid_sample`` reads it.
        gud: m_gud, cells of the object in the guide's own tap grid.
        vacated: m_ipt, cells that the object left.

    Shapes (g, k = tap grid of the picture, p, q = of the guide):
        gen: bool (g, k) each; places: (N, 2) each, row by row; gud: bool (p, q); vacated: bool (g, k)
    """

    task: str
    guide: int
    gen: tuple[Tensor, ...]
    places: tuple[Tensor, ...]
    gud: Tensor
    vacated: Tensor
    weights: Weights = field(kw_only=True)


def local_similarity(f_gen: Tensor, f_gud: Tensor) -> Tensor:
    """S_local: mean cosine of corresponding features, brought to [0, 1].

    Shapes:
        (C, N), (C, N) -> scalar; 0 when N = 0

    Reference:
        Mou et al., DragonDiffusion, ICLR 2024: S_local.
    """
    if not f_gen.shape[1]:
        return f_gen.sum()
    return 0.5 * F.cosine_similarity(f_gen, f_gud.detach(), dim=0).mean() + 0.5


def global_similarity(f_gen: Tensor, f_gud: Tensor) -> Tensor:
    """S_global: cosine of the mean features, brought to [0, 1].

    Shapes:
        (C, N), (C, M) -> scalar

    Reference:
        Mou et al., DragonDiffusion, ICLR 2024: S_global.
    """
    return 0.5 * F.cosine_similarity(f_gen.mean(1), f_gud.detach().mean(1), dim=0) + 0.5


def inverse(similarity: Tensor) -> Tensor:
    """1 / (α + β S): falls from 1 to 1/5 as the similarity rises from 0 to 1; no pole, S being in [0, 1]."""
    return 1 / (ALPHA + BETA * similarity)


def sampled(features: Tensor, places: Tensor) -> Tensor:
    """Features at places between the cells, bilinear.

    Shapes:
        (C, p, q), (N, 2) in [-1, 1] -> (C, N)
    """
    grid = places.to(features)[None, None]
    return F.grid_sample(features[None], grid, padding_mode="border", align_corners=False)[0, :, 0]


def edit_energy(
    regions: Sequence[Region], f_gen: Sequence[Tensor], f_gud: Sequence[Sequence[Tensor]]
) -> Tensor:
    """E_edit: corresponding features shall agree.

    Args:
        regions: the operations.
        f_gen: features of each tap.
        f_gud: by guide, its features of each tap.

    Shapes:
        f_gen: (C, g, k) each; f_gud: (C, p, q) each -> scalar
    """
    total = f_gen[0].new_zeros(())
    for r in regions:
        w = r.weights
        for tap, f in enumerate(f_gen):
            gud = f_gud[r.guide][tap]
            if r.task == "replace":
                total = total + w.scale * w.layer * w.edit * _look_alike(f, r.gen[0], gud, r.gud)
            elif r.task == "drag":
                each = [w.edit * inverse(_agreement(f, m, gud, at)) for m, at in _patches(r)]
                total = total + w.scale * w.layer * torch.stack(each).mean()
                left = local_similarity(f[:, r.vacated], gud[:, r.vacated])
                total = total + w.scale * w.layer * w.contrast * left
            elif r.task != "remove":
                s_local = _agreement(f, r.gen[0], gud, r.places[0])
                total = total + w.scale * w.layer * w.edit * inverse(s_local)
    return total


def content_energy(
    regions: Sequence[Region],
    f_gen: Sequence[Tensor],
    f_gud: Sequence[Tensor],
    share: Tensor,
    surroundings: Tensor,
) -> Tensor:
    """E_content: what is not edited stays, and what was vacated looks like its surroundings.

    Args:
        regions: the operations.
        f_gen: features of each tap.
        f_gud: features of the picture itself.
        share: m_share, cells that must stay.
        surroundings: m_ref, cells that vacated ones should resemble.

    Shapes:
        f_gen, f_gud: (C, g, k) each; share, surroundings: bool (g, k) -> scalar
    """
    total = f_gen[0].new_zeros(())
    content = max((r.weights.scale * r.weights.layer * r.weights.content for r in regions), default=0.0)
    for f, gud in zip(f_gen, f_gud, strict=True):
        if bool(share.any()):
            total = total + content * inverse(local_similarity(f[:, share], gud[:, share]))
        for r in regions:
            if r.task not in ("drag", "replace", "paste") and bool(r.vacated.any()):
                total = total + _vacated_energy(r, f, gud, surroundings)
    return total


def _vacated_energy(r: Region, f: Tensor, gud: Tensor, surroundings: Tensor) -> Tensor:
    """E_opt: away from the old object, towards the surroundings (E_opt of DragonDiffusion)."""
    w, hole = r.weights, r.vacated
    energy = w.layer * w.contrast * local_similarity(f[:, hole], gud[:, hole])
    if bool(surroundings.any()):
        energy = energy + w.inpaint * inverse(global_similarity(f[:, hole], gud[:, surroundings]))
    return w.scale * energy


def _agreement(f: Tensor, gen: Tensor, gud: Tensor, places: Tensor) -> Tensor:
    return local_similarity(f[:, gen], sampled(gud, places))


def _look_alike(f: Tensor, gen: Tensor, gud: Tensor, theirs: Tensor) -> Tensor:
    return inverse(global_similarity(f[:, gen], gud[:, theirs]))


def _patches(r: Region) -> list[tuple[Tensor, Tensor]]:
    return list(zip(r.gen, r.places, strict=True))
