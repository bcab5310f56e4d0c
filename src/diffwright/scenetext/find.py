"""Finds the words of a picture, so that they can be named as regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diffwright.core.checks import in_range
from diffwright.core.errors import MissingExtra
from diffwright.core.images import load_image

LEAST = 0.5


@dataclass(frozen=True, eq=False)
class Word:
    """A word or a line of words in a picture.

    Attributes:
        text: what the detector's reader reads.
        confidence: 0 to 1.
        polygon: (4, 2), x and y in pixels, clockwise from its top left; a region for ``SceneTextEditor.write``.
    """

    text: str
    confidence: float
    polygon: np.ndarray

    def record(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return {
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "polygon": self.polygon.round(1).tolist(),
        }


def find_words(
    image: Any, *, least: float = LEAST, lines: bool = False, engine: Any = None
) -> tuple[Word, ...]:
    """Find words by RapidOCR, offline: its models are in its package.

    Args:
        image: path, PIL image, uint8 array (H, W, 3) or tensor in [-1, 1].
        least: confidence below which a word is left out, 0 to 1.
        lines: give whole lines in place of words.
        engine: a ``RapidOCR`` of your own, called with a picture in the order blue, green, red.

    Returns:
        Words from top to bottom, those of a line from left to right.

    Raises:
        InputError: the picture cannot be read.
        MissingExtra: RapidOCR is not installed.
    """
    in_range("least", least, 0, 1)
    picture = load_image(image)
    found = (engine or _engine())(np.ascontiguousarray(picture[..., ::-1]), return_word_box=not lines)
    if found.boxes is None:
        return ()
    whole_lines = zip(found.txts, found.scores, found.boxes, strict=True)
    read = whole_lines if lines else (word for line in found.word_results for word in line)
    height, width = picture.shape[:2]
    words = [
        Word(text, float(sure), np.asarray(box, np.float64).clip(0, (width - 1, height - 1)))
        for text, sure, box in read
        if sure >= least and text.strip() and box is not None
    ]
    return tuple(_in_reading_order(words))


def _in_reading_order(words: list[Word]) -> list[Word]:
    """Lines from top to bottom; a word belongs to a line whose middle it covers."""
    lines: list[list[Word]] = []
    for word in sorted(words, key=lambda w: w.polygon[:, 1].mean()):
        middle = lines[-1][0].polygon[:, 1].mean() if lines else -1.0
        if word.polygon[:, 1].min() <= middle <= word.polygon[:, 1].max():
            lines[-1].append(word)
        else:
            lines.append([word])
    return [word for line in lines for word in sorted(line, key=lambda w: w.polygon[:, 0].mean())]


def _engine() -> Any:
    try:
        from rapidocr import RapidOCR  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtra(
            "finding words needs RapidOCR: pip install 'diffwright[text]', or give the region yourself"
        ) from error
    return RapidOCR(params={"Global.log_level": "error", "Global.use_cls": False})
