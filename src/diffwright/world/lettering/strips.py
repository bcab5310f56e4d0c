"""Training and test examples: the strip of 32 x 128 pixels around one word, before and after."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffwright.core.checks import in_range, one_of, whole
from diffwright.core.errors import InputError
from diffwright.world import splits
from diffwright.world.lettering import looks
from diffwright.world.lettering.draw import Lettering, drawn, pictures
from diffwright.world.lettering.faces import can_draw
from diffwright.world.lettering.families import ONE_CASE
from diffwright.world.lettering.framing import HEIGHT, WIDTH, apply, rectify, to_strip
from diffwright.world.lettering.grounds import paint
from diffwright.world.lettering.instructions import Ask
from diffwright.world.lettering.scene import TextScene, draw_face, draw_text, sample
from diffwright.world.lettering.word import NARROWEST, Word, corners_of

PAD = 0.15  # of the ink's height, between ink and region, where nothing is drawn at random
PADS = (0.06, 0.30)
PICTURE = (56, 176)  # that a strip of the stream is cut from, pixels
INSERTED, ERASED, WIDE = 0.25, 0.05, 0.10  # shares of the stream
WIDER = (1.2, 2.0)
STATED = 0.5  # how often an instruction names the font, and how often the color
RESTYLED = 0.5  # how often a named trait differs from the surroundings
SMALLEST = 0.65  # of a longer word's own size, in the region of a shorter one
LOOSE = 0.12  # share of masks that follow the letters instead of the region
KINDS, KIND_SHARES = ("word", "random", "hard"), (0.75, 0.1, 0.15)


@dataclass(frozen=True, eq=False)
class Strip:
    """A word's region with its surroundings, rectified.

    Args:
        image: What shall stand there, uint8.
        clean: The same without the word.
        source: What stood there before; equals ``clean`` where nothing did.
        mask: The region, that is all that may change.
        text: What the word says; empty where one is erased.
        ask: What an instruction would say.
        boxes: x0 y0 x1 y1 around the ink of each letter of ``image``, strip pixels, of which i reaches from i to
            i + 1; a space has an empty box.
        face_id: ``id`` of the face in ``image``.
        rgb: Its color, 0 to 255.

    Shapes:
        image, clean, source (32, 128, 3), mask (32, 128) bool, boxes (N, 4) float32
    """

    image: np.ndarray
    clean: np.ndarray
    source: np.ndarray
    mask: np.ndarray
    text: str
    ask: Ask
    boxes: np.ndarray
    face_id: str
    rgb: tuple[int, int, int]


def strip_of(
    lettering: Lettering, *, height: int = HEIGHT, width: int = WIDTH, widen: float = 1.0,
    rng: np.random.Generator | None = None,
) -> Strip:  # fmt: skip
    """Cut out the target word of a picture.

    Args:
        lettering: A drawn scene with a target.
        height: Of the strip, pixels.
        width: Of the strip, pixels.
        widen: Width of the region over that of the word with its margin, 1 to 3.
        rng: Draws margin and imprecision of the region as users give it; without it the margin is fixed.

    Returns:
        A strip whose ``source`` is the picture itself, and whose ``ask`` names font and color.

    Raises:
        InputError: The picture has no target word.
        ConfigError: ``widen`` is out of range.

    Example:
        >>> from diffwright.world.lettering.draw import draw
        >>> strip = strip_of(draw(sample(3, "train")))
        >>> strip.image.shape, len(strip.boxes) == len(strip.text)
        ((32, 128, 3), True)
    """
    in_range("widen", widen, 1, 3)
    if lettering.target < 0:
        raise InputError("a picture without words was given; a strip needs one with a target word")
    word = lettering.words[lettering.target]
    region = grown(word.polygon, PAD if rng is None else float(rng.uniform(*PADS)), widen)
    if rng is not None:
        region = _as_given(rng, region)
    matrix = to_strip(region, height, width)
    size = (height, width)
    image, clean = (rectify(picture, matrix, *size) for picture in (lettering.image, lettering.clean))
    face = word.face
    ask = Ask(word.text, face.family, word.color_name, face.bold, face.italic)
    boxes = _upright(matrix, word.boxes, size)
    mask = inside(apply(matrix, region), size)
    return Strip(image, clean, image, mask, word.text, ask, boxes, face.id, word.rgb)


def grown(polygon: np.ndarray, pad: float, widen: float = 1.0) -> np.ndarray:
    """Grow a word's polygon by a margin on every side and then along its baseline.

    Args:
        polygon: Corners, clockwise from the top left.
        pad: Margin, of the height.
        widen: Factor on the width.

    Shapes:
        (4, 2) -> (4, 2)
    """
    tl, tr, br, bl = np.asarray(polygon, float)
    across, down = (tr - tl + br - bl) / 2, (bl - tl + br - tr) / 2
    wide, tall = float(np.linalg.norm(across)) or 1.0, float(np.linalg.norm(down)) or 1.0
    x = across / wide * (pad * tall + (widen - 1) * (wide / 2 + pad * tall))
    y = down * pad
    return np.stack([tl - x - y, tr + x - y, br + x + y, bl - x + y])


def inside(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Select the pixels whose centers lie in a convex polygon (N, 2), clockwise; bool (H, W)."""
    y, x = np.mgrid[: size[0], : size[1]]
    selected = np.ones(size, bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        selected &= (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) >= 0
    return selected


def _as_given(rng: np.random.Generator, region: np.ndarray) -> np.ndarray:
    """Move a region as users do: a little in most cases, and now and then to the upright box around it."""
    if rng.random() < 0.1:
        low, high = region.min(axis=0), region.max(axis=0)
        return corners_of((low[0], low[1], high[0], high[1]))
    tall = float(np.linalg.norm(region[3] - region[0]))
    return region + rng.normal(0, 0.03, 2) * tall + rng.normal(0, 0.02, (4, 2)) * tall


def _upright(matrix: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if not len(boxes):
        return np.zeros((0, 4), np.float32)
    moved = apply(matrix, boxes) + 0.5
    limits = np.array([size[1], size[0]], float)
    low, high = moved.min(axis=1).clip(0, limits), moved.max(axis=1).clip(0, limits)
    return np.concatenate([low, high], axis=1).astype(np.float32)


class StripStream:
    """Endless strips: words changed (70 %), inserted (25 %) and erased (5 %), one in ten with a wide mask.

    The i-th strip depends on the seed, the split and i alone, so that any number of workers gives the same strips.

    Args:
        seed: Of the stream.
        split: "train" or "test": whose words are drawn.
        worker: Number of this worker.
        workers: How many share the stream; worker k gives the strips k, k + workers, k + 2 workers ...
        photos: Folder of photographs, for four grounds in ten.
        start: First strip, counted over all workers.

    Raises:
        ConfigError: The split or a number is out of range.

    Example:
        >>> strip = next(iter(StripStream(0, "train", 0, 1)))
        >>> strip.source.shape, strip.mask.dtype.name
        ((32, 128, 3), 'bool')
    """

    def __init__(
        self, seed: int, split: str, worker: int, workers: int, photos: Path | None = None, start: int = 0
    ) -> None:
        one_of("split", split, ("train", "test"))
        whole("workers", workers, 1, 4096)
        whole("worker", worker, 0, workers - 1)
        whole("seed", seed, 0, 2**31 - 1)
        self.seed, self.split, self.photos = seed, split, photos
        self.worker, self.workers, self.start = worker, workers, start

    def __iter__(self) -> Iterator[Strip]:
        index = self.start + self.worker
        while True:
            yield self.strip(index)
            index += self.workers

    def strip(self, index: int) -> Strip:
        """Give the strip of a number."""
        rng = np.random.Generator(np.random.PCG64([self.seed, self.split == "test", index]))
        known = splits.SEEDS[self.split]
        photos = self.photos if rng.random() < looks.PHOTO_SHARE else None
        kind = KINDS[int(rng.choice(len(KINDS), p=KIND_SHARES))]
        lengths = (1, 14) if rng.random() < 0.2 else (2, 8)
        scene = sample(
            known.start + int(rng.integers(len(known))), self.split, kind=kind, photos=photos, size=PICTURE,
            lengths=lengths, close=True,
        )  # fmt: skip
        return _example(rng, scene, self.split)


def _example(rng: np.random.Generator, scene: TextScene, split: str) -> Strip:
    old = scene.words[scene.target]
    job = rng.random()
    if job < ERASED:
        new, ask = None, Ask("")
    elif job < ERASED + INSERTED:
        new, ask = _restyled(rng, scene, old)
        old = None
    else:
        new, ask = _restyled(rng, scene, replace(old, text=_other_text(rng, scene, split, len(old.text))))
    polygon, new = _region(rng, scene, old, new)
    wide = float(rng.uniform(*WIDER)) if rng.random() < WIDE else 1.0
    region = _as_given(rng, grown(polygon, 0.0, wide))
    matrix = to_strip(region)
    before, after, clean = _rectified(scene, old, new, matrix)
    boxes = np.zeros((0, 4), np.float32)
    if new is not None:
        boxes = _upright(matrix, drawn(new, scene).boxes, (HEIGHT, WIDTH))
    mask = inside(apply(matrix, region), (HEIGHT, WIDTH))
    if rng.random() < LOOSE:
        mask = _loose(
            rng, mask, [_upright(matrix, drawn(w, scene).boxes, mask.shape) for w in (old, new) if w]
        )
    shown = new or old or scene.words[scene.target]
    return Strip(after, clean, before, mask, ask.text, ask, boxes, shown.face.id, shown.rgb)


def _rectified(scene: TextScene, old: Word | None, new: Word | None, matrix: np.ndarray) -> list[np.ndarray]:
    """Give the strips of before, after and clean, each drawn once."""
    wanted: list[Word | None] = [None]
    wanted += [word for word in (old, new) if word is not None]
    strips = [rectify(picture, matrix) for picture in pictures(scene, wanted)]
    return [strips[wanted.index(word)] for word in (old, new, None)]


def _other_text(rng: np.random.Generator, scene: TextScene, split: str, length: int) -> str:
    """Draw what the word shall say: mostly of a similar length, at times the same."""
    face = scene.words[scene.target].face
    if rng.random() < 0.1:
        return scene.words[scene.target].text
    low = max(1, length - 3) if rng.random() < 0.7 else 1
    high = min(14, length + 3) if low > 1 else max(8, min(14, length + 3))
    return draw_text(rng, split, "random" if scene.kind == "random" else "word", (low, high), face)


def _restyled(rng: np.random.Generator, scene: TextScene, word: Word) -> tuple[Word, Ask]:
    """Choose what the instruction names; half of what it names differs from the surroundings."""
    font, color = rng.random() < STATED, rng.random() < STATED and word.blend in ("alpha", "gradient")
    if font and rng.random() < RESTYLED:
        face = draw_face(rng, "train")
        if can_draw(face, word.text):
            word = replace(word, face=face, text=_cased(word.text, face.family))
    if color and rng.random() < RESTYLED:
        seen = looks.ground_colors(paint(scene.ground, scene.size))
        rgb, name = looks.pick_color(rng, seen, named=rng.random() < 0.8)
        word = replace(word, rgb=rgb, color=name, second=None)
    face = word.face
    spoken = (face.family if rng.random() < 0.8 else face.kind) if font else None
    code = "#{:02X}{:02X}{:02X}".format(*word.rgb)
    hue = (code if rng.random() < 0.15 else word.color) if color else None
    return word, Ask(word.text, spoken, hue, font and face.bold, font and face.italic)


def _cased(text: str, family: str) -> str:
    """Give a text as a family can show it: in capitals where it has no others."""
    return text.upper() if family in ONE_CASE else text


def _region(
    rng: np.random.Generator, scene: TextScene, old: Word | None, new: Word | None
) -> tuple[np.ndarray, Word | None]:
    """Lay the region around the old word, or around both, and fit the new word into it."""
    pads = rng.uniform(*PADS, 2)
    words = [word for word in (old, new) if word is not None]
    if old is not None and new is not None and rng.random() < 0.6:
        fits = new.extent[0] * NARROWEST * SMALLEST <= old.extent[0]
        words = [old] if fits else words
    extents = np.array([word.extent for word in words])
    wide, tall = extents.max(axis=0)
    wide, tall = wide + 2 * pads[0] * tall, tall * (1 + 2 * pads[1])
    if new is not None:
        least = 0.55 * new.size  # a region around "sea" leaves room for "Sea"
        tall = max(tall, least)
        new = replace(new, room=(wide - 0.06 * tall, tall * 0.92))
    x, y = words[0].place
    box = corners_of((x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2))
    return apply(np.array(scene.view).reshape(3, 3), box) - 0.5, new


def _loose(rng: np.random.Generator, mask: np.ndarray, boxes: list[np.ndarray]) -> np.ndarray:
    """Follow the letters with some margin, as painted masks do, within the region."""
    followed = np.zeros_like(mask)
    margin = float(rng.uniform(1.5, 4))
    for x0, y0, x1, y1 in np.concatenate(boxes).tolist() if boxes else ():
        followed[
            max(0, int(y0 - margin)) : math.ceil(y1 + margin),
            max(0, int(x0 - margin)) : math.ceil(x1 + margin),
        ] = True
    return followed if followed.any() else mask
