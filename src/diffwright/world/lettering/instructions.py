"""What is asked of a word, and how people say it.

The canonical form is DiffSTE's own (``Write "Open" in font: Lato and color: teal``); the templates say the same in
other words. Square brackets hold what disappears with its slot.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffwright.core.checks import one_of
from diffwright.world.lettering.families import KINDS
from diffwright.world.lettering.phrasing import ERASING, TEMPLATES
from diffwright.world.splits import TEST_TEMPLATES

_GROUP = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Ask:
    """What to write and how it shall look; None leaves a trait to the surroundings.

    Args:
        text: The word; empty to erase.
        font: A family, a kind such as "serif", or two families as "A and B" for a mixture.
        color: A name, or "#RRGGBB".
        bold: Ask for bold.
        italic: Ask for italic.
    """

    text: str
    font: str | None = None
    color: str | None = None
    bold: bool = False
    italic: bool = False

    @property
    def font_field(self) -> str | None:
        """The font as the canonical form says it, the variant appended: "Lato-BoldItalic"."""
        variant = "Bold" * self.bold + "Italic" * self.italic
        if self.font is None:
            return variant or None
        parts = self.font.split(" and ")
        return " and ".join(f"{part}-{variant}" if variant else part for part in parts)


def mixed(first: str, second: str) -> str:
    """Name a mixture of two fonts, as ``Ask.font`` takes it."""
    return f"{first} and {second}"


def sentence(ask: Ask, rng: np.random.Generator | None = None, split: str = "train") -> str:
    """Say what is asked.

    Args:
        ask: What to say.
        rng: Draws a template and words for the traits; without it the canonical form is given.
        split: "train" or "test": the templates to draw from; no template is in both.

    Raises:
        ConfigError: The split is unknown.

    Example:
        >>> sentence(Ask("Open", font="Lato", color="teal", bold=True))
        'Write "Open" in font: Lato-Bold and color: teal'
    """
    one_of("split", split, ("train", "test"))
    if rng is None:
        fields = (("font", ask.font_field), ("color", ask.color))
        style = " and ".join(f"{name}: {value}" for name, value in fields if value)
        return f'Write "{ask.text}"' + (f" in {style}" if style else "")
    options = _of_split(ERASING if not ask.text else TEMPLATES, split)
    fitting = [t for t in options if _says_all(t, ask)]
    pattern = fitting[int(rng.integers(len(fitting)))]
    return _filled(pattern, ask, lambda choices: choices[int(rng.integers(len(choices)))])


def _of_split(patterns: tuple[str, ...], split: str) -> list[str]:
    return [p for p in patterns if (p in TEST_TEMPLATES) == (split == "test")]


def _says_all(pattern: str, ask: Ask) -> bool:
    """Whether a pattern has a slot for every trait that is asked for; an erasure has none."""
    if not ask.text:
        return True
    font = ask.font is not None or ask.bold or ask.italic
    return (not font or "{font}" in pattern) and (ask.color is None or "{color}" in pattern)


def _filled(pattern: str, ask: Ask, pick: Callable[[tuple[str, ...]], str]) -> str:
    slots = {"word": ask.text, "font": _font_phrase(ask, pick), "color": ask.color}

    def group(match: re.Match[str]) -> str:
        kept = all(slots[name] for name in slots if f"{{{name}}}" in match[1])
        return match[1] if kept else ""

    return _GROUP.sub(group, pattern).format(**slots)


def _font_phrase(ask: Ask, pick: Callable[[tuple[str, ...]], str]) -> str | None:
    """Name the font after "in" or "set in": "bold Lato", "an italic serif face", "bold letters"."""
    variant = " ".join(["bold"] * ask.bold + [pick(("italic", "slanted"))] * ask.italic)
    if ask.font is None:
        return f"{variant} {pick(('letters', 'type', 'characters'))}" if variant else None
    if ask.font in KINDS:
        noun = pick(("typeface", "font", "face", "lettering"))
        words = f"{variant} {ask.font}".strip()
        return (
            f"{words} {noun}"
            if noun == "lettering"
            else f"{'an' if words[0] in 'aio' else 'a'} {words} {noun}"
        )
    if " and " in ask.font:
        return f"{variant} {pick(('a mix of', 'a blend of', 'something between'))} {ask.font}".strip()
    return (
        pick((f"{variant} {ask.font}", f"{ask.font} {variant}", f"the {variant} font {ask.font}"))
        .strip()
        .replace("  ", " ")
    )
