"""What an edit returns and writes, complete enough to be replayed bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageDraw

from diffwright.core.errors import InputError
from diffwright.core.images import load_image, save_png, to_pil
from diffwright.core.masks import load_mask
from diffwright.core.results import RECORD, Result
from diffwright.core.strict_json import read_object
from diffwright.editing.frame import resized
from diffwright.editing.masks import grown
from diffwright.editing.operations import Drag, Move, Operation, Paste, Remove, Replace, Resize
from diffwright.editing.presets import Preset

SOURCE, SHOWN = "source.png", "selection.png"
KINDS: dict[str, type] = {
    "move": Move,
    "resize": Resize,
    "drag": Drag,
    "replace": Replace,
    "paste": Paste,
    "remove": Remove,
}


@dataclass(frozen=True, kw_only=True)
class EditResult(Result):
    """An edited picture, one for each seed, and what was asked for.

    Attributes:
        operations: what was done; a drag has the mask that was used.
        preset: all settings.
        prompt: the words used.
        source: the original, uint8 (H, W, 3).
        keep_outside: whether pixels outside the edit were kept.
        image_prompt: fingerprint of the image prompt that spoke; empty where none did.
    """

    operations: tuple[Operation, ...]
    preset: Preset
    prompt: str
    source: np.ndarray
    keep_outside: bool
    image_prompt: str = ""

    @property
    def pixels_sha256(self) -> list[str]:
        """Hashes of the pictures' pixels."""
        return [hashlib.sha256(np.asarray(image).tobytes()).hexdigest() for image in self.images]

    def record(self) -> dict[str, Any]:
        """Give what ``result.json`` holds."""
        plain, _ = described(self.operations)
        return {
            **super().record(),
            "operations": plain,
            "preset": asdict(self.preset),
            "prompt": self.prompt,
            "keep_outside": self.keep_outside,
            "source": SOURCE,
            "source_sha256": hashlib.sha256(self.source.tobytes()).hexdigest(),
            "pixels_sha256": self.pixels_sha256,
            "image_prompt": self.image_prompt,
        }

    def write(self, folder: Path) -> None:
        """Write pictures, masks, references and the record into a fresh folder."""
        super().write(folder)
        for name, array in described(self.operations)[1].items():
            save_png(array if array.ndim == 3 else _white(array), folder / name)
        save_png(self.source, folder / SOURCE)
        save_png(selection(self.source, self.operations), folder / SHOWN)


@dataclass(frozen=True, eq=False)
class Saved:
    """A saved edit, read back: see ``EditResult``."""

    operations: tuple[Operation, ...]
    preset: Preset
    prompt: str
    source: np.ndarray
    keep_outside: bool
    seeds: tuple[int, ...]
    model: str
    image_prompt: str
    pixels_sha256: list[str]


def described(operations: Sequence[Operation]) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Split operations into plain values and arrays that are named files.

    Returns:
        A record an operation, and the arrays by file name.
    """
    plain, files = [], {}
    for number, operation in enumerate(operations):
        record: dict[str, Any] = {"kind": type(operation).__name__.lower()}
        for field in fields(operation):
            value = getattr(operation, field.name)
            if isinstance(value, np.ndarray):
                name = f"{field.name.replace('_', '-')}-{number}.png"
                files[name] = value
                value = name
            record[field.name] = value
        plain.append(record)
    return plain, files


def read_edit(folder: str | PathLike[str]) -> Saved:
    """Read what ``EditResult.save`` wrote.

    Raises:
        InputError: the folder holds no saved edit, or its files were changed.
    """
    folder = Path(folder)
    if not (folder / RECORD).is_file():
        raise InputError(f"{folder} has no {RECORD}; name the folder of a saved edit")
    record = read_object(folder / RECORD)
    try:
        source = load_image(folder / Path(record["source"]).name)
        if hashlib.sha256(source.tobytes()).hexdigest() != record["source_sha256"]:
            raise InputError(f"{folder / record['source']} was changed since the edit was saved; restore it")
        operations = tuple(_operation(entry, folder, source) for entry in record["operations"])
        settings: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in record["preset"].items()
        }
        return Saved(
            operations,
            Preset(**settings),
            record["prompt"],
            source,
            record["keep_outside"],
            tuple(record["seeds"]),
            record["model"],
            str(record.get("image_prompt", "")),
            list(record["pixels_sha256"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / RECORD} describes no edit ({error}); save the edit again") from error


def _operation(entry: Mapping[str, Any], folder: Path, source: np.ndarray) -> Operation:
    values: dict[str, Any] = {}
    if "reference" in entry:
        values["reference"] = load_image(folder / Path(entry["reference"]).name)
    for name, value in entry.items():
        if name in ("kind", "reference"):
            continue
        if name.endswith("mask") and value is not None:
            guide = values["reference"] if name == "reference_mask" else source
            values[name] = load_mask(folder / Path(value).name, (guide.shape[0], guide.shape[1]))
        elif name in ("points", "to") and value is not None:
            values[name] = tuple(tuple(point) for point in value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return KINDS[entry["kind"]](**values)


def selection(picture: np.ndarray, operations: Sequence[Operation]) -> np.ndarray:
    """Show what was selected: the rest darker, the edge white, drags as lines from ring to dot; references beside it.

    Returns:
        uint8 (H, W', 3)
    """
    mask = np.zeros(picture.shape[:2], dtype=bool)
    for operation in operations:
        place = operation.place(picture.shape[:2])
        mask |= place.zone
    out = np.where(mask[..., None], picture, picture // 2)
    out[grown(mask, 1) & ~mask] = 255
    image = to_pil(out)
    pen, radius = ImageDraw.Draw(image), max(1, min(picture.shape[:2]) // 60)
    references = [o for o in operations if isinstance(o, Replace | Paste)]
    for operation in operations:
        if isinstance(operation, Drag):
            for start, end in zip(operation.points, operation.to, strict=True):
                pen.line([*start, *end], fill=(255, 255, 255))
                pen.circle(start, radius, outline=(255, 60, 60))
                pen.circle(end, radius, fill=(60, 120, 255))
    shown = [np.asarray(image)]
    for operation in references:
        theirs = np.where(operation.reference_mask[..., None], operation.reference, operation.reference // 2)
        theirs[grown(operation.reference_mask, 1) & ~operation.reference_mask] = 255
        width = max(1, round(theirs.shape[1] * image.height / theirs.shape[0]))
        shown.append(resized(theirs, (image.height, width)))
    return np.concatenate(shown, axis=1)


def write_picture(result: EditResult, path: Path) -> Path:
    """Write the first picture as a PNG file, and everything else into a folder beside it.

    Returns:
        The folder, named like the file without its suffix.
    """
    return result.save_beside(path, result._image_names()[0])


def _white(mask: np.ndarray) -> np.ndarray:
    return np.repeat(mask.astype(np.uint8)[..., None] * 255, 3, axis=2)
