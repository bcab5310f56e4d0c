"""The corrupted run: a prompt as the text encoders read it, and Gaussian noise on the tokens of its subject."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffwright.core.checks import in_range
from diffwright.core.errors import UnsupportedBackbone
from diffwright.diffusion.backbones import require
from diffwright.diffusion.hooks import replaced
from diffwright.diffusion.prompts import first_eos, subject_span, tokenize
from diffwright.diffusion.sites import Site


@dataclass(frozen=True)
class Reading:
    """A prompt as one text encoder reads it.

    Attributes:
        prefix: of the encoder in site names, ``te`` or ``te2``.
        encoder: the text encoder.
        ids: token ids.
        mask: attention mask, or None where the encoder wants none.
        span: positions of the subject's first and last token.
        end: position of the first end-of-text token.
        tokens: what stands at the positions 0 to ``end``.

    Shapes:
        ids (1, T), mask (1, T); T positions.
    """

    prefix: str
    encoder: nn.Module
    ids: Tensor
    mask: Tensor | None
    span: tuple[int, int]
    end: int
    tokens: tuple[str, ...]


def read(pipe: Any, prompt: str, subject: str) -> list[Reading]:
    """Tokenize a prompt for each text encoder of a pipeline and find its subject.

    Args:
        pipe: a pipeline of a layout that supports ``trace``.
        prompt: the text given to the model.
        subject: one or more words of it; the first occurrence counts.

    Raises:
        InputError: the subject does not occur, or lies beyond the positions that the model reads.
        UnsupportedBackbone: the layout is not supported.
    """
    found = []
    for prefix in require(pipe, "trace").text_encoders:
        suffix = "_2" if prefix == "te2" else ""
        encoder, tokenizer = getattr(pipe, f"text_encoder{suffix}"), getattr(pipe, f"tokenizer{suffix}")
        ids, mask = (both.to(encoder.device) for both in tokenize(tokenizer, [prompt]))
        end = int(first_eos(tokenizer, ids))
        words = [tokenizer.decode([number]).strip() for number in ids[0, 1:end].tolist()]
        found.append(
            Reading(
                prefix=prefix,
                encoder=encoder,
                ids=ids,
                mask=mask if getattr(encoder.config, "use_attention_mask", None) else None,
                span=subject_span(tokenizer, prompt, subject),
                end=end,
                tokens=("[begin]", *words, "[end]"),
            )
        )
    return found


def subject_noise(reading: Reading, seeds: Sequence[int], multiple: float = 3.0) -> Tensor:
    """Draw the noise that is added to the token embeddings of the subject.

    Its standard deviation is a multiple of that of the subject's own token embeddings. A seed draws the same
    numbers on every device, and others than the noise of the latent picture of the same seed.

    Args:
        reading: the prompt as one encoder reads it.
        seeds: one for each corrupted run, from 0.
        multiple: of the standard deviation, 0 to 1000; causal tracing of language models uses 3.

    Shapes:
        -> (S, T, D), zero outside of the subject; S seeds, T positions, D width

    Raises:
        ConfigError: the multiple is out of range.
    """
    in_range("noise", multiple, 0, 1000)
    first, last = reading.span
    with torch.no_grad():
        rows = _token_embedding(reading).module(reading.ids[:, first : last + 1])[0]  # (n, D)
    noise = torch.zeros(len(seeds), reading.ids.shape[1], rows.shape[1], dtype=rows.dtype)
    for number, seed in enumerate(seeds):
        draws = np.random.Generator(np.random.PCG64([seed, int(reading.prefix == "te2"), 23]))
        noise[number, first : last + 1] = torch.from_numpy(draws.standard_normal(tuple(rows.shape)))
    return multiple * rows.std() * noise.to(rows.device)


@contextmanager
def noised(reading: Reading, noise: Tensor) -> Iterator[None]:
    """Add noise to what the encoder's token embedding gives while the block runs.

    Args:
        reading: whose encoder is changed.
        noise: one row for each row of the encoder's batch.

    Shapes:
        noise (B, T, D)
    """
    with replaced(_token_embedding(reading), lambda rows: rows + noise.to(rows)):
        yield


def _token_embedding(reading: Reading) -> Site:
    owner = "text_encoder_2" if reading.prefix == "te2" else "text_encoder"
    for path, module in reading.encoder.named_modules():
        if f".{path}".endswith(".embeddings.token_embedding"):
            return Site(f"{reading.prefix}.tokens", path, module, owner)
    raise UnsupportedBackbone(
        f"{type(reading.encoder).__name__} has no token embedding; trace a CLIP text encoder."
    )
