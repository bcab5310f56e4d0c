"""What a TrueType or OpenType file says about itself: names, weight, slant, characters.

Only the tables ``name``, ``OS/2`` and ``cmap`` are read, with bounds that a damaged file cannot exceed.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

FAMILY, STYLE, TYPOGRAPHIC_FAMILY, TYPOGRAPHIC_STYLE = 1, 2, 16, 17
SHORTEST, MOST_TABLES, MOST_FONTS, LARGEST_TABLE = 12, 128, 64, 2**20
HIGHEST = 0x250  # code points from here on are left out: tables are sorted, so reading can stop
ITALIC_BIT, BOLD_BIT, OBLIQUE_BIT = 1, 1 << 5, 1 << 9


@dataclass(frozen=True)
class FontFile:
    """One font of a file.

    Args:
        family: Typographic family where the file has one, else the plain family.
        style: Name of the style, such as "Bold Italic".
        weight: 100 to 900, 400 is regular.
        italic: Whether the file calls itself italic or oblique.
        characters: Code points below ``HIGHEST`` that it maps to a glyph.
    """

    family: str
    style: str
    weight: int
    italic: bool
    characters: frozenset[int]


class NotAFont(Exception):
    """The file is not a font that can be read."""


def read_fonts(path: Path) -> list[FontFile]:
    """Read every font of a .ttf, .otf or .ttc file.

    Raises:
        NotAFont: The file is damaged, or no such font.
    """
    try:
        with path.open("rb") as file:
            head = file.read(SHORTEST + 4 * MOST_FONTS)
            if head[:4] != b"ttcf":
                return [_read(file, 0)]
            count = min(struct.unpack_from(">I", head, 8)[0], MOST_FONTS)
            return [_read(file, offset) for offset in struct.unpack_from(f">{count}I", head, 12)]
    except (struct.error, IndexError, UnicodeDecodeError, KeyError, OSError) as error:
        raise NotAFont(f"{path} cannot be read as a font ({error})") from error


def _read(file: BinaryIO, offset: int) -> FontFile:
    file.seek(offset)
    head = file.read(SHORTEST + 16 * MOST_TABLES)
    tables: dict[bytes, bytes] = {}
    for i in range(min(struct.unpack_from(">H", head, 4)[0], MOST_TABLES)):
        tag, _, start, length = struct.unpack_from(">4sIII", head, SHORTEST + 16 * i)
        if tag in (b"name", b"OS/2", b"cmap"):
            file.seek(start)
            tables[tag] = file.read(min(length, LARGEST_TABLE))
    names = _names(tables[b"name"])
    style = names.get(TYPOGRAPHIC_STYLE) or names.get(STYLE, "Regular")
    weight, selection = 400, 0
    if b"OS/2" in tables:
        weight = struct.unpack_from(">H", tables[b"OS/2"], 4)[0]
        selection = struct.unpack_from(">H", tables[b"OS/2"], 62)[0]
    words = style.lower()
    bold = bool(selection & BOLD_BIT) or words.startswith("bold") or words.endswith(" bold")
    return FontFile(
        family=names.get(TYPOGRAPHIC_FAMILY) or names[FAMILY],
        style=style,
        weight=max(weight, 700) if bold else weight,
        italic=bool(selection & (ITALIC_BIT | OBLIQUE_BIT)) or "italic" in words or "oblique" in words,
        characters=_characters(tables[b"cmap"]),
    )


def _names(table: bytes) -> dict[int, str]:
    """Give the names in English, by their number; Windows' spelling wins over the Macintosh's."""
    _, count, strings = struct.unpack_from(">HHH", table)
    names: dict[int, str] = {}
    for i in range(count):
        platform, _, language, name, length, start = struct.unpack_from(">6H", table, 6 + 12 * i)
        raw = table[strings + start : strings + start + length]
        if platform == 3 and language == 0x409:
            names[name] = raw.decode("utf-16-be")
        elif platform == 1 and language == 0:
            names.setdefault(name, raw.decode("mac-roman"))
    return {name: " ".join(value.split()) for name, value in names.items()}


def _characters(table: bytes) -> frozenset[int]:
    """Read the Unicode subtable: format 4 for the basic plane, format 12 for all planes."""
    count = struct.unpack_from(">H", table, 2)[0]
    found: set[int] = set()
    for i in range(min(count, MOST_TABLES)):
        platform, encoding, offset = struct.unpack_from(">HHI", table, 4 + 8 * i)
        if not (platform == 0 or (platform == 3 and encoding in (1, 10))):
            continue
        form = struct.unpack_from(">H", table, offset)[0]
        if form == 4:
            found |= _segments(table[offset:])
        elif form == 12:
            groups = min(struct.unpack_from(">I", table, offset + 12)[0], 4096)
            for g in range(groups):
                first, last, glyph = struct.unpack_from(">III", table, offset + 16 + 12 * g)
                found.update(c for c in range(first, min(last + 1, HIGHEST)) if glyph + c - first)
                if last >= HIGHEST:
                    break
    return frozenset(found)


def _segments(table: bytes) -> set[int]:
    count = struct.unpack_from(">H", table, 6)[0] // 2
    found: set[int] = set()
    for s in range(count):
        last = struct.unpack_from(">H", table, 14 + 2 * s)[0]
        first, shift, place = (
            struct.unpack_from(">H", table, 16 + 2 * (part * count + s))[0] for part in (1, 2, 3)
        )
        if first >= HIGHEST:
            break
        for code in range(first, min(last + 1, HIGHEST)):
            glyph = code
            if place:
                where = 16 + 2 * (3 * count + s) + place + 2 * (code - first)
                glyph = struct.unpack_from(">H", table, where)[0] if where + 2 <= len(table) else 0
            if glyph and (glyph + shift) & 0xFFFF:
                found.add(code)
    return found
