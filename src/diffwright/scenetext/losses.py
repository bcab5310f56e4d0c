"""What training minimises.

Reference:
    Masked error: Ji et al., Improving Diffusion Models for Scene Text Editing with Dual Encoders, TMLR 2024.
    Weights of steps: Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy, ICCV 2023, Eq. 7.
    Attention: the idea of Zhao and Lian, UDiffText, ECCV 2024, section 3.3, as a likelihood of each position.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.scenetext import characters
from diffwright.scenetext.dual import Reading

COVERED = 0.25
"""Share that a character's box covers where a cell belongs to it: of the cell, or of a narrower box's own width."""


def latent_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Bring a mask to latents: a cell is repainted where any of its pixels is.

    Shapes:
        bool (B, 1, H, W) -> (B, 1, h, w) of 0 and 1
    """
    return F.adaptive_max_pool2d(mask.float(), tuple(size))  # pyright: ignore[reportArgumentType]


def masked_error(predicted: Tensor, target: Tensor, mask: Tensor, a: float = 5.0) -> Tensor:
    """L = (1/N) [a Σ over the mask + Σ outside], of squared errors, for each picture.

    Args:
        predicted: What the network gives.
        target: What it should give.
        mask: 1 where the picture is repainted.
        a: Weight there.

    Shapes:
        predicted, target (B, C, h, w), mask (B, 1, h, w) -> (B,)
    """
    weight = 1 + (a - 1) * mask.float()
    return (weight * (predicted.float() - target.float()).square()).mean(dim=(1, 2, 3))


def min_snr(alpha_bar: Tensor, gamma: float, prediction: str) -> Tensor:
    """Weights that cap the share of nearly clean steps: min(SNR, γ)/SNR for ε, min(SNR+1, γ)/(SNR+1) for v.

    In terms of x0, an error of ε weighs SNR and one of v weighs SNR + 1; both are capped at γ. The step of noise
    alone keeps its weight.

    Args:
        alpha_bar: ᾱ of the steps.
        gamma: γ, above 1; 0 gives ones.
        prediction: ``v_prediction`` or ``epsilon``.

    Shapes:
        (B,) -> (B,)
    """
    if not gamma:
        return torch.ones_like(alpha_bar)
    weight = alpha_bar / (1 - alpha_bar) + (1 if prediction == "v_prediction" else 0)
    return weight.clamp(max=gamma) / weight.clamp(min=1e-8)


def attention_loss(
    readings: Iterable[Reading], boxes: Tensor, keep: Tensor, size: tuple[int, int], *, first: int = 1
) -> Tensor:
    """−mean over positions p of log Σ {A[p, i] : i whose box covers p}, over all sites.

    Args:
        readings: What the character branches read.
        boxes: x0 y0 x1 y1 of each character on the strip, pixels; empty ones count for nothing.
        keep: Which tokens are real.
        size: Height and width of the strip, pixels.
        first: Token of a text's first character.

    Shapes:
        boxes (B, N, 4), keep bool (B, L) -> ()
    """
    losses = []
    for reading in readings:
        rows = round((reading.query.shape[1] * size[0] / size[1]) ** 0.5)
        grid = (rows, reading.query.shape[1] // rows)
        across = (boxes[..., 2] - boxes[..., 0]) * grid[1] / size[1]  # cells
        member = covered(boxes, grid, size) > COVERED * across.clamp(max=1)[..., None]  # (B, N, P)
        count = min(member.shape[1], keep.shape[1] - first)
        told = reading.attention(keep)[..., first : first + count]  # (B, P, N)
        member = member[:, :count].transpose(1, 2)
        seen = (told * member).sum(-1).clamp(min=1e-6).log()
        any_box = member.any(-1)
        losses.append(-(seen * any_box).sum() / any_box.sum().clamp(min=1))
    return torch.stack(losses).mean() if losses else boxes.new_zeros(())


def covered(boxes: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Share of each cell of a grid that boxes cover.

    Shapes:
        boxes (B, N, 4) in pixels of a strip of ``size`` -> (B, N, rows * columns)
    """
    overlaps = []
    for (low, high), cells, length in (((1, 3), grid[0], size[0]), ((0, 2), grid[1], size[1])):
        edge = torch.arange(cells + 1, device=boxes.device) * (length / cells)
        a, b = boxes[..., low, None], boxes[..., high, None]
        share = (torch.minimum(b, edge[1:]) - torch.maximum(a, edge[:-1])).clamp(min=0) * (cells / length)
        overlaps.append(share)
    return (overlaps[0][..., :, None] * overlaps[1][..., None, :]).flatten(2)


def reading_loss(reader: nn.Module, images: Tensor, texts: Sequence[str]) -> Tensor:
    """CTC loss of each strip, divided by the length of its text.

    Args:
        reader: A ``Reader``.
        images: Strips in [-1, 1], color or gray.
        texts: What they should say.

    Shapes:
        images (B, 1 or 3, 32, W) -> (B,)
    """
    return ctc(reader(gray(images)), texts)


def ctc(said: Tensor, texts: Sequence[str]) -> Tensor:
    """CTC loss of log probabilities, divided by the length of each text.

    Shapes:
        said (B, T, K) -> (B,)
    """
    rows = _numbers(texts, said.shape[1])
    lengths = torch.tensor([len(row) for row in rows])
    full = torch.full((len(rows),), said.shape[1])
    targets = torch.cat(rows).to(said.device)
    loss = F.ctc_loss(
        said.transpose(0, 1),
        targets,
        full,
        lengths,
        blank=characters.PAD,
        reduction="none",
        zero_infinity=True,
    )
    return loss / lengths.clamp(min=1).to(loss.device)


def aligned_loss(said: Tensor, texts: Sequence[str], boxes: Tensor, width: int) -> Tensor:
    """−mean log probability of each letter in the column nearest to its middle, and of CTC's blank outside all boxes.

    Args:
        said: Log probabilities.
        texts: What they should say.
        boxes: x0 y0 x1 y1 of each letter, pixels; empty for a space and beyond the text.
        width: Of the strips, pixels.

    Shapes:
        said (B, T, K), boxes (B, N, 4) -> ()
    """
    columns = said.shape[1]
    at = (torch.arange(columns, device=said.device) + 0.5) * width / columns
    left, right = boxes[:, :, 0, None], boxes[:, :, 2, None]
    inside = ((at >= left) & (at <= right)).any(1)  # (B, T)
    wanted = torch.where(inside, -1, characters.PAD)
    middles = ((boxes[..., 0] + boxes[..., 2]) / 2 * columns / width).long().clamp(0, columns - 1)
    for i, row in enumerate(_numbers(texts, columns)):
        count = min(len(row), boxes.shape[1])
        shown = boxes[i, :count, 2] > boxes[i, :count, 0]
        wanted[i, middles[i, :count][shown]] = row[:count].to(wanted)[shown]
    return F.nll_loss(said.flatten(0, 1), wanted.flatten(), ignore_index=-1)


def _numbers(texts: Sequence[str], length: int) -> list[Tensor]:
    """Numbers of the characters of each text, without its ends."""
    return [row[keep][1:-1] for row, keep in zip(*characters.encode(texts, length), strict=True)]


def gray(images: Tensor) -> Tensor:
    """Brightness of pictures, Rec. 601: (B, 1 or 3, H, W) -> (B, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)
