"""Instructions as numbers: words, each the set of its hashed character trigrams, so that new words still compose.

A font or color name that training never met shares trigrams with names that it did; no table has to be shipped.

Reference:
    Bojanowski et al., Enriching Word Vectors with Subword Information, TACL 2017, section 3.2.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BUCKETS = 4096
"""Numbers of grams; 0 is padding."""

GRAMS = 12
"""Grams of a word that are kept: the word itself and its first trigrams."""

LENGTH = 48

_PIECES = re.compile(r"#[0-9a-fA-F]{6}\b|[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")


def tokenize(sentences: Sequence[str], length: int = LENGTH) -> tuple[Tensor, Tensor]:
    """Number the words of instructions.

    ``#RRGGBB`` becomes four words, the sign and three pairs of digits; other signs are words of their own.

    Args:
        sentences: Instructions in English; a longer one is cut.
        length: L, words at most.

    Returns:
        Gram numbers below ``BUCKETS``, and which positions hold a word. A position before the first word marks the
        beginning, so that no row is empty.

    Shapes:
        -> int64 (B, L, G), bool (B, L); L is the longest row's

    Example:
        >>> ids, keep = tokenize(['Write "TO" in color: #00FF7f', ""])
        >>> keep.sum(1).tolist()
        [12, 1]
    """
    import torch

    rows = [[_grams("\0"), *(_grams(word) for word in words(s))][:length] for s in sentences]
    ids = torch.zeros((len(rows), max(map(len, rows), default=1), GRAMS), dtype=torch.int64)
    for i, row in enumerate(rows):
        for j, grams in enumerate(row):
            ids[i, j, : len(grams)] = torch.tensor(grams)
    return ids, ids[..., 0] > 0


def words(sentence: str) -> list[str]:
    """Split an instruction.

    Example:
        >>> words("in font: Noto Sans, #A0b1C2")
        ['in', 'font', ':', 'Noto', 'Sans', ',', '#', 'a0', 'b1', 'c2']
    """
    found = []
    for piece in _PIECES.findall(sentence):
        if len(piece) == 7 and piece[0] == "#":
            low = piece.lower()
            found += ["#", low[1:3], low[3:5], low[5:7]]
        else:
            found.append(piece)
    return found


@lru_cache(maxsize=1 << 16)
def _grams(word: str) -> tuple[int, ...]:
    """The word as written, then its trigrams in lower case with marked ends; the same on every machine."""
    low = f"<{word.lower()}>"
    grams = [f"={word}", *(low[i : i + 3] for i in range(len(low) - 2))]
    return tuple(1 + zlib.crc32(gram.encode()) % (BUCKETS - 1) for gram in grams[:GRAMS])
