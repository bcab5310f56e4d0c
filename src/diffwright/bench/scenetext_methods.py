"""What is compared: our editor, what bounds it, and what anyone can do without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from diffwright.bench.scenetext_gate import through
from diffwright.bench.scenetext_sets import Case
from diffwright.metrics.colors import lab
from diffwright.metrics.ink import Ink, find_ink
from diffwright.metrics.ocr import Judge, same
from diffwright.scenetext.editor import SceneTextEditor
from diffwright.scenetext.region import Region, put_back, strip_mask, strip_of
from diffwright.world.lettering.colors import BASIC, NAMED, RGB
from diffwright.world.lettering.glyphs import layer_of

MARGIN = 3  # strip pixels around the region that a judge sees
PASTE_EM = 96
PASTE_FILL = (0.9, 0.78)  # share of the region that pasted letters take, across and down
STROKES, PUREST = (
    0.97,
    0.95,
)  # quantile of the difference where strokes are, and the share of it that pure ink has
RING = 2  # pixels around the region whose median fills it


Method = Callable[[Case], np.ndarray]
"""Gives the picture that a method makes of a case, uint8 (H, W, 3)."""


def source(case: Case) -> np.ndarray:
    """Leave the picture as it is."""
    return case.source


def truth(case: Case) -> np.ndarray:
    """Give the right picture, which only the renderer knows."""
    return case.truth


def ceiling(vae: Any, right: Method = truth) -> Method:
    """Give the right strip as the autoencoder keeps it: what a perfect model would reach."""

    def method(case: Case) -> np.ndarray:
        strip = through(vae, [strip_of(right(case), case.region)])[0]
        return put_back(case.source, strip, case.region)

    return method


def paste(case: Case) -> np.ndarray:
    """Fill the region evenly and set the word on it, in the right font and color, as an image editor's user would."""
    strip, mask = _filled(case)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    room = np.array([len(columns), len(rows)]) * PASTE_FILL
    layer = layer_of(case.face, case.text, PASTE_EM, 0.0, 0.0, None)
    x0, y0, x1, y1 = (round(value) for value in layer.ink_box)
    ink = layer.ink.crop((x0, y0, x1, y1))
    scale = min(room / ink.size)
    size = tuple(max(1, round(side * scale)) for side in ink.size)
    shape = Image.new("L", (strip.shape[1], strip.shape[0]))
    corner = (
        round((columns[0] + columns[-1] + 1 - size[0]) / 2),
        round((rows[0] + rows[-1] + 1 - size[1]) / 2),
    )
    shape.paste(ink.resize((size[0], size[1]), Image.Resampling.BOX), corner)
    alpha = np.asarray(shape, float)[..., None] / 255
    mixed = strip + alpha * (np.array(_paint(case), float) - strip)
    return put_back(case.source, mixed.round().astype(np.uint8), case.region)


def filled(case: Case) -> np.ndarray:
    """Fill the region with the median color around it."""
    return put_back(case.source, _filled(case)[0], case.region)


def _filled(case: Case) -> tuple[np.ndarray, np.ndarray]:
    strip, mask = strip_of(case.source, case.region).copy(), strip_mask(case.region)
    strip[mask] = np.median(strip[_ring(mask)], axis=0)
    return strip, mask


def _paint(case: Case) -> RGB:
    return NAMED.get(case.ask.color or "", case.rgb)


def _ring(mask: np.ndarray) -> np.ndarray:
    wide = mask.copy()
    for _ in range(RING):
        padded = np.pad(wide, 1)
        wide = wide | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    ring = wide & ~mask
    return ring if ring.any() else mask


@dataclass(frozen=True, eq=False)
class Written:
    """What an editor made of a case.

    Args:
        first: The picture of the first seed.
        best: The picture that our own reader puts first.
        outside: Largest difference beyond the region, of all candidates, levels.
    """

    first: np.ndarray
    best: np.ndarray
    outside: int


def write(editor: SceneTextEditor, case: Case, candidates: int = 1, seed: int = 0, **changes: Any) -> Written:
    """Let an editor write a case.

    Args:
        editor: Ours, or one with another model.
        case: What to write.
        candidates: How many it may choose from.
        seed: Of the first.
        changes: In place of the case's own: ``image``, ``text``, and what ``SceneTextEditor.write`` takes for style.
    """
    image, text = changes.pop("image", case.source), changes.pop("text", case.text)
    style = changes if "instruction" in changes or not text else case.style | changes
    out = editor.write(image, case.corners, text, candidates=candidates, seed=seed, **style)
    pictures = [np.asarray(picture) for picture in out.images]
    beyond = ~case.region.mask
    outside = max(int(np.abs(made.astype(int) - image)[beyond].max(initial=0)) for made in pictures)
    return Written(pictures[out.seeds.index(seed)], pictures[0], outside)


def crop(picture: np.ndarray, region: Region) -> np.ndarray:
    """Rectify a region and cut it out with a small margin, as judges see it; uint8 (h, w, 3)."""
    strip, mask = strip_of(picture, region), strip_mask(region)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = max(0, rows[0] - MARGIN), max(0, columns[0] - MARGIN)
    return strip[top : rows[-1] + 1 + MARGIN, left : columns[-1] + 1 + MARGIN]


def judged(judge: Judge, made: Sequence[np.ndarray], of: Sequence[Case]) -> list[bool]:
    """Tell for each picture whether the judge reads in its region what was to be written."""
    readings = judge.read([crop(picture, case.region) for picture, case in zip(made, of, strict=True)])
    return [same(read, case.text) for read, case in zip(readings, of, strict=True)]


def ink_of(picture: np.ndarray, region: Region) -> Ink:
    """Find the letters of a region on its strip."""
    return find_ink(strip_of(picture, region), strip_mask(region))


def color_of(picture: np.ndarray, case: Case) -> np.ndarray:
    """Color of a case's letters in CIE L*a*b*: the median of what differs most from the ground without the word."""
    mask = strip_mask(case.region)
    shown, ground = (lab(strip_of(image, case.region)) for image in (picture, case.clean))
    far = np.linalg.norm(shown - ground, axis=2)
    return np.median(shown[mask & (far >= PUREST * np.quantile(far[mask], STROKES))], axis=0)


def basic_name(color: np.ndarray) -> str:
    """Name the basic color nearest to one in CIE L*a*b*."""
    table = lab(np.array([NAMED[name] for name in BASIC], np.uint8))
    return BASIC[int(np.linalg.norm(table - color, axis=1).argmin())]
