"""What the matching recipes learn from: drawn pairs and views of the rendered world, upright or turned.

The matcher turns picture B by the best of several hypotheses before it matches, so the networks meet small rotations
only, and pictures on a larger canvas. Here most batches turn by up to 30 degrees; in the others, a share, pairs turn by
up to 180 degrees and B is turned back by the hypothesis nearest to the truth.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from diffwright.core.checks import in_range, whole
from diffwright.matching.hypotheses import CANDIDATES, nearest, turn, turned_field
from diffwright.training.pairs.bank import Bank, silhouettes
from diffwright.training.pairs.engine import Draw, Engine, Pairs
from diffwright.training.pairs.views import Views
from diffwright.training.pairs.warps import Ranges

UPRIGHT = Ranges(far_share=0.0, log_scale=0.5)
TURNED = Ranges(near_degrees=180.0, far_share=1.0, log_scale=0.4, gentle_share=0.0)
ROTATIONS = tuple(guess for guess in CANDIDATES if guess.scale == 1)
UNSEEN = 10**9  # number of the first canvas and silhouette that measure and never train
FIXED_CANVASES = 96


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Where pairs come from; shared by the matching recipes.

    Args:
        cache: Folder of cached renders.
        render_share: Share of the canvases that are mosaics of renders; 0 needs no cache.
        photos: Folder of photographs for over half of the canvases.
        held_out: Folder of more pictures that must not be among the photographs.
        views: Folder where views of the rendered world are kept.
        view_pairs: How many of them train, rendered when they first come up; 0 for none.
        view_share: Their share of the pairs.
        size: Side of the pictures, pixels.
        pool: Canvases that are warped.
        turned: Share of the batches with large rotations.
        fixed: Pairs that measure, of drawn ones and of views each; half as many turned ones join them.
    """

    cache: Path = Path(".cache/renders")
    render_share: float = 0.15
    photos: Path | None = None
    held_out: Path | None = None
    views: Path = Path(".cache/views")
    view_pairs: int = 400
    view_share: float = 0.1
    size: int = 256
    pool: int = 1024
    turned: float = 0.2
    fixed: int = 32

    def __post_init__(self) -> None:
        for name in ("render_share", "view_share", "turned"):
            in_range(name, getattr(self, name), 0.0, 1.0)
        for name, least in (("view_pairs", 0), ("pool", 1), ("fixed", 1)):
            whole(name, getattr(self, name), least, 10**6)


class Lesson(NamedTuple):
    """A batch that networks learn from.

    Shapes (B pairs of S x S pixels, B perhaps on a larger canvas centered on A):
        image_a (B, 3, S, S), image_b (B, 3, H, W) in [-1, 1]; inside bool (B, 1, H, W), where the canvas shows B,
        or None for all of it; flow (B, 2, S, S) pixels, from center to center; visible bool (B, S, S)
    """

    image_a: Tensor
    image_b: Tensor
    inside: Tensor | None
    flow: Tensor
    visible: Tensor


class Sketch(NamedTuple):
    """A batch that is still to be rendered, by whichever device trains."""

    draw: Draw
    rows: list[int]
    views: Pairs | None
    turned: bool


class Stream(nn.Module):
    """An endless row of batches, addressed by sample numbers.

    A module without parameters: its buffers say what a run was trained on.

    Args:
        options: Where pairs come from.
    """

    def __init__(self, options: PairOptions) -> None:
        super().__init__()
        self.options = options
        bank = Bank(options.cache if options.render_share else None, options.photos,
                    render_share=options.render_share, held_out=options.held_out)  # fmt: skip
        canvases, shapes = bank.canvases(options.pool), silhouettes(max(16, options.pool // 4))
        self.register_buffer("canvases", canvases)
        self.upright = Engine(canvases, shapes, options.size, UPRIGHT)
        self.turned = Engine(canvases, shapes, options.size, TURNED, seed=1)
        self.views = Views(options.views, options.size)
        plain = Bank(options.cache if options.render_share else None, render_share=options.render_share)
        fixed = plain.canvases(min(FIXED_CANVASES, 2 * options.fixed), UNSEEN)
        unseen = (fixed, silhouettes(32, UNSEEN), options.size)
        self.unseen, self.unseen_turned = Engine(*unseen, UPRIGHT, seed=2), Engine(*unseen, TURNED, seed=3)

    def batch(self, indices: Tensor) -> Sketch | Lesson:
        """Make the batch of sample numbers; where a GPU trains, rendering is left to :meth:`lesson`."""
        numbers = indices.tolist()
        turned = self._chance(26, numbers[0]) < self.options.turned
        draw = (self.turned if turned else self.upright).draw(numbers)
        share = self.options.view_share if self.options.view_pairs else 0.0
        rows = [i for i, number in enumerate(numbers) if self._chance(27, number) < share]
        which = [int(self._chance(28, numbers[i]) * self.options.view_pairs) for i in rows]
        sketch = Sketch(draw, rows, self.views.batch(which) if rows else None, turned)
        return sketch if torch.cuda.is_available() else self.lesson(sketch)

    def lesson(self, batch: Sketch | Lesson) -> Lesson:
        """Render what :meth:`batch` left open, on the device of the batch."""
        if isinstance(batch, Lesson):
            return batch
        engine = self.turned if batch.turned else self.upright
        pairs = engine.render(batch.draw, batch.rows, batch.views)
        return turned_back(pairs) if batch.turned else as_lesson(pairs)

    def fixed(self, part: int = 8) -> dict[str, list[Lesson]]:
        """Pairs that measure, in batches of ``part``: drawn ones, half as many turned ones, views of the world."""
        world, count = Views(self.options.views, self.options.size, "development"), self.options.fixed
        parts = [range(start, min(start + part, count)) for start in range(0, count, part)]
        some = parts[: -(-len(parts) // 2)]
        return {
            "": [as_lesson(self.unseen.batch(numbers)) for numbers in parts],
            "turned_": [turned_back(self.unseen_turned.batch(numbers)) for numbers in some],
            "world_": [as_lesson(world.batch(numbers)) for numbers in parts],
        }

    def _chance(self, stream: int, number: int) -> float:
        return float(np.random.Generator(np.random.PCG64([stream, number])).random())


def as_lesson(pairs: Pairs) -> Lesson:
    """Take pairs as they are."""
    return Lesson(pairs.image_a, pairs.image_b, None, pairs.flow, pairs.visible)


def turned_back(pairs: Pairs) -> Lesson:
    """Turn each B by the hypothesis nearest to the truth, on a canvas that holds every rotation."""
    size = pairs.image_a.shape[-1]
    side = -(-int(size * 2**0.5 + 1) // 32) * 32
    images, inside, flow = [], [], []
    for i, (rotation, scale) in enumerate(zip(pairs.rotation.tolist(), pairs.scale.tolist(), strict=True)):
        guess = nearest(rotation, scale, ROTATIONS)
        view = turn(pairs.image_b[i : i + 1], guess, size, canvas=(side, side))
        images.append(view.image)
        inside.append(view.inside)
        flow.append(turned_field(pairs.flow[i : i + 1], view.linear))
    return Lesson(pairs.image_a, torch.cat(images), torch.cat(inside), torch.cat(flow), pairs.visible)
