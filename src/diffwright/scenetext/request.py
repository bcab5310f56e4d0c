"""What is asked of the model, in its own language: a text, a sentence, and perhaps a second sentence to mix in."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from diffwright.core.checks import in_range
from diffwright.core.checks import text as check_text
from diffwright.core.errors import ConfigError, InputError
from diffwright.scenetext.characters import allowed
from diffwright.world.lettering import colors, faces
from diffwright.world.lettering.families import KIND_OF, KINDS
from diffwright.world.lettering.instructions import Ask, mixed, sentence

CLOSE = 0.9  # how alike a name must be to be taken for a family's


@dataclass(frozen=True)
class Request:
    """A text and how it shall look.

    Args:
        text: the word; empty erases.
        sentence: the instruction.
        other: another instruction to mix in.
        weight: of the other one, 0 to 1.
    """

    text: str
    sentence: str
    other: str | None = None
    weight: float = 0.0


def request(
    text: str,
    font: str | None = None,
    color: str | None = None,
    instruction: str | None = None,
    *,
    bold: bool = False,
    italic: bool = False,
    mix: tuple[str, float] | None = None,
) -> Request:
    """Check what a user asks for, and say it as the model was taught; see ``SceneTextEditor.write``.

    Raises:
        InputError: the text cannot be written.
        ConfigError: a font or color is not known, or two wishes contradict each other.

    Example:
        >>> request("OPEN", "lato", "Dark Gray", bold=True).sentence
        'Write "OPEN" in font: Lato-Bold and color: dark grey'
    """
    allowed(text)
    for name, value in (("bold", bold), ("italic", italic)):
        if not isinstance(value, bool):
            raise ConfigError(f"{name} is {value!r}, expected True or False")
    given = {"font": font, "color": color, "bold": bold, "italic": italic, "mix": mix}
    styled = [name for name, value in given.items() if value]
    if instruction is not None:
        check_text("instruction", instruction)
        if styled:
            raise ConfigError(
                f"instruction and {styled[0]} were given; say it all in the instruction, or leave it out"
            )
        if not instruction.strip():
            raise InputError("instruction is empty; leave it out to match the surroundings")
        return Request(text, instruction)
    if not text and styled:
        raise ConfigError(f"{styled[0]} was given, but text is empty, which erases; leave the style out")
    ask = Ask(text, _font(font), _color(color), bold=bold, italic=italic)
    return Request(text, sentence(ask)) if mix is None else _with_mixture(ask, mix)


def _with_mixture(ask: Ask, mix: tuple[str, float]) -> Request:
    if not isinstance(mix, tuple | list) or len(mix) != 2 or not isinstance(mix[0], str):
        raise ConfigError(f"mix is {mix!r}, expected another font and its weight, as ('Karla', 0.5)")
    in_range("the weight of mix", mix[1], 0, 1)
    if ask.font is None:
        raise ConfigError("mix was given without font; name the font that the other is mixed with")
    other = replace(ask, font=_font(mix[0]))
    if mix[1] == 0.5:
        return Request(ask.text, sentence(replace(ask, font=mixed(ask.font, str(other.font)))))
    return Request(ask.text, sentence(ask), sentence(other), float(mix[1]))


def _font(name: str | None) -> str | None:
    """The family or kind that a name means: of those that models are trained on, or that are installed here."""
    if name is None:
        return None
    check_text("font", name, 100)
    known = {_key(each): each for each in (*KIND_OF, *KINDS)}
    close = difflib.get_close_matches(_key(name), known, n=1, cutoff=CLOSE)
    return known[close[0]] if close else faces.named(name).family


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _color(name: str | None) -> str | None:
    if name is None:
        return None
    check_text("color", name, 100)
    colors.parse(name)
    return " ".join(name.lower().replace("gray", "grey").split())
