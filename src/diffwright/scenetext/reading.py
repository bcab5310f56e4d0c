"""Reading strips with our own reader: what they say, and how well they say what they should."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffwright.core.checks import shape
from diffwright.core.errors import InputError
from diffwright.scenetext.characters import FIRST, PAD, SPACE, SYMBOLS
from diffwright.scenetext.losses import gray, reading_loss


@torch.no_grad()
def read(reader: nn.Module, images: Tensor) -> list[tuple[str, float]]:
    """Read strips.

    Args:
        reader: A ``Reader``.
        images: Strips in [-1, 1], color or gray.

    Returns:
        For each strip the text of the best path and its confidence: what ``score`` says of that text.

    Shapes:
        (B, 1 or 3, 32, W)
    """
    shape("images", images, ("B", images.shape[1] if images.ndim == 4 else 3, 32, "W"))
    numbers = reader(gray(images.to(_weight(reader)))).argmax(-1)  # (B, T)
    texts = []
    for row in numbers.tolist():
        path = [n for i, n in enumerate(row) if n != PAD and (i == 0 or row[i - 1] != n)]
        texts.append("".join(_symbol(n) for n in path).strip())
    return list(zip(texts, score(reader, images, texts).tolist(), strict=True))


@torch.no_grad()
def score(reader: nn.Module, images: Tensor, texts: Sequence[str]) -> Tensor:
    """Probability that strips say their texts, as the geometric mean over the characters.

    Args:
        reader: A ``Reader``.
        images: Strips in [-1, 1], color or gray.
        texts: One for each.

    Returns:
        0 to 1, comparable between strips of one text.

    Shapes:
        (B, 1 or 3, 32, W) -> (B,)

    Raises:
        InputError: There are not as many texts as strips.
    """
    if len(texts) != len(images):
        raise InputError(f"{len(texts)} texts were given for {len(images)} strips, expected as many")
    if not len(texts):
        return torch.zeros(0)
    return (-reading_loss(reader, images.to(_weight(reader)), texts)).exp().cpu()


def _symbol(number: int) -> str:
    if number == SPACE:
        return " "
    return SYMBOLS[number - FIRST + 1] if number >= FIRST else ""


def _weight(reader: nn.Module) -> Tensor:
    return next(reader.parameters())
