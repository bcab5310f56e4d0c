"""The test sets of scene text: a picture before, a region, what shall stand there, and the picture that is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from diffwright.core.checks import one_of
from diffwright.core.errors import InputError
from diffwright.scenetext.region import Region, choose
from diffwright.world import splits
from diffwright.world.lettering import looks
from diffwright.world.lettering.colors import BASIC, NAMED, RGB, names, to_lab
from diffwright.world.lettering.draw import pictures
from diffwright.world.lettering.faces import Face
from diffwright.world.lettering.families import ONE_CASE
from diffwright.world.lettering.framing import apply
from diffwright.world.lettering.grounds import paint
from diffwright.world.lettering.instructions import Ask
from diffwright.world.lettering.scene import TextScene, draw_face, sample
from diffwright.world.lettering.word import Word, corners_of
from diffwright.world.lettering.words import LETTERS, random_word, words

SIZE = (256, 256)
PAD = 0.15  # of the ink's height, between the old word and its region
LONGEST = 16  # of the length sweep
TALL = 32.0  # pixels, of regions in plain sets
WORDS_OF = {"test": "test", "development": "train"}
STREAM = 5  # of the generators, so that no other draws meet these
STATES = ("", "font", "color", "both")
"""What instructions name, in turn; nothing means the style of the surroundings."""


@dataclass(frozen=True)
class Set:
    """How a test set is drawn.

    Args:
        kind: Of the scenes, see ``world.lettering.scene.sample``.
        states: What the instructions name, in turn.
        colors: Names that instructions take: "basic", or "test" for those held out.
        faces: "train" or "test".
        lengths: Fewest and most letters; None sweeps 1 to 16.
        photos: Whether words stand on photographs.
        several: Only scenes with several words.
        plain: Whether letters are of one even color and regions at least 32 pixels high, so that color and shape can
            be measured.
    """

    kind: str = "word"
    states: tuple[str, ...] = STATES
    colors: str = "basic"
    faces: str = "train"
    lengths: tuple[int, int] | None = (2, 8)
    photos: bool = False
    several: bool = False
    plain: bool = False


SETS = {
    "word": Set(),
    "random": Set("random"),
    "hard": Set("hard"),
    "insert": Set("insert"),
    "length": Set(lengths=None),
    "unseen_font": Set(states=("",), faces="test"),
    "photo": Set(photos=True),
    "style": Set(states=("both",), plain=True),
    "surround": Set(states=("",), several=True, plain=True),
    "unseen_color": Set(states=("color",), colors="test", plain=True),
}
"""Test sets by name; words, looks and grounds are of the test split."""


@dataclass(frozen=True, eq=False)
class Case:
    """One thing to write.

    Args:
        name: Set and number.
        source: The picture before, uint8 (H, W, 3); where something is inserted, without a word.
        truth: The picture that is right.
        clean: The picture without the word.
        bare: The ground without any word.
        corners: Of the region, (4, 2), clockwise from the word's top left.
        region: The same as the tool understands it.
        text: What to write.
        ask: What the instruction says; its text is ``text``.
        scene: Where it stands.
        word: The word of ``truth``.
    """

    name: str
    source: np.ndarray
    truth: np.ndarray
    clean: np.ndarray
    bare: np.ndarray
    corners: np.ndarray
    region: Region
    text: str
    ask: Ask
    scene: TextScene
    word: Word

    @property
    def face(self) -> Face:
        """What ``truth`` is set in."""
        return self.word.face

    @property
    def rgb(self) -> RGB:
        """The color of its word."""
        return self.word.rgb

    def drawn(self, **changes: Any) -> np.ndarray:
        """Draw the right picture with another look of its word, such as ``face``; uint8 (H, W, 3)."""
        return pictures(self.scene, [replace(self.word, **changes)])[0]

    @property
    def style(self) -> dict[str, Any]:
        """What ``SceneTextEditor.write`` is told beside picture, region and text."""
        return {
            "font": self.ask.font, "color": self.ask.color, "bold": self.ask.bold, "italic": self.ask.italic
        }  # fmt: skip


def cases(name: str, count: int, photos: Path | None = None, split: str = "test") -> list[Case]:
    """Draw a test set, or one of the same kind to choose settings on.

    Args:
        name: A key of ``SETS``.
        count: Cases; the first are the same whatever the count.
        photos: Folder of photographs, for the set that stands on them.
        split: "test", or "development" for other scenes with words of training.

    Raises:
        ConfigError: There is no such set or split.
        InputError: The set needs photographs.
    """
    one_of("set", name, SETS)
    one_of("split", split, WORDS_OF)
    if SETS[name].photos and photos is None:
        raise InputError(f"the set {name!r} stands on photographs; give a folder of them")
    return list(_first(name, count, photos, split))


@lru_cache(maxsize=32)
def _first(name: str, count: int, photos: Path | None, split: str) -> tuple[Case, ...]:
    found = []
    for case in _endless(name, photos, split):
        found.append(case)
        if len(found) == count:
            break
    return tuple(found)


def _endless(name: str, photos: Path | None, split: str) -> Iterator[Case]:
    """Yield the cases of a set; scenes whose region leaves the picture are passed over."""
    plan, number = SETS[name], 0
    for seed in splits.SEEDS[split]:
        rng = np.random.Generator(np.random.PCG64([seed, list(SETS).index(name), STREAM]))
        lengths = plan.lengths or (number % LONGEST + 1, number % LONGEST + 1)
        scene = sample(
            seed, WORDS_OF[split], kind=plan.kind, photos=photos if plan.photos else None, size=SIZE, lengths=lengths,
            faces=plan.faces,
        )  # fmt: skip
        if plan.several and len(scene.words) < 2:
            continue
        if plan.plain:
            scene = replace(scene, words=tuple(_plain(word) for word in scene.words))
        state = plan.states[number // (1 if plan.lengths else LONGEST) % len(plan.states)]
        case = _case(rng, scene, f"{name} {number}", state, plan.colors, WORDS_OF[split])
        if case is not None and (not plan.plain or case.region.size[0] >= TALL):
            number += 1
            yield case


def _plain(word: Word) -> Word:
    """Take all effects from a word but its curve."""
    return replace(word, outline=None, shadow=None, second=None, bump=0.0, blend="alpha", opacity=1.0)


def _case(
    rng: np.random.Generator, scene: TextScene, name: str, state: str, among: str, split: str
) -> Case | None:
    old = scene.words[scene.target]
    wide, tall = old.extent
    wide, tall = wide + 2 * PAD * tall, tall * (1 + 2 * PAD)
    new, ask = _styled(rng, scene, replace(old, text=_other(rng, old, scene.kind, split)), state, among)
    new = replace(new, room=(wide - 0.06 * tall, 0.92 * tall))
    x, y = old.place
    box = corners_of((x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2))
    corners = apply(np.array(scene.view).reshape(3, 3), box) - 0.5
    try:
        region = choose(corners, scene.size)
    except InputError:
        return None
    before, truth, clean = pictures(scene, [old, new, None])
    bare = pictures(replace(scene, words=(old,), target=0), [None])[0]
    source = clean if scene.kind == "insert" else before
    return Case(name, source, truth, clean, bare, corners, region, new.text, ask, scene, new)


def _other(rng: np.random.Generator, old: Word, kind: str, split: str) -> str:
    """Draw another word of the same length and case, a random string where no other is held out."""
    length, face = len(old.text), old.face
    known = words(split, (length, length)) if length > 1 else tuple(LETTERS)
    others = [word for word in known if word != old.text.lower()]
    if kind == "random" or not others:
        text = random_word(rng, length)
    else:
        text = others[int(rng.integers(len(others)))]
        text = text.upper() if old.text.isupper() else text.capitalize() if old.text[:1].isupper() else text
    if face.family in ONE_CASE:
        text = text.upper()
    return text if text != old.text else _other(rng, old, kind, split)


def _styled(
    rng: np.random.Generator, scene: TextScene, word: Word, state: str, among: str
) -> tuple[Word, Ask]:
    """Give the word the font and the color that the instruction names, other than those around it."""
    font = color = None
    if state in ("font", "both"):
        face = draw_face(rng, "train")
        text = word.text.upper() if face.family in ONE_CASE else word.text
        word, font = replace(word, face=face, text=text), face.family
    if state in ("color", "both"):
        color = legible_color(rng, scene, word.rgb, BASIC if among == "basic" else names(among))
        word = replace(word, rgb=NAMED[color], color=color, second=None, blend="alpha", opacity=1.0)
    named = font is not None
    bold, italic = named and word.face.bold, named and word.face.italic
    return word, Ask(word.text, font, color, bold, italic)


def legible_color(rng: np.random.Generator, scene: TextScene, other_than: RGB, among: Sequence[str]) -> str:
    """Draw one of some named colors that is legible on the ground and not the one around."""
    seen = looks.ground_colors(paint(scene.ground, scene.size))
    far = [name for name in among if np.linalg.norm(to_lab(NAMED[name]) - to_lab(other_than)) > 25]
    legible = [name for name in far if looks.stands_out(to_lab(NAMED[name]), seen)] or far
    return legible[int(rng.integers(len(legible)))]
