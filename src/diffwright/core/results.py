"""One layout for what every call returns and writes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffwright.core.atomic import directory, write_bytes, write_json

if TYPE_CHECKING:
    from PIL.Image import Image

RECORD = "result.json"


@dataclass(frozen=True, kw_only=True)
class Result:
    """Pictures and figures of one run; each system adds its own fields in a subclass.

    Args:
        images: PIL images, or uint8 (H, W, 3) arrays where the caller asked for them.
        names: file names of the images without suffix; ``image_000`` and so on without them.
        figures: named numbers, plain JSON values.
        warnings: sentences the user should read, such as "the edit changed nothing".
        timings: seconds by step.
        command: the command line or call that made it.
        seeds: one for each image, or one for all.
        model: fingerprint of the weights used.
    """

    images: Sequence[Image] = ()
    names: Sequence[str] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    command: str = ""
    seeds: Sequence[int] = ()
    model: str = ""

    def record(self) -> dict[str, Any]:
        """Give what ``result.json`` holds; a subclass adds keys to this."""
        return {
            "command": self.command,
            "seeds": list(self.seeds),
            "model": self.model,
            "figures": dict(self.figures),
            "warnings": list(self.warnings),
            "timings_s": {name: round(seconds, 4) for name, seconds in self.timings.items()},
            "images": [f"{name}.png" for name in self._image_names()],
        }

    def write(self, folder: Path) -> None:
        """Write the files into a fresh folder; a subclass adds its own files to this."""
        import numpy as np

        from diffwright.core.images import save_png

        for name, image in zip(self._image_names(), self.images, strict=True):
            save_png(np.asarray(image), folder / f"{name}.png")
        write_json(folder / RECORD, self.record())

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write pictures and ``result.json``, all or nothing.

        Args:
            folder: a new or empty folder, or one that an earlier result wrote, which is then replaced.

        Returns:
            The folder.

        Raises:
            InputError: the folder holds files of the user.
            JobFailed: the disk refused.
        """
        with directory(folder) as temporary:
            self.write(temporary)
        return Path(folder)

    def save_beside(self, path: str | PathLike[str], name: str) -> Path:
        """Write one picture as a PNG file and everything into a folder beside it, all or nothing.

        Args:
            path: the file; the folder is named like it without its suffix, and is as for ``save``.
            name: of the picture.

        Returns:
            The folder.

        Raises:
            InputError: the folder holds files of the user.
            JobFailed: the disk refused, or the file is a folder; what was there before is untouched.
        """
        folder = Path(path).with_suffix("")
        with directory(folder) as temporary:
            self.write(temporary)
            write_bytes(path, (temporary / f"{name}.png").read_bytes())
        return folder

    def _image_names(self) -> list[str]:
        return list(self.names) or [f"image_{number:03d}" for number in range(len(self.images))]


class Stopwatch:
    """Collects the seconds of named steps.

    Example:
        >>> watch = Stopwatch()
        >>> with watch("solve"):
        ...     pass
        >>> list(watch.timings)
        ['solve']
    """

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Add the time spent inside the block to ``timings[step]``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings[step] = self.timings.get(step, 0.0) + time.perf_counter() - start
