"""Chapter of the demo: words of drawn signs changed, beside the same signs drawn with the new words."""

import shlex
import time
from dataclasses import dataclass

import numpy as np

from diffwright.cli.demo_page.page import Chapter, Figure, Shot
from diffwright.core.progress import Progress, report
from diffwright.scenetext.characters import allowed
from diffwright.scenetext.editor import SceneTextEditor
from diffwright.scenetext.output import WriteOutput
from diffwright.scenetext.region import choose, strip_of
from diffwright.world.lettering.draw import draw
from diffwright.world.lettering.scene import TextScene, sample
from diffwright.world.lettering.strips import PAD, grown
from diffwright.world.lettering.words import words
from diffwright.world.splits import seeds

SIGNS = 6
SIZE = 256
FIRST = 300_000  # of the test seeds
CANDIDATES = 4


@dataclass(frozen=True, eq=False)
class Sign:
    """A drawn sign, the word that it shall say, and what came of it.

    Attributes:
        before: uint8 (H, W, 3).
        truth: The same sign, drawn with the new word.
        corners: (4, 2) of the region, clockwise from the word's top left, whole pixels.
        said: The word that stood there.
        word: The one that shall.
        color: Name of its color.
        found: What the editor gave, the best of its candidates first.
    """

    before: np.ndarray
    truth: np.ndarray
    corners: np.ndarray
    said: str
    word: str
    color: str
    found: WriteOutput

    def right(self, reading: str) -> bool:
        """Whether a reading is the word, in whatever case."""
        return reading.lower() == self.word.lower()


def write(
    editor: SceneTextEditor, *, word: str | None = None, seed: int = 0, progress: Progress | None = None
) -> Chapter:
    """Change the words of test signs: to words that training never drew, or to the user's.

    Args:
        editor: Writes and reads.
        word: The user's own.
        seed: Of the signs and of the candidates.
        progress: Told the signs.

    Returns:
        The chapter.

    Raises:
        InputError: The user's word cannot be written.
    """
    if word is not None:
        allowed(word)
    signs, start = [], time.perf_counter()
    for done, number in enumerate(seeds("test", SIGNS, start=FIRST + seed * SIGNS)):
        report(progress, "writing", done, SIGNS)
        signs.append(_sign(editor, sample(number, "test", size=(SIZE, SIZE)), word, seed + done))
    each = (time.perf_counter() - start) / SIGNS
    report(progress, "writing", SIGNS, SIGNS)
    return _chapter(editor, signs, each)


def _sign(editor: SceneTextEditor, scene: TextScene, word: str | None, seed: int) -> Sign:
    drawn = draw(scene)
    old = drawn.words[drawn.target]
    new = word or _other(old.text, seed)
    fitted = scene.with_target(text=new, room=scene.words[scene.target].extent)
    corners = grown(old.polygon, PAD).round().clip(0, SIZE - 1)
    found = editor.write(drawn.image, corners, new, candidates=CANDIDATES, seed=seed)
    return Sign(drawn.image, draw(fitted).image, corners, old.text, new, old.color_name, found)


def _other(said: str, seed: int) -> str:
    """A test word about as long, in the case of the one that stands there."""
    length = min(max(len(said), 2), 8)
    options = [each for each in words("test", (length, length)) if each != said.lower()]
    found = options[int(np.random.default_rng(seed).integers(len(options)))]
    return found.upper() if said.isupper() else found.capitalize() if said[:1].isupper() else found


def _chapter(editor: SceneTextEditor, signs: list[Sign], each: float) -> Chapter:
    best = [sign.right(sign.found.readings[0]) for sign in signs]
    first = [sign.right(sign.found.readings[sign.found.seeds.index(min(sign.found.seeds))]) for sign in signs]
    before = [sign.right(editor.read(sign.before, sign.corners)[0]) for sign in signs]
    shown = signs[best.index(True) if any(best) else 0]
    corners = " ".join(f"{value:g}" for value in shown.corners.reshape(-1))
    size = sum(p.numel() for p in editor.model.parameters()) / 1e6
    return Chapter(
        key="text",
        title="A word changed",
        before=Shot(f"a drawn sign that says {shown.said!r}", shown.before),
        ours=Shot(
            f"told to say {shown.word!r}",
            np.asarray(shown.found.images[0]),
            verdicts=[(shown.found.readings[0] or "nothing", shown.right(shown.found.readings[0]))],
        ),
        truth=Shot(f"the same sign, drawn with {shown.word!r}", shown.truth),
        figure=Figure(
            f"{sum(best)} of {len(signs)}",
            f"words are read as asked in the best of {CANDIDATES} candidates, by the model's own reader",
            f"{sum(before)} of {len(signs)}",
            f"before the edit; {sum(first)} of {len(signs)} with one candidate",
        ),
        command=f"diffwright text sign.png --polygon {corners} --write {shlex.quote(shown.word)} --out changed.png",
        text="A region of the picture is rectified to a strip; an inpainting UNet with two encoders, one for the "
        "instruction and one for the letters, writes the word in the style of what surrounds it, and the strip "
        "goes back. Pixels outside the region keep their bytes. The reader that ranks the candidates is our own and "
        "was trained with the writer, so its count flatters: the bench has an independent judge. All signs are here.",
        rows=[(f"“{sign.said}” becomes “{sign.word}”", _shots(sign)) for sign in signs],
        facts=[
            ("seconds a word", f"{each:.1f}, with {CANDIDATES} candidates"),
            ("parameters", f"{size:.1f} million, the reader among them"),
            (
                "pixels changed outside the regions",
                str(sum(s.found.figures["outside_changed_px"] for s in signs)),
            ),
        ],
    )


def _shots(sign: Sign) -> list[Shot]:
    found = sign.found
    region = choose(sign.corners, (SIZE, SIZE))
    sure = f"{found.confidence:.0%}".replace("%", " %")
    return [
        Shot("before", sign.before),
        Shot(
            f"after; the reader is {sure} sure",
            np.asarray(found.images[0]),
            verdicts=[(found.readings[0] or "nothing", sign.right(found.readings[0]))],
        ),
        Shot("drawn with the new word", sign.truth),
        Shot(
            "what the model saw, and its candidates",
            _stack([strip_of(sign.before, region), *found.candidates]),
        ),
    ]


def _stack(strips: list[np.ndarray]) -> np.ndarray:
    """Strips under each other, a white line between."""
    line = np.full((2, strips[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for strip in strips for part in (line, strip)][1:])
