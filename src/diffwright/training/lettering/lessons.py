"""Where the scene text recipes take their strips from, and what a batch of them tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffwright.core.checks import in_range, whole
from diffwright.scenetext.characters import LONGEST
from diffwright.training.lettering.bank import SHARD, Strips, draw_strips
from diffwright.world.lettering.instructions import Ask, sentence

UNSEEN = 10**9
"""First strip of the stream that measures and never trains."""


@dataclass(frozen=True, kw_only=True)
class StripOptions:
    """Where strips come from; shared by the scene text recipes.

    Args:
        cache: Folder where drawn strips are kept; those that lack are drawn first.
        count: How many train.
        photos: Folder of photographs for some of the grounds.
        workers: Processes that draw.
        fixed: Unseen strips that measure.
        templates: Share of the instructions in free words; the others are in the paper's form.
    """

    cache: Path = Path(".cache/strips")
    count: int = 80_000
    photos: Path | None = None
    workers: int = 2
    fixed: int = 48
    templates: float = 0.5

    def __post_init__(self) -> None:
        in_range("templates", self.templates, 0.0, 1.0)
        for name, low in (("count", 1), ("workers", 1), ("fixed", 1)):
            whole(name, getattr(self, name), low, 10**7)


class Words(NamedTuple):
    """What is to be written on a batch of strips.

    Shapes:
        boxes (B, 22, 4), pixels of the strip, empty beyond the text
    """

    texts: list[str | None]
    sentences: list[str | None]
    boxes: Tensor


def training_strips(options: StripOptions) -> Strips:
    """Draw the strips that train where they lack."""
    shard = min(SHARD, options.count)
    draw_strips(
        options.cache / "train", options.count, photos=options.photos, workers=options.workers, shard=shard
    )
    return Strips(options.cache / "train")


def fixed_strips(options: StripOptions) -> Strips:
    """Draw the strips that measure."""
    folder = options.cache / f"fixed-{options.fixed}"
    draw_strips(folder, options.fixed, start=UNSEEN, workers=1, shard=options.fixed)
    return Strips(folder)


def words_of(
    strips: Strips, numbers: Sequence[int], indices: Sequence[int], templates: float
) -> tuple[list[Ask], Words]:
    """Say what is asked of strips, each time in other words.

    Args:
        strips: The strips.
        numbers: Which of them.
        indices: Sample numbers, which decide the wording.
        templates: Share of free words.
    """
    asks, sentences, boxes = [], [], torch.zeros(len(numbers), LONGEST, 4)
    for i, (number, index) in enumerate(zip(numbers, indices, strict=True)):
        rng = np.random.Generator(np.random.PCG64([31, index]))
        ask, found = strips.words(number)
        asks.append(ask)
        sentences.append(sentence(ask, rng if rng.random() < templates else None))
        count = min(len(found), LONGEST)
        boxes[i, :count] = torch.from_numpy(found[:count])
    return asks, Words([ask.text for ask in asks], sentences, boxes)
