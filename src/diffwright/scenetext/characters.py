"""What can be written, and characters as numbers.

Reference:
    Ji et al., Improving Diffusion Models for Scene Text Editing with Dual Encoders, TMLR 2024: 95 symbols, where
    padding, unknown characters and the space are one; here they are three, and the ends of a word are marked.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffwright.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SYMBOLS = " " + string.digits + string.ascii_lowercase + string.ascii_uppercase + string.punctuation
PAD, SPACE, UNK, BOS, EOS = range(5)
FIRST = 5
"""Number of the first symbol after the space."""

COUNT = FIRST + len(SYMBOLS) - 1
LENGTH = 24
"""Positions, both ends included."""

LONGEST = LENGTH - 2

_NUMBERS = {" ": SPACE, **{c: FIRST + i for i, c in enumerate(SYMBOLS[1:])}}


def allowed(text: str) -> None:
    """Check that a text can be written; the empty one erases.

    Args:
        text: One line of printable ASCII, at most 22 characters, not blank.

    Raises:
        InputError: It cannot; the message says what is allowed.

    Example:
        >>> allowed("Open 24h!")
    """
    if not isinstance(text, str):
        raise InputError(f"the text is a {type(text).__name__}, expected a string")
    odd = sorted(set(text) - set(SYMBOLS))
    if odd:
        shown = ", ".join(map(repr, odd[:4]))
        raise InputError(
            f"the text holds {shown}; allowed are A-Z, a-z, 0-9, the space and {string.punctuation}"
        )
    if len(text) > LONGEST:
        raise InputError(
            f"the text has {len(text)} characters, at most {LONGEST} fit a region; write it in several regions"
        )
    if text and not text.strip():
        raise InputError('the text is blank; give letters, or "" to erase')


def encode(texts: Sequence[str], length: int = LENGTH, *, plain: bool = False) -> tuple[Tensor, Tensor]:
    """Number the characters of texts.

    Args:
        texts: Any strings; a longer one is cut.
        length: L, positions with both ends.
        plain: The paper's numbering: no ends, and padding and unknown characters are spaces.

    Returns:
        Numbers below ``COUNT``, and where they count. In plain numbering all positions count, as in the paper.

    Shapes:
        -> int64 (B, L), bool (B, L)

    Example:
        >>> ids, keep = encode(["a b"], 6)
        >>> ids.tolist(), keep.sum().item()
        ([[3, 15, 1, 16, 4, 0]], 5)
    """
    import torch

    ids = torch.full((len(texts), length), SPACE if plain else PAD, dtype=torch.int64)
    for row, text in zip(ids, texts, strict=True):
        numbers = [_NUMBERS.get(c, SPACE if plain else UNK) for c in text]
        numbers = numbers[:length] if plain else [BOS, *numbers[: length - 2], EOS]
        row[: len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
    return ids, torch.ones_like(ids, dtype=torch.bool) if plain else ids != PAD


def offset(plain: bool = False) -> int:
    """Position of a text's first character."""
    return 0 if plain else 1
