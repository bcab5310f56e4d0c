"""What writing gives: the picture with each candidate, and how sure the reader is of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffwright.core.images import save_png
from diffwright.core.results import Result
from diffwright.scenetext.pictures import difference, selection, sheet
from diffwright.scenetext.region import Region, strip_of

BEST = "written"


@dataclass(frozen=True, kw_only=True, eq=False)
class WriteOutput(Result):
    """A picture with a word written, changed or erased, once for each candidate.

    Attributes:
        images: the whole picture with each candidate, the best first.
        candidates: the strips that the model wrote, in the same order, uint8 (K, 32, 128, 3).
        confidences: how probable the reader finds the asked text in each, 0 to 1, in the same order.
        readings: what the reader reads in each without being told.
        text: what was asked for; empty means erased.
        instruction: the sentence that the model was given.
        region: where.
        source: the original, uint8 (H, W, 3).
    """

    candidates: np.ndarray
    confidences: tuple[float, ...]
    readings: tuple[str, ...]
    text: str
    instruction: str
    region: Region
    source: np.ndarray

    @property
    def confidence(self) -> float:
        """That of the best candidate."""
        return self.confidences[0]

    def record(self) -> dict[str, Any]:
        """Give what ``result.json`` holds."""
        return super().record() | {
            "text": self.text,
            "instruction": self.instruction,
            "corners": self.region.corners.round(3).tolist(),
            "confidences": [round(value, 6) for value in self.confidences],
            "readings": list(self.readings),
        }

    def write(self, folder: Path) -> None:
        """Write the pictures, the strips, where and what was changed, the mask, and ``result.json``."""
        shown = [("as it was", strip_of(self.source, self.region))]
        shown += [
            (f"{sure:.0%} sure, reads {reads!r}".replace("%", " %"), strip)
            for sure, reads, strip in zip(self.confidences, self.readings, self.candidates, strict=True)
        ]
        save_png(sheet([strip for _, strip in shown], [said for said, _ in shown]), folder / "strips.png")
        save_png(np.repeat(self.region.mask[..., None], 3, axis=2) * np.uint8(255), folder / "mask.png")
        save_png(selection(self.source, [self.region]), folder / "selection.png")
        save_png(difference(self.source, np.asarray(self.images[0])), folder / "difference.png")
        save_png(self.source, folder / "source.png")
        super().write(folder)


@dataclass(frozen=True, kw_only=True, eq=False)
class EditsOutput(Result):
    """A picture after several edits, done one after another.

    Attributes:
        images: the picture after the last edit.
        steps: what each edit gave; the best candidate of each is the source of the next.
        source: the original, uint8 (H, W, 3).
    """

    steps: tuple[WriteOutput, ...]
    source: np.ndarray

    def record(self) -> dict[str, Any]:
        """Give what ``result.json`` holds."""
        kept = ("text", "instruction", "corners", "confidences", "readings", "seeds", "figures", "warnings")
        steps = [step.record() for step in self.steps]
        return super().record() | {"edits": [{key: step[key] for key in kept} for step in steps]}

    def write(self, folder: Path) -> None:
        """Write the picture, where and what was changed, and ``result.json``."""
        save_png(selection(self.source, [step.region for step in self.steps]), folder / "selection.png")
        save_png(difference(self.source, np.asarray(self.images[0])), folder / "difference.png")
        save_png(self.source, folder / "source.png")
        super().write(folder)


def write_picture(result: Result, path: Path) -> Path:
    """Write the best picture as a PNG file, and everything else into a folder beside it.

    Returns:
        The folder, named like the file without its suffix.
    """
    return result.save_beside(path, BEST)
