"""A trace that was interrupted goes on where it was: finished pieces are kept in one small JSON file."""

from __future__ import annotations

import hashlib
import json
from os import PathLike
from pathlib import Path
from typing import Any

from diffwright.core.atomic import write_json
from diffwright.core.errors import InputError
from diffwright.core.strict_json import read_object
from diffwright.tracing.scores import Scored

FORMAT = "diffwright-trace-pieces-1"
MAX_BYTES = 256 * 2**20


class Pieces:
    """Finished pieces of one trace, kept in a file that is complete after each of them.

    Args:
        path: the file; None keeps nothing.
        job: everything that decides the scores, as plain JSON values.

    Raises:
        InputError: the file belongs to another trace, or is no such file.
    """

    def __init__(self, path: str | PathLike[str] | None, job: dict[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self.key = hashlib.sha256(json.dumps(job, sort_keys=True, default=str).encode()).hexdigest()
        self.done: dict[str, Scored] = {}
        if self.path is not None and self.path.exists():
            self.done = self._read(self.path)

    def _read(self, path: Path) -> dict[str, Scored]:
        content = read_object(path, MAX_BYTES, InputError)
        if content.get("format") != FORMAT:
            raise InputError(f"{path} is no file of an interrupted trace; name another or remove it")
        if content.get("job") != self.key:
            raise InputError(
                f"{path} belongs to a trace with other words, settings or weights; remove it to start anew"
            )
        pieces = content.get("pieces")
        if not (isinstance(pieces, dict) and all(map(_sound, pieces.values()))):
            raise InputError(f"{path} is damaged; remove it to start anew")
        return pieces

    def get(self, name: str) -> Scored | None:
        """Give the scores of a finished piece, or None."""
        return self.done.get(name)

    def put(self, name: str, scores: Scored) -> None:
        """Keep the scores of a finished piece."""
        self.done[name] = scores
        if self.path is not None:
            write_json(self.path, {"format": FORMAT, "job": self.key, "pieces": self.done})

    @staticmethod
    def discard(path: str | PathLike[str]) -> None:
        """Remove the file of a trace that is complete and saved."""
        Path(path).unlink(missing_ok=True)


def _sound(piece: Any) -> bool:
    """Whether a piece is lists of numbers of one length, by metric."""
    if not isinstance(piece, dict) or not piece or not all(isinstance(v, list) and v for v in piece.values()):
        return False
    numbers = all(isinstance(n, int | float) for values in piece.values() for n in values)
    return numbers and len({len(values) for values in piece.values()}) == 1
