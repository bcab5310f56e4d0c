"""The faces that words can be set in: what Debian's font packages install, and a family of our own package."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from diffwright.core.checks import one_of
from diffwright.core.errors import ConfigError
from diffwright.world import splits
from diffwright.world.lettering.families import ALIASES, KIND_OF, KINDS, NOT_LETTERS, guess_kind
from diffwright.world.lettering.sfnt import FontFile, NotAFont, read_fonts

SHIPPED = Path(__file__).parent / "data" / "fonts"
FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path("~/.local/share/fonts").expanduser(),
    Path("~/.fonts").expanduser(),
)
SUFFIXES = (".ttf", ".otf", ".ttc")
ALPHANUMERIC = frozenset(map(ord, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"))
BOLD_FROM = 600  # the weight from which a face counts as bold
PLAIN_STYLES = frozenset({"regular", "book", "medium", "roman", "normal", "standard", "bold", "italic", "oblique",
                          "demi", "demibold", "std", "12"})  # fmt: skip
CLOSE = 0.8  # how alike a name must be to be taken for a family's
_VARIANT = re.compile(r"[\s-]*(bold)?[\s-]*(italic|oblique)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Face:
    """One face of a family: regular, bold, italic or bold italic.

    Args:
        id: Lower-case name of the family with ``-bold`` and ``-italic``; the same on every machine.
        family: As the file names it.
        path: The font file.
        index: Number of the font in its file.
        weight: 100 to 900; from 600 on it counts as bold.
        italic: Italic or oblique.
        kind: serif, sans, mono, script, display or slab.
    """

    id: str
    family: str
    path: Path
    index: int
    weight: int
    italic: bool
    kind: str

    def __hash__(self) -> int:
        """Hash the id alone: faces are looked up for every letter that is drawn."""
        return hash(self.id)

    @property
    def bold(self) -> bool:
        """Whether it counts as bold."""
        return self.weight >= BOLD_FROM


def installed(split: str | None = None, folders: tuple[Path, ...] = FOLDERS) -> tuple[Face, ...]:
    """List the faces on this machine that can draw letters and digits, at most four of a family.

    Args:
        split: "train" or "test" for the faces of the table of families that it holds, None for all. The faces
            that ship in the package belong to "train", and stand in for "test" where nothing else does.
        folders: Where to look, besides the package.

    Returns:
        Faces in the order of their ids.

    Raises:
        ConfigError: The split is unknown.

    Example:
        >>> {face.family for face in installed(folders=())}  # doctest: +SKIP
        {'DejaVu Sans', 'DejaVu Sans Mono', 'DejaVu Serif'}
    """
    if split is None:
        return _scan(folders)
    one_of("split", split, ("train", "test"))
    return _of_split(split, folders)


@lru_cache(maxsize=8)
def _of_split(split: str, folders: tuple[Path, ...]) -> tuple[Face, ...]:
    known = [face for face in _scan(folders) if face.family in KIND_OF]
    chosen = [f for f in known if splits.font_split(f.family, f.bold or f.italic) == split]
    return tuple(chosen) or tuple(face for face in known if face.path.parent == SHIPPED)


@lru_cache(maxsize=8)
def _scan(folders: tuple[Path, ...]) -> tuple[Face, ...]:
    found: dict[str, tuple[tuple, Face]] = {}
    for place, folder in enumerate((SHIPPED, *folders)):
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
            for index, font in enumerate(_fonts(path)):
                if font.characters >= ALPHANUMERIC and font.family not in NOT_LETTERS:
                    face, rank = _face(path, index, font), (place > 0, *_oddness(font), str(path))
                    if face.id not in found or rank < found[face.id][0]:
                        found[face.id] = (rank, face)
    return tuple(found[key][1] for key in sorted(found))


@lru_cache(maxsize=4096)
def _fonts(path: Path) -> tuple[FontFile, ...]:
    try:
        return tuple(read_fonts(path))
    except NotAFont:
        return ()  # a damaged file among hundreds is passed over, as the system does


def _oddness(font: FontFile) -> tuple[int, int]:
    """Rank the fonts that share an id: words such as Condensed last, then by the distance to the usual weight."""
    odd = [word for word in re.findall(r"[a-z0-9]+", font.style.lower()) if word not in PLAIN_STYLES]
    return len(odd), abs(font.weight - (700 if font.weight >= BOLD_FROM else 400))


def _face(path: Path, index: int, font: FontFile) -> Face:
    weight = min(max(font.weight, 100), 900)
    name = re.sub(r"[^a-z0-9]+", "-", font.family.lower()).strip("-")
    variant = "-bold" * (weight >= BOLD_FROM) + "-italic" * font.italic
    kind = KIND_OF.get(font.family) or guess_kind(font.family)
    return Face(name + variant, font.family, path, index, weight, font.italic, kind)


def named(name: str, bold: bool = False, italic: bool = False, folders: tuple[Path, ...] = FOLDERS) -> Face:
    """Find the face that a name means, or the nearest of its family.

    Args:
        name: A family ("DejaVu Serif"), with or without "-Bold", "-Italic", "-BoldItalic"; an id; or a kind ("serif").
        bold: Ask for the bold face.
        italic: Ask for the italic face.
        folders: Where to look, besides the package.

    Returns:
        The face of that family closest in weight and slant; spelling may differ a little.

    Raises:
        ConfigError: No family has a name like it; the message offers the closest ones.

    Example:
        >>> named("dejavu serif", bold=True).id
        'dejavu-serif-bold'
    """
    faces = _scan(folders)
    family, more_bold, more_italic = _without_variant(name)
    bold, italic = bold or more_bold, italic or more_italic
    chosen = _family(family, faces) or _family(name, faces)
    if not chosen:
        keys = {_key(face.family): face.family for face in faces}
        close = difflib.get_close_matches(_key(family), keys, n=3, cutoff=0.4)
        offered = ", ".join(keys[key] for key in close) or ", ".join(sorted(KIND_OF)[:3])
        raise ConfigError(
            f"font {name!r} is not installed here; close to it are {offered}; kinds are {', '.join(KINDS)}"
        )
    return min(chosen, key=lambda face: (face.italic != italic, face.bold != bold, face.id))


def _family(name: str, faces: Iterable[Face]) -> list[Face]:
    key = _key(ALIASES.get(_key(name), name))
    if key in KINDS:
        shipped_first = sorted(faces, key=lambda face: face.path.parent != SHIPPED)
        first = next((face.family for face in shipped_first if face.kind == key), None)
        return [face for face in faces if face.family == first]
    keys = {_key(face.family): face.family for face in faces}
    close = difflib.get_close_matches(key, keys, n=1, cutoff=CLOSE)
    return [face for face in faces if close and face.family == keys[close[0]]]


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _without_variant(name: str) -> tuple[str, bool, bool]:
    match = _VARIANT.search(name)
    if match is None or match.start() == 0:
        return name, False, False
    return name[: match.start()], bool(match[1]), bool(match[2])


def can_draw(face: Face, text: str) -> bool:
    """Tell whether a face has a glyph for every character of a text (up to U+024F).

    Example:
        >>> can_draw(named("DejaVu Sans"), "Café"), can_draw(named("DejaVu Sans"), "Каша")
        (True, False)
    """
    return all(ord(character) in _fonts(face.path)[face.index].characters for character in text)
