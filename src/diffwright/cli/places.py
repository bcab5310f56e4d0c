"""Where the output of a verb may go; a bad place is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from diffwright.core.errors import ConfigError

OTHER_PICTURES = (".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def is_picture(out: Path) -> bool:
    """Whether ``--out`` names a picture, with a folder beside it, and not a folder."""
    return out.suffix.lower() == ".png"


def check_places(out: Path, record: Path | None, *inputs: Path | None) -> None:
    """Check where a verb writes that takes a folder or OUT.png.

    Args:
        out: that of ``--out``.
        record: that of ``--json``.
        inputs: what the verb reads.

    Raises:
        ConfigError: ``out`` is a picture of another format, or cannot be made.
        InputError: it would write over an input, or into a folder of the user.
    """
    from diffwright.core.atomic import refuse_foreign

    if out.suffix.lower() in OTHER_PICTURES:
        raise ConfigError(
            f"--out is {out}; pictures are written as PNG, so name {out.with_suffix('.png')} or a folder"
        )
    if is_picture(out) and out.is_dir():
        raise ConfigError(f"--out is {out}, which is a folder; name a file in it, or another file")
    for parent in out.absolute().parents:
        if parent.exists() and not parent.is_dir():
            raise ConfigError(f"--out is {out}, but {parent} is a file; name a place in a folder")
    folder = out.with_suffix("") if is_picture(out) else out
    apart((out, folder, record), *inputs)
    refuse_foreign(folder)


def apart(places: Iterable[Path | None], *inputs: str | Path | None) -> None:
    """Check that a verb writes over nothing that it reads.

    Args:
        places: where it writes; "-" is standard output.
        inputs: what it reads.

    Raises:
        InputError: A place is an input, inside one, or a folder around one.
    """
    from diffwright.core.atomic import refuse_inputs

    for place in places:
        if place is not None and str(place) != "-":
            refuse_inputs(place, *inputs)
