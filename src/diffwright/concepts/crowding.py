"""Whether the concepts of an edit get in each other's way, and how much of a layer they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffwright.concepts.modes import Prices

TOLD_APART = 0.5
LISTED = 20
"""Conflicts that are kept, the worst first."""


@dataclass(frozen=True)
class Conflict:
    """Two concepts that a site reads almost alike, though they are to become different things.

    Attributes:
        first: a source.
        second: another source, or a preserved concept.
        apart: the part of a difference between their values that the solve can make, from 0 to 1.
    """

    first: str
    second: str
    apart: float


@dataclass(frozen=True)
class Crowding:
    """How full a site is.

    Attributes:
        site: its name; the first of those that read the same.
        concepts: concepts that are rewritten.
        used: independent input directions that they take, a fraction where lam is large against a key.
        free: input directions that the mode leaves free.
        conflicts: the worst ones.
        conflict_count: all of them.
    """

    site: str
    concepts: int
    used: float
    free: int
    conflicts: tuple[Conflict, ...] = ()
    conflict_count: int = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about concepts in each other's way, and about a full site."""
        found = [
            f"{c.first!r} and {c.second!r} look alike to {self.site} ({100 * c.apart:.0f} % can be told apart) "
            f"but are to differ; keep one, or lower lam."
            for c in self.conflicts[:3]
        ]
        if self.conflict_count > 3:
            found.append(f"{self.conflict_count - 3} more pairs of concepts look alike to {self.site}.")
        if self.concepts > 1 and self.used > self.free / 2:
            found.append(
                f"{self.concepts} concepts take {self.used:.0f} of the {self.free} free directions of {self.site}; "
                f"other words will change too. Use fewer concepts or a wider site such as mlp.out."
            )
        return tuple(found)


def crowding(site: str, frame: Prices, keys: Tensor, names: Sequence[tuple[str, str | None]]) -> Crowding:
    """Measure how well a site can tell concepts apart, at the prices of a frame.

    For two rows whose whitened keys differ by d, the solve makes |d|^2 / (|d|^2 + 2) of the wanted difference
    of their values; a concept set takes ``tr G (G + I)^-1`` directions, G the Gram matrix of whitened keys.

    Args:
        site: its name.
        frame: prices of directions.
        keys: one key for each concept, the mean over its templates.
        names: each concept and what it becomes, None for those that are preserved.

    Shapes:
        keys (C, I)
    """
    whitened = frame(keys)
    edited = torch.tensor([target is not None for _, target in names])
    gram = whitened @ whitened.T
    energy = torch.linalg.eigvalsh(gram[edited][:, edited]).clamp_min(0)
    length = gram.diagonal()
    gap = (length[:, None] + length - 2 * gram).clamp_min(0)
    apart = (gap / (gap + 2)).cpu()
    label = {target: number for number, (_, target) in enumerate(names)}
    targets = torch.tensor([label[target] for _, target in names])
    clash = (apart < TOLD_APART) & (targets[:, None] != targets) & edited[:, None]
    clash &= (torch.arange(len(names))[:, None] < torch.arange(len(names))) | ~edited
    pairs = clash.nonzero()
    worst = apart[clash].argsort()[:LISTED]
    conflicts = tuple(
        Conflict(names[i][0], names[j][0], float(apart[i, j])) for i, j in pairs[worst].tolist()
    )
    used = float((energy / (1 + energy)).sum())
    return Crowding(site, int(edited.sum()), used, frame.free, conflicts, len(pairs))
