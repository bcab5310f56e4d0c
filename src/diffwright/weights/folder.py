"""A model directory, read through guards: no file outside it, no device or pipe, no surprising size."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from diffwright.core.errors import UnsafeWeights, WeightsCorrupt, WeightsMissing
from diffwright.core.strict_json import MAX_BYTES, read_object


class Folder:
    """The only way the loaders open files of a model.

    A link may point inside the directory. In a hub cache (``models--OWNER--NAME/snapshots/REVISION``) it may
    also point into the ``blobs`` folder of the same model, as the hub's client makes them.

    Args:
        root: the model's directory.

    Raises:
        WeightsMissing: it is not a directory.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise WeightsMissing(f"{root} is not a directory; name a directory that holds a saved model")
        self.root = root.resolve()
        self._homes = [self.root]
        model = self.root.parent.parent
        if self.root.parent.name == "snapshots" and model.name.startswith("models--"):
            self._homes.append(model / "blobs")

    def has(self, name: str) -> bool:
        """Tell whether the directory lists this path, whatever it is."""
        path = self.root / name
        return path.is_symlink() or path.exists()

    def file(self, name: str) -> Path:
        """Give the path of a file after checking that it is a plain file of this directory.

        Args:
            name: path relative to the directory, chosen by us or checked by the caller.

        Raises:
            WeightsMissing: there is no such file.
            UnsafeWeights: it is a link out of the directory, or no plain file.
        """
        path = self.root / name
        try:
            target = path.resolve(strict=True)
            mode = target.stat().st_mode
        except (OSError, RuntimeError, ValueError) as error:
            raise WeightsMissing(f"{path} is missing; fetch the model again or name another") from error
        if not any(target.is_relative_to(home) for home in self._homes):
            raise UnsafeWeights(f"{path} is a link out of the model's directory; copy the real file there")
        if not stat.S_ISREG(mode):
            raise UnsafeWeights(f"{path} is not a plain file; fetch the model again")
        return target

    def json(self, name: str, limit: int = MAX_BYTES) -> dict[str, Any]:
        """Read a JSON object from a file of this directory.

        Raises:
            WeightsError: see ``file`` and ``read_object``.
        """
        return read_object(self.file(name), limit)

    def text(self, name: str, limit: int) -> str:
        """Read UTF-8 text of at most ``limit`` bytes from a file of this directory.

        Raises:
            WeightsCorrupt: it is longer or not UTF-8.
        """
        path = self.file(name)
        with path.open("rb") as file:
            data = file.read(limit + 1)
        try:
            if len(data) > limit:
                raise ValueError(f"over {limit} bytes")
            return data.decode("utf-8")
        except ValueError as error:
            raise WeightsCorrupt(f"{path} is no text file of this kind ({error}); fetch it again") from error

    def names(self, part: str) -> list[str]:
        """List the entries of a sub-directory, sorted; empty when it is not there."""
        path = self.root / part
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
