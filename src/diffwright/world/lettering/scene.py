"""Scenes of words, drawn at random from a seed: a sign, a label, a wall, with one to five words on it."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from diffwright.core.checks import one_of
from diffwright.core.errors import ConfigError
from diffwright.world.lettering import looks
from diffwright.world.lettering.camera import Camera, sample_camera
from diffwright.world.lettering.colors import to_lab
from diffwright.world.lettering.faces import Face, can_draw, installed
from diffwright.world.lettering.families import ONE_CASE
from diffwright.world.lettering.framing import apply, homography
from diffwright.world.lettering.glyphs import Curve
from diffwright.world.lettering.grounds import Ground, paint
from diffwright.world.lettering.word import Word, corners_of
from diffwright.world.lettering.words import draw_word, random_word

KINDS = ("word", "random", "hard", "insert", "empty")
UNEVEN = ("photo", "gradient", "label")  # grounds whose parts differ in color
FILL = 0.94  # share of the picture that a scene's words may take, across and down
RANDOM_SHARE = 0.25  # of the words, in training
CURVED, CURVED_HARD = 0.12, 0.5  # of the target words
EM, CLOSE_EM = (0.1, 0.26), (0.34, 0.52)  # of the picture's height
LINE = 1.3  # from line to line, of the higher one's height


@dataclass(frozen=True)
class TextScene:
    """Words on a ground, seen by a camera.

    Args:
        words: Their places are in a plane, which ``view`` brings into the picture.
        target: Number of the word that is asked about; -1 without words.
        ground: What they stand on.
        view: The homography from plane to picture, row by row; there a pixel i reaches from i to i + 1.
        camera: Its faults.
        size: (height, width) of the picture.
        kind: What was asked of the sampler.
    """

    words: tuple[Word, ...]
    target: int
    ground: Ground
    view: tuple[float, ...]
    camera: Camera
    size: tuple[int, int]
    kind: str

    def with_target(self, **changes: object) -> "TextScene":
        """Give the same scene with another target word: ``with_target(text="OPEN", rgb=(255, 0, 0))``."""
        word = replace(self.words[self.target], **changes)  # type: ignore[arg-type]
        return replace(self, words=(*self.words[: self.target], word, *self.words[self.target + 1 :]))


def sample(
    seed: int, split: str, *, kind: str = "word", photos: Path | None = None, size: tuple[int, int] = (256, 256),
    lengths: tuple[int, int] = (2, 8), faces: str = "train", close: bool = False,
) -> TextScene:  # fmt: skip
    """Draw a scene.

    Args:
        seed: The same seed gives the same scene wherever the same fonts are installed.
        split: "train" or "test": whose words are drawn.
        kind: "word" (words of the list; in training one in four is a random string), "random" (random strings),
            "hard" (perspective, curves, low contrast, texture), "insert" (the target alone, so that ``clean`` is a
            ground without words), or "empty" (no word).
        photos: Folder of photographs to stand on; without it grounds are painted.
        size: (height, width) of the picture, pixels.
        lengths: Fewest and most letters of a word.
        faces: "train" or "test": whose faces are drawn.
        close: Fill the picture with the target word; others may be cut off.

    Raises:
        ConfigError: The split or the kind is unknown, or the picture is smaller than 48 x 48.
    """
    one_of("split", split, ("train", "test"))
    one_of("kind", kind, KINDS)
    if min(size) < 48:
        raise ConfigError(
            f"a picture of {size[1]} x {size[0]} pixels was asked for; words need 48 x 48 or more"
        )
    rng = np.random.Generator(np.random.PCG64([seed, KINDS.index(kind), split == "test"]))
    ground = looks.sample_ground(rng, kind, photos)
    camera = sample_camera(rng)
    if kind == "empty":
        identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        return TextScene((), -1, ground, identity, camera, size, kind)
    face = draw_face(rng, faces)
    texts = [draw_text(rng, split, kind, lengths, face) for _ in range(_count(rng, kind, close))]
    style = looks.sample_style(rng, kind, paint(ground, size))
    words, target = _lay_out(rng, texts, face, style, size, close)
    if rng.random() < (CURVED_HARD if kind == "hard" else CURVED):
        words[target] = replace(words[target], curve=sample_curve(rng))
    view, words = _view(rng, words, target, size, kind, close)
    if ground.kind in UNEVEN and not style.faint:
        words = _stand_out(rng, words, target, view, paint(ground, size), style)
    return TextScene(tuple(words), target, ground, view, camera, size, kind)


def draw_face(rng: np.random.Generator, split: str) -> Face:
    """Draw a family, then one of its faces; the regular one three times as often as each other."""
    families = _families(split)
    options = families[int(rng.integers(len(families)))]
    weights = np.array([1.0 if face.bold or face.italic else 3.0 for face in options])
    return options[int(rng.choice(len(options), p=weights / weights.sum()))]


@lru_cache(maxsize=2)
def _families(split: str) -> tuple[tuple[Face, ...], ...]:
    known = installed(split)
    names = sorted({face.family for face in known})
    return tuple(tuple(face for face in known if face.family == name) for name in names)


def draw_text(rng: np.random.Generator, split: str, kind: str, lengths: tuple[int, int], face: Face) -> str:
    """Draw what a word says, in characters that the face has."""
    strings = kind == "random" or (split == "train" and rng.random() < RANDOM_SHARE)
    if strings:
        text = random_word(rng, int(rng.integers(lengths[0], lengths[1] + 1)))
    else:
        text = draw_word(rng, split, lengths)
        while not can_draw(face, text):  # marks are rare, so another word soon has none
            text = draw_word(rng, split, lengths)
    return text.upper() if face.family in ONE_CASE else text


def sample_curve(rng: np.random.Generator) -> Curve:
    """Draw an arc with a radius of one to four word lengths, or a wave."""
    if rng.random() < 0.7:
        return Curve("arc", float(1 / rng.uniform(1, 4)) * (1 if rng.random() < 0.6 else -1))
    return Curve("wave", float(rng.uniform(0.08, 0.25)))


def _count(rng: np.random.Generator, kind: str, close: bool) -> int:
    if kind == "insert":
        return 1
    if close:
        return int(rng.integers(1, 4))
    return int(rng.choice([1, 2, 3, 4, 5], p=[0.2, 0.3, 0.25, 0.15, 0.1]))


def _lay_out(
    rng: np.random.Generator, texts: list[str], face: Face, style: looks.Style, size: tuple[int, int], close: bool
) -> tuple[list[Word], int]:  # fmt: skip
    """Set words in centered lines of one or two; the target is any of them."""
    share = rng.uniform(*CLOSE_EM) if close else math.exp(rng.uniform(*np.log(EM)))
    em = float(share) * size[0]
    rows: list[list[Word]] = []
    equal = rng.random() < 0.5
    for text in texts:
        scale = 1.0 if equal or close else float(rng.uniform(0.75, 1.15))
        word = style.word(text, face, em * scale)
        pair = rows and len(rows[-1]) == 1 and rng.random() < 0.4
        rows[-1].append(word) if pair else rows.append([word])
    placed: list[Word] = []
    y = 0.0
    gap = float(rng.uniform(0.35, 0.7)) * em
    for row in rows:
        extents = [w.extent for w in row]
        tall = max(max(high, 0.7 * w.size) for w, (_, high) in zip(row, extents, strict=True))
        baseline = y + max(high / 2 + w.rise for w, (_, high) in zip(row, extents, strict=True))
        x = -(sum(wide for wide, _ in extents) + gap * (len(row) - 1)) / 2
        for w, (wide, _) in zip(row, extents, strict=True):
            placed.append(replace(w, place=(x + wide / 2, baseline - w.rise)))
            x += wide + gap
        y += tall * LINE + float(rng.uniform(0, 0.25)) * em
    return placed, int(rng.integers(len(placed)))


def _stand_out(
    rng: np.random.Generator, words: list[Word], target: int, view: tuple[float, ...], ground: np.ndarray,
    style: looks.Style,
) -> list[Word]:  # fmt: skip
    """Draw another color for all words where the target's does not stand out from what is just behind it."""
    wide, tall = np.divide(words[target].extent, 2)
    x, y = words[target].place
    corners = apply(np.array(view).reshape(3, 3), corners_of((x - wide, y - tall, x + wide, y + tall)))
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    behind = ground[max(low[1], 0) : max(high[1], 8), max(low[0], 0) : max(high[0], 8)]
    seen = looks.ground_colors(behind if behind.size else ground)
    if looks.stands_out(to_lab(words[target].rgb), seen):
        return words
    rgb, name = looks.pick_color(rng, seen, style.named)
    blend = "gradient" if words[target].blend == "gradient" else "alpha"
    return [replace(word, rgb=rgb, color=name, blend=blend, second=None, outline=None) for word in words]


def _view(
    rng: np.random.Generator, words: list[Word], target: int, size: tuple[int, int], kind: str, close: bool
) -> tuple[tuple[float, ...], list[Word]]:  # fmt: skip
    """Turn and tilt the plane, and shrink the words where they would not fit the picture."""
    height, width = size
    angle = math.radians(float(rng.uniform(-30, 30) if rng.random() < 0.1 else rng.normal(0, 4)))
    tilt = float(rng.uniform(0.05, 0.2) if kind == "hard" else rng.uniform(0, 0.07))
    if close and rng.random() < 0.7:
        angle, tilt = angle / 4, tilt / 2
    shown = [words[target]] if close else words
    low = np.min([np.subtract(w.place, np.divide(w.extent, 2)) for w in shown], axis=0)
    high = np.max([np.add(w.place, np.divide(w.extent, 2)) for w in shown], axis=0)
    block_w, block_h = (high - low).tolist()
    turned_w = block_w * abs(math.cos(angle)) + block_h * abs(math.sin(angle))
    turned_h = block_w * abs(math.sin(angle)) + block_h * abs(math.cos(angle))
    room_w, room_h = FILL * width / (1 + tilt), FILL * height / (1 + tilt)
    fit = min(1.0, room_w / turned_w, room_h / turned_h)
    free = np.array([max(0.0, room_w - turned_w * fit), max(0.0, room_h - turned_h * fit)])
    middle = np.array([width, height]) / 2 + free * rng.uniform(-0.5, 0.5, 2) * (0.15 if close else 1.0)
    box = corners_of((low[0], low[1], high[0], high[1]))
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    corners = ((box - (low + high) / 2) * fit) @ turn
    jitter = rng.uniform(-tilt, tilt, (4, 2)) * [block_h * fit, block_h * fit]
    matrix = homography(box, corners + middle + jitter)
    if fit == 1.0:
        return tuple(matrix.ravel().tolist()), words
    grown = matrix @ np.diag([1 / fit, 1 / fit, 1.0])  # letters are drawn at their final size
    smaller = [replace(w, size=w.size * fit, place=(w.place[0] * fit, w.place[1] * fit)) for w in words]
    return tuple((grown / grown[2, 2]).ravel().tolist()), smaller
