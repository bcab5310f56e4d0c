"""Judges of what a picture says that share nothing with our own reader: RapidOCR, and Tesseract beside it.

Both read one rectified word at a time; nothing is trained against either. A judge must not mend what is misspelt, or
wrong words would count as right: :func:`misspelled` makes the words for that test.
"""

from __future__ import annotations

import shutil
import string
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from PIL import Image

from diffwright.core.errors import InputError, JobFailed, MissingExtra
from diffwright.metrics.statistics import Interval

ENLARGED = 2
"""Times that RapidOCR sees a strip enlarged, bicubic; Tesseract needs larger letters still."""
ENLARGED_TESSERACT = 3
SECONDS = 30
THREADS = 1


class Judge(Protocol):
    """Reads words."""

    name: str

    def read(self, images: Sequence[np.ndarray]) -> list[str]:
        """Read pictures of one word each.

        Args:
            images: uint8 (H, W, 3), of any sizes.

        Returns:
            What each says, empty where nothing is found.
        """
        ...


class RapidJudge:
    """PP-OCR by RapidOCR, recognition only, with the models in its package.

    Raises:
        MissingExtra: RapidOCR or onnxruntime is not installed.

    Reference:
        PaddleOCR, PP-OCRv6; RapidOCR 3.10.
    """

    name = "rapidocr"

    def __init__(self) -> None:
        self._engine = _rapid()

    def read(self, images: Sequence[np.ndarray]) -> list[str]:
        """Read pictures of one word each; see :class:`Judge`."""
        texts = []
        for image in images:
            picture = np.ascontiguousarray(enlarged(image, ENLARGED)[..., ::-1])
            found = self._engine(picture, use_det=False, use_cls=False, use_rec=True, text_score=0.0)
            texts.append("".join(found.txts or ()))
        return texts


class TesseractJudge:
    """Tesseract as one line of text (``--psm 7``), English; it leans on a dictionary, so only words are for it.

    Raises:
        MissingExtra: The program or its English data is not installed.
    """

    name = "tesseract"

    def __init__(self) -> None:
        program = shutil.which("tesseract")
        if program is None:
            raise MissingExtra(
                "the second judge needs Tesseract with English data; install the system's packages tesseract-ocr and "
                "tesseract-ocr-eng, or judge by RapidOCR alone"
            )
        self._program = program

    def read(self, images: Sequence[np.ndarray]) -> list[str]:
        """Read pictures of one word each; see :class:`Judge`.

        Raises:
            JobFailed: The program failed or took too long.
        """
        return [self._one(image) for image in images]

    def _one(self, image: np.ndarray) -> str:
        png = BytesIO()
        Image.fromarray(enlarged(image, ENLARGED_TESSERACT)).save(png, "PNG")
        command = [self._program, "stdin", "stdout", "-l", "eng", "--psm", "7"]
        try:
            done = subprocess.run(
                command, input=png.getvalue(), capture_output=True, timeout=SECONDS, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise JobFailed(
                f"Tesseract failed on a picture of {image.shape[1]} x {image.shape[0]}: {error}"
            ) from error
        return done.stdout.decode("utf-8", "replace").strip()


@lru_cache(maxsize=1)
def _rapid() -> Any:
    try:
        from rapidocr import RapidOCR  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtra("judging words needs RapidOCR: pip install 'diffwright[text]'") from error
    engine = "EngineConfig.onnxruntime"
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            f"{engine}.intra_op_num_threads": THREADS,
            f"{engine}.inter_op_num_threads": THREADS,
        }
    )


def enlarged(image: np.ndarray, times: int) -> np.ndarray:
    """Enlarge a picture bicubically.

    Shapes:
        uint8 (H, W, 3) -> uint8 (times H, times W, 3)

    Raises:
        InputError: It is no uint8 picture in color, or is empty.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"a judge was given {image.dtype} {image.shape}; expected uint8 (H, W, 3)")
    size = (image.shape[1] * times, image.shape[0] * times)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def plain(text: str) -> str:
    """Keep a text's ASCII letters and digits, in lower case: what :func:`same` compares.

    Example:
        >>> plain("Don't!")
        'dont'
    """
    kept = frozenset(string.ascii_letters + string.digits)
    return "".join(c for c in text if c in kept).lower()


def same(read: str, truth: str) -> bool:
    """Whether a reading is exact but for case and marks; a truth without letters or digits is compared as it is.

    Example:
        >>> same("OPEN.", "Open"), same("opan", "open")
        (True, False)
    """
    wanted = plain(truth)
    return plain(read) == wanted if wanted else read.strip() == truth.strip()


def edit_distance(first: str, second: str) -> int:
    """Fewest letters to insert, delete or replace to turn one text into the other.

    Reference:
        Levenshtein, Binary codes capable of correcting deletions, insertions and reversals, 1966.

    Example:
        >>> edit_distance("kitten", "sitting")
        3
    """
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def likeness(read: str, truth: str) -> float:
    """One minus the edit distance over the longer length, case and marks aside: 1 is the same, 0 has nothing in common.

    Example:
        >>> likeness("OPEM", "open")
        0.75
    """
    a, b = plain(read), plain(truth)
    return 1 - edit_distance(a, b) / max(len(a), len(b), 1)


def wilson(right: int, count: int, level_z: float = 1.959964) -> Interval:
    """Give a share with its Wilson score interval.

    Args:
        right: Successes, 0 to ``count``.
        count: Trials, at least 1.
        level_z: Standard score of the level; 1.96 is 95 %.

    Raises:
        InputError: The counts are impossible.

    Reference:
        Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Example:
        >>> str(wilson(9, 10))
        '0.900 [0.596, 0.982]'
    """
    if count < 1 or not 0 <= right <= count:
        raise InputError(
            f"{right} of {count} is no share; give counts with 0 <= right <= count and count >= 1"
        )
    p, z2 = right / count, level_z**2
    middle = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = level_z / (1 + z2 / count) * (p * (1 - p) / count + z2 / (4 * count**2)) ** 0.5
    return Interval(p, max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half)), 0.95)


def misspelled(word: str, rng: np.random.Generator) -> str:
    """Misspell a word in one place: a letter replaced, left out, doubled, or changed with its neighbor.

    Args:
        word: At least three letters.
        rng: Chooses how and where.

    Raises:
        InputError: The word is too short.

    Example:
        >>> misspelled("closed", np.random.default_rng(0)) != "closed"
        True
    """
    if len(word) < 3:
        raise InputError(f"{word!r} is too short to be misspelt; give three letters or more")
    while True:
        i, how = int(rng.integers(1, len(word) - 1)), int(rng.integers(4))
        letter = string.ascii_lowercase[int(rng.integers(26))]
        wrong = (
            word[:i] + letter + word[i + 1 :],
            word[:i] + word[i + 1 :],
            word[:i] + word[i] + word[i:],
            word[:i] + word[i + 1] + word[i] + word[i + 2 :],
        )[how]
        if wrong != word:
            return wrong
