"""Several edits of one picture, from a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from diffwright.core.checks import one_of
from diffwright.core.errors import ConfigError, InputError
from diffwright.core.strict_json import read_object

MOST = 200
KINDS: dict[str, tuple[type, ...]] = {
    "write": (str,),
    "font": (str,),
    "color": (str,),
    "instruction": (str,),
    "bold": (bool,),
    "italic": (bool,),
    "mix": (list,),
    "seed": (int,),
    "candidates": (int,),
}
REGIONS = ("box", "polygon", "mask")


@dataclass(frozen=True, eq=False)
class Edit:
    """One word to write, change or erase; see ``SceneTextEditor.write``.

    Args:
        region: a box, a polygon or a mask.
        text: the word; empty erases.
        font: name of a font.
        color: name, or #RRGGBB.
        instruction: free words about the look, instead of the others.
        bold: heavy strokes.
        italic: leaning letters.
        mix: another font, and its weight from 0 to 1.
        seed: of the first candidate; that of the whole run without it.
        candidates: how many to try; as many as in the whole run without it.
    """

    region: Any
    text: str
    font: str | None = None
    color: str | None = None
    instruction: str | None = None
    bold: bool = False
    italic: bool = False
    mix: tuple[str, float] | None = None
    seed: int | None = None
    candidates: int | None = None


def read_edits(file: str | PathLike[str]) -> tuple[Edit, ...]:
    """Read a list of edits.

    The file holds ``{"edits": [{"box": [40, 60, 210, 120], "write": "OPEN", "color": "teal"}, ...]}``. In place of
    ``box`` stands ``polygon``, a list of points, or ``mask``, a path seen from the file's folder. The other keys are
    those of :class:`Edit`.

    Args:
        file: UTF-8 JSON of at most a megabyte.

    Returns:
        The edits, in the order in which they are done.

    Raises:
        InputError: it is no such file; the message names the entry and what is allowed in it.
    """
    file = Path(file)
    record = read_object(file, error=InputError)
    entries = record.get("edits")
    if set(record) != {"edits"} or not isinstance(entries, list) or not 1 <= len(entries) <= MOST:
        raise InputError(
            f'{file} should hold {{"edits": [...]}} with 1 to {MOST} edits and nothing else; mend it'
        )
    return tuple(_edit(entry, f"edit {n} of {file}", file.parent) for n, entry in enumerate(entries, 1))


def _edit(entry: Any, name: str, folder: Path) -> Edit:
    if not isinstance(entry, dict):
        raise InputError(
            f"{name} is a {type(entry).__name__}, expected an object with a region and a word to write"
        )
    try:
        for key in entry:
            one_of(f"a key of {name}", key, [*REGIONS, *KINDS])
    except ConfigError as error:
        raise InputError(str(error)) from error
    given = [key for key in REGIONS if key in entry]
    if len(given) != 1 or "write" not in entry:
        raise InputError(
            f'{name} needs "write" and exactly one of box, polygon and mask; it has {", ".join(entry)}'
        )
    for key, kinds in KINDS.items():
        value = entry.get(key)
        if value is not None and (
            not isinstance(value, kinds) or (kinds == (int,) and isinstance(value, bool))
        ):
            raise InputError(f'"{key}" of {name} is {value!r}, expected {_called(kinds)}')
    rest = {key: value for key, value in entry.items() if key in KINDS and value is not None}
    text = rest.pop("write", None)
    if text is None:
        raise InputError(f'"write" of {name} is null; give the word, or "" to erase')
    if "mix" in rest:
        rest["mix"] = _mix(rest["mix"], name)
    return Edit(_region(entry, given[0], name, folder), text, **rest)


def _region(entry: Mapping[str, Any], key: str, name: str, folder: Path) -> Any:
    value = entry[key]
    if key == "mask":
        if not isinstance(value, str):
            raise InputError(f'"mask" of {name} is {value!r}, expected the path of a picture')
        return folder / value
    count = len(value) if isinstance(value, list) else 0
    if (key == "box" and count != 4) or (key == "polygon" and count < 3):
        raise InputError(f'"{key}" of {name} is {value!r}, expected {EXPECTED[key]}')
    if key == "polygon" and not all(isinstance(point, list) and len(point) == 2 for point in value):
        raise InputError(f'"{key}" of {name} is {value!r}, expected {EXPECTED[key]}')
    return tuple(value) if key == "box" else tuple(map(tuple, value))


EXPECTED = {"box": "four whole numbers x0 y0 x1 y1", "polygon": "three or more points [x, y]"}


def _mix(value: list[Any], name: str) -> tuple[str, float]:
    good = len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float)
    if not good or isinstance(value[1], bool):
        raise InputError(
            f'"mix" of {name} is {value!r}, expected another font and its weight, as ["Karla", 0.5]'
        )
    return value[0], float(value[1])


def _called(kinds: tuple[type, ...]) -> str:
    names = {str: "text", bool: "true or false", int: "a whole number", list: "a list"}
    return " or ".join(names[kind] for kind in kinds)
