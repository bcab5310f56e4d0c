"""Files and folders that are complete or absent: written under a temporary name, synced, then renamed."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

from diffwright.core.errors import DiffwrightError, InputError, JobFailed

LISTING = ".diffwright"
"""File in a written folder that names its entries; only a folder that holds nothing else is replaced."""


def write_bytes(path: str | PathLike[str], data: bytes) -> Path:
    """Write a file so that readers see the old content or all of the new one, never a part.

    Args:
        path: target; missing parent folders are made.
        data: the whole content.

    Returns:
        The path.

    Raises:
        JobFailed: the disk refused, for example because it is full; the old file is untouched.
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def write_text(path: str | PathLike[str], text: str) -> Path:
    """Write UTF-8 text like ``write_bytes``."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: str | PathLike[str], value: Any) -> Path:
    """Write a value as indented JSON like ``write_bytes``.

    Raises:
        JobFailed: the disk refused, or the value holds NaN or something that JSON cannot express.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise JobFailed(f"{path} was not written: its content is not plain JSON ({error})") from error
    return write_text(path, text + "\n")


@contextmanager
def directory(path: str | PathLike[str]) -> Iterator[Path]:
    """Fill a folder that appears under its name only when the block ends without an error.

    A folder written before by this function is replaced; any other folder that is not empty is refused.

    Args:
        path: the folder to make; missing parent folders are made.

    Yields:
        A temporary folder beside ``path`` to write into.

    Raises:
        InputError: ``path`` is a file, or a folder with entries that this function did not write.
        JobFailed: the disk refused; what was there before is untouched.
    """
    path = Path(path)
    refuse_foreign(path)
    temporary = _beside(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _finish(temporary, path)
    except OSError as error:
        if isinstance(error, DiffwrightError):
            raise
        raise _failed(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_foreign(path: str | PathLike[str]) -> None:
    """Check early, before a long computation, that ``directory(path)`` may write there.

    Raises:
        InputError: ``path`` is a file, or a folder with entries that ``directory`` did not write.
    """
    path = Path(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"{path} is not a folder; name a new or empty folder for the output")
    if not path.is_dir():
        return
    foreign = sorted({entry.name for entry in path.iterdir()} - _listed(path))
    if foreign:
        raise InputError(
            f"{path} already holds {foreign[0]!r}, which was not written here; name a new or empty folder"
        )


def refuse_inputs(path: str | PathLike[str], *inputs: str | PathLike[str] | None) -> None:
    """Check that an output lies neither in nor around what a command reads.

    Raises:
        InputError: ``path`` is one of the inputs, inside one, or a folder around one.
    """
    out = Path(path).resolve()
    for given in inputs:
        if given is None or not Path(given).exists():
            continue
        read = Path(given).resolve()
        if out == read or read in out.parents or out in read.parents:
            raise InputError(f"the output {path} would write over the input {given}; name another place")


def _listed(folder: Path) -> set[str]:
    try:
        return {LISTING, *(folder / LISTING).read_text("utf-8").splitlines()}
    except (OSError, UnicodeDecodeError):
        return set()


def _finish(temporary: Path, path: Path) -> None:
    entries = sorted(entry.name for entry in temporary.iterdir())
    (temporary / LISTING).write_text("\n".join(entries) + "\n", "utf-8")
    for entry in sorted(temporary.rglob("*")):
        _sync(entry)
    _sync(temporary)
    refuse_foreign(path)
    if not path.exists():
        temporary.rename(path)
    else:
        _swap(temporary, path)
    _sync(path.parent)


def _swap(new: Path, path: Path) -> None:
    old = _beside(path)
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failed(path: Path, error: OSError) -> JobFailed:
    reason = error.strerror or str(error)
    return JobFailed(f"{path} could not be written: {reason}; free space or name another place")
