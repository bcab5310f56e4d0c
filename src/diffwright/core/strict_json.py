"""JSON from strangers: bounded in size and depth, without duplicate keys or NaN."""

import json
from pathlib import Path
from typing import Any

from diffwright.core.errors import DiffwrightError, WeightsCorrupt

MAX_BYTES = 2**20


def parse_object(data: bytes, name: str, error: type[DiffwrightError] = WeightsCorrupt) -> dict[str, Any]:
    """Parse bytes that must be one JSON object.

    Args:
        data: UTF-8 text; the caller bounds its length.
        name: what to call the source in a message.
        error: class of the error to raise.

    Returns:
        The object; infinities are let through, for a saved scheduler may hold them.

    Raises:
        DiffwrightError: of class ``error``: not JSON, not an object, nested too deeply, a key twice, or NaN.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_constant)
    except (ValueError, RecursionError) as problem:
        raise error(
            f"{name} is not sound JSON ({_short(problem)}); fetch or save the file again"
        ) from problem
    if not isinstance(value, dict):
        raise error(f"{name} holds a JSON {type(value).__name__}, expected an object; fetch the file again")
    return value


def read_object(
    path: Path, limit: int = MAX_BYTES, error: type[DiffwrightError] = WeightsCorrupt
) -> dict[str, Any]:
    """Read a file that must hold one JSON object of at most ``limit`` bytes.

    Raises:
        DiffwrightError: of class ``error``: see ``parse_object``, or the file is larger or unreadable.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as problem:
        raise error(f"{path} cannot be read ({problem.strerror}); check the folder") from problem
    if len(data) > limit:
        raise error(f"{path} is larger than the {limit} bytes expected of such a file; fetch it again")
    return parse_object(data, str(path), error)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _constant(name: str) -> float:
    if name == "NaN":
        raise ValueError("it holds NaN")
    return float(name.lower())


def _short(problem: BaseException) -> str:
    return str(problem)[:120]
