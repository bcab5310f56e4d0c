"""Labelled photographs of public sets, read in their own annotation formats; none of them comes with the package.

A set is a folder as it is unpacked: annotation files and pictures may lie at any depth. Only words that the tool can
write are given: legible, Latin, letters and digits, 2 to 16 of them.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffwright.bench import scenetext_methods as methods
from diffwright.bench.harness import Figure
from diffwright.bench.scenetext_gate import through
from diffwright.bench.scenetext_words import Bench, not_run, share
from diffwright.core.checks import one_of
from diffwright.core.errors import InputError
from diffwright.core.images import load_image
from diffwright.metrics.ocr import same
from diffwright.scenetext.region import Region, choose, put_back, strip_of
from diffwright.world.lettering.words import words

SUFFIXES = (".jpg", ".jpeg", ".png")
LETTERS = frozenset(string.ascii_letters + string.digits)
SHORTEST, LONGEST = 2, 16
LEAST_HEIGHT = 12.0  # of a region, pixels: smaller words are seldom read even in the photograph
MOST_OF_A_PICTURE = 2


@dataclass(frozen=True, eq=False)
class Labelled:
    """A word of a photograph.

    Args:
        picture: The file.
        polygon: Its outline as labelled, (N, 2) in pixels.
        text: What it says.
    """

    picture: Path
    polygon: np.ndarray
    text: str


def labelled(name: str, folder: Path) -> Iterator[Labelled]:
    """Read the words of a public set, in the order of its files.

    Args:
        name: ``icdar13``, ``art``, ``coco-text`` or ``textocr``.
        folder: Where it was unpacked.

    Raises:
        ConfigError: The name is unknown.
        InputError: It is no folder, holds no annotations of that format, or one of them is damaged.
    """
    one_of("public set", name, READERS)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name the one in which {name} was unpacked")
    pictures = _pictures(folder)
    for stem, points, text, path in READERS[name](folder):
        polygon = _polygon(points, path)
        if SHORTEST <= len(text) <= LONGEST and set(text) <= LETTERS and stem in pictures:
            yield Labelled(pictures[stem], polygon, text)


Entry = tuple[str, Any, str, Path]
"""Stem of the picture's name, points, text, and the file that says so."""


def _icdar13(folder: Path) -> Iterator[Entry]:
    """Read ``gt_NAME.txt``, a line a word: left, top, right, bottom and the text in quotes, by spaces or commas."""
    line_form = re.compile(r'\s*(\d{1,9})[\s,]+(\d{1,9})[\s,]+(\d{1,9})[\s,]+(\d{1,9})[\s,]+"?(.*?)"?\s*')
    files = sorted(folder.rglob("gt_*.txt"))
    if not files:
        raise InputError(f"{folder} holds no gt_NAME.txt; name the folder in which icdar13 was unpacked")
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); unpack the set again") from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            found = line_form.fullmatch(line)
            if found is None:
                raise InputError(f'line {number} of {path} is not: left top right bottom "text"')
            x0, y0, x1, y1 = (int(found[k]) for k in range(1, 5))
            yield path.stem.removeprefix("gt_"), [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], found[5], path


def _art(folder: Path) -> Iterator[Entry]:
    """Read ArT: picture to a list of points, transcription, language, illegibility."""
    for path, content in _documents(folder):
        if "anns" in content or not all(isinstance(value, list) for value in content.values()):
            continue
        for stem, entries in content.items():
            for entry in entries:
                text, points = _need(entry, "transcription", path, str), _need(entry, "points", path, list)
                latin = _may(entry, "language", path, "Latin") == "Latin"
                if not _may(entry, "illegibility", path, False) and latin:
                    yield stem, points, text, path


def _coco_text(folder: Path) -> Iterator[Entry]:
    """Read COCO-Text: ``imgs`` and ``anns`` by number; ``mask`` is the outline, ``utf8_string`` the text."""
    for entry, stem, path in _annotations(folder):
        legible = _may(entry, "legibility", path, "") == "legible"
        if _may(entry, "language", path, "") == "english" and legible and "utf8_string" in entry:
            points = _may(entry, "mask", path, []) or _need(entry, "polygon", path, list)
            points = points[0] if points and isinstance(points[0], list) else points
            yield stem, points, _need(entry, "utf8_string", path, str), path


def _textocr(folder: Path) -> Iterator[Entry]:
    """Read TextOCR: as COCO-Text, with ``points``; illegible words say "."."""
    for entry, stem, path in _annotations(folder):
        yield stem, _need(entry, "points", path, list), _need(entry, "utf8_string", path, str), path


READERS = {"icdar13": _icdar13, "art": _art, "coco-text": _coco_text, "textocr": _textocr}


def _annotations(folder: Path) -> Iterator[tuple[dict[str, Any], str, Path]]:
    for path, content in _documents(folder):
        if "anns" not in content or "imgs" not in content:
            continue
        images = _need(content, "imgs", path, dict)
        for entry in _need(content, "anns", path, dict).values():
            number = str(_need(entry, "image_id", path))
            if number not in images:
                raise InputError(
                    f"{path} labels picture {number!r:.60}, which it does not list; unpack the set again"
                )
            yield entry, Path(_need(images[number], "file_name", path, str)).stem, path


def _documents(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    files = sorted(folder.rglob("*.json"))
    if not files:
        raise InputError(
            f"{folder} holds no annotations (.json); name the folder in which the set was unpacked"
        )
    for path in files:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is no JSON file ({error}); unpack the set again") from error
        if isinstance(content, dict):
            yield path, content


KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false"}


def _need(entry: Any, key: str, path: Path, kind: type = object) -> Any:
    """The value of a label under a key that it must have, of that kind."""
    if key not in _typed(entry, dict, "an entry", path):
        raise InputError(f"{path} has an entry without {key!r}; expected the set's own annotations")
    return _typed(entry[key], kind, repr(key), path)


def _may(entry: dict[str, Any], key: str, path: Path, default: Any) -> Any:
    """The same under a key that may be missing, of the kind of its default."""
    return _typed(entry.get(key, default), type(default), repr(key), path)


def _typed(value: Any, kind: type, name: str, path: Path) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"{name} in {path} is {value!r:.60}, expected {KINDS[kind]}; unpack the set again")
    return value


def _polygon(points: Any, path: Path) -> np.ndarray:
    try:
        polygon = np.array(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"a label in {path} has points that are no pairs of numbers ({error})") from error
    if not np.isfinite(polygon).all():
        raise InputError(f"a label in {path} has points that are not finite; unpack the set again")
    return polygon


def _pictures(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES}


def data_figures(bench: Bench, name: str | None, folder: Path | None) -> dict[str, Figure]:
    """Write the words of a public set anew, and others in their place.

    Args:
        bench: The run.
        name: The set, or None.
        folder: Where it is, or None.

    Returns:
        For set NAME ``NAME_words``, ``NAME_original_accuracy``, ``NAME_ceiling_accuracy``,
        ``NAME_reconstruct_accuracy`` and ``NAME_change_accuracy``; without data ``public_data_words``, 0.

    Raises:
        InputError: The set holds no usable word, or is damaged.
    """
    if name is None or folder is None:
        return {
            "public_data_words": not_run(f"no data; give --data NAME DIR, NAME one of {', '.join(READERS)}")
        }
    used = list(_usable(labelled(name, folder), bench.count))
    if not used:
        raise InputError(f"{folder} holds no word of {name} that can be used; name the unpacked set")
    key = name.replace("-", "_")
    right = {kind: [] for kind in ("original", "ceiling", "reconstruct", "change")}
    rng = np.random.Generator(np.random.PCG64(0))
    for word, picture, region in used:
        back = put_back(picture, through(bench.editor.vae, [strip_of(picture, region)])[0], region)
        other = _other(rng, word.text)
        made = {"original": (picture, word.text), "ceiling": (back, word.text)}
        for kind, text in (("reconstruct", word.text), ("change", other)):
            out = bench.editor.write(picture, word.polygon, text, candidates=1, seed=0)
            made[kind] = (np.asarray(out.images[0]), text)
        for kind, (shown, text) in made.items():
            right[kind].append(same(bench.judge.read([methods.crop(shown, region)])[0], text))
    found = {f"{key}_words": Figure(len(used), "", "higher", f"of {folder.name}")}
    return found | {f"{key}_{kind}_accuracy": share(some) for kind, some in right.items()}


def _usable(every: Iterator[Labelled], count: int) -> Iterator[tuple[Labelled, np.ndarray, Region]]:
    """Yield the first words whose regions can be written in, at most two of a picture."""
    found, of_picture = 0, dict[Path, int]()
    for word in every:
        if found == count:
            return
        if of_picture.get(word.picture, 0) == MOST_OF_A_PICTURE:
            continue
        picture = load_image(word.picture)
        try:
            region = choose(word.polygon, (picture.shape[0], picture.shape[1]))
        except InputError:
            continue  # of thousands of labels some are mirrored or leave the picture
        if region.size[0] >= LEAST_HEIGHT:
            found += 1
            of_picture[word.picture] = of_picture.get(word.picture, 0) + 1
            yield word, picture, region


def _other(rng: np.random.Generator, text: str) -> str:
    """Draw another word of the same length, in capitals where the old one is."""
    known: Sequence[str] = words("test", (len(text), len(text))) or words("test", (2, LONGEST))
    other = known[int(rng.integers(len(known)))]
    return other.upper() if text.isupper() else other
