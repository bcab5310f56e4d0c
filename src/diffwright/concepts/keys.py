"""What a linear site reads at a concept: the keys of the closed-form edit.

A causal text encoder computes the rows up to a token from the tokens up to it, so the model runs on prompts
cut after the last token needed, and only as far as the edited layer: for layer 0 no more than the embedding,
one normalisation and one attention.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffwright.core.checks import one_of
from diffwright.core.errors import InputError
from diffwright.diffusion.hooks import input_of
from diffwright.diffusion.prompts import encode, first_eos, token_span, tokenize
from diffwright.diffusion.sites import Site

TOKENS = ("last", "last+eos", "last+eos+pad")
CHUNK = 512


@dataclass(frozen=True)
class Phrase:
    """A prompt and where its concept stands.

    Attributes:
        prompt: the whole text.
        start: index of the concept's first character.
        stop: index after its last character.
    """

    prompt: str
    start: int
    stop: int

    @classmethod
    def of(cls, template: str, concept: str) -> Phrase:
        """Put a concept into a template with one ``{}``.

        Raises:
            InputError: the template has no ``{}`` or several, or the concept is empty.
        """
        before, *after = template.split("{}")
        if len(after) != 1:
            raise InputError(f"The template {template!r} must hold {{}} once, where the concept goes.")
        if not concept.strip():
            raise InputError("A concept is empty; give at least one word on each side of a pair.")
        return cls(before + concept.strip() + after[0], len(before), len(before) + len(concept.strip()))


def aligned_keys(
    pipe: Any, site: Site, pairs: Sequence[tuple[Phrase, Phrase]], tokens: str = "last"
) -> list[tuple[Tensor, Tensor]]:
    """Collect what a site reads at the source and at the target of each pair, row by row aligned.

    Args:
        pipe: a supported pipeline.
        site: a linear part of a text layer, or ``k`` or ``v`` of a UNet cross-attention.
        pairs: source and target phrases.
        tokens: ``last`` takes the concept's last token; ``last+eos`` adds the first end-of-text token;
            ``last+eos+pad`` takes every position from the last token on, the target's aligned by offset.

    Returns:
        For each pair the rows of its source and of its target, float64.

    Shapes:
        -> each (n, I); n positions of the source, I inputs of the site

    Raises:
        InputError: the site reads no text, or a concept lies outside of what the model reads.
    """
    one_of("tokens", tokens, TOKENS)
    tokenizer = tokenizer_of(pipe, site)
    phrases = list(dict.fromkeys(phrase for pair in pairs for phrase in pair))
    ids, mask = tokenize(tokenizer, [phrase.prompt for phrase in phrases])
    last = [token_span(tokenizer, phrase.prompt, phrase.start, phrase.stop)[1] for phrase in phrases]
    eos = first_eos(tokenizer, ids).tolist()
    end = {phrase: (last[i], eos[i]) for i, phrase in enumerate(phrases)}
    wanted = [_positions(end[source], end[target], tokens, ids.shape[1]) for source, target in pairs]
    lengths = dict.fromkeys(phrases, 0)
    for pair, both in zip(pairs, wanted, strict=True):
        for phrase, positions in zip(pair, both, strict=True):
            lengths[phrase] = max(lengths[phrase], max(positions) + 1)
    rows = _rows(pipe, site, lengths, ids, mask)
    return [
        (rows[source][at_source], rows[target][at_target])
        for (source, target), (at_source, at_target) in zip(pairs, wanted, strict=True)
    ]


def _positions(
    source: tuple[int, int], target: tuple[int, int], tokens: str, total: int
) -> tuple[list[int], list[int]]:
    if tokens == "last":
        return [source[0]], [target[0]]
    if tokens == "last+eos":
        return list(source), list(target)
    offsets = range(total - source[0])
    return [source[0] + i for i in offsets], [min(target[0] + i, total - 1) for i in offsets]


def reading(site: Site) -> str:
    """Name what a site reads: UNet cross-attentions all read the same encoding.

    Raises:
        InputError: the site reads no text.
    """
    if site.owner != "unet":
        return site.name
    if site.kind not in ("attn2.k", "attn2.v"):
        raise InputError(f"{site.name} reads no text; edit attn2 k or v of the UNet, or te.0.attn.out.")
    return "encoding"


def tokenizer_of(pipe: Any, site: Site) -> Any:
    """Give the tokenizer whose tokens a site reads."""
    return pipe.tokenizer_2 if site.owner == "text_encoder_2" else pipe.tokenizer


@torch.no_grad()
def _rows(
    pipe: Any, site: Site, lengths: dict[Phrase, int], ids: Tensor, mask: Tensor
) -> dict[Phrase, Tensor]:
    """Run the phrases, shortest first, and give what the site reads at their leading positions."""
    order = sorted(range(len(ids)), key=list(lengths.values()).__getitem__)
    phrases, rows = list(lengths), {}
    for part in _chunks(order, CHUNK):
        length = lengths[phrases[part[-1]]]
        if reading(site) == "encoding":
            read = encode(pipe, [phrases[i].prompt for i in part])
        else:
            read = _read_by_text(pipe, site, ids[part, :length], mask[part, :length])
        rows |= {phrases[i]: row.double() for i, row in zip(part, read, strict=True)}
    return rows


def _chunks(order: list[int], size: int) -> Iterable[list[int]]:
    return (order[start : start + size] for start in range(0, len(order), size))


def _read_by_text(pipe: Any, site: Site, ids: Tensor, mask: Tensor) -> Tensor:
    encoder = getattr(pipe, site.owner)
    ids, mask = ids.to(encoder.device), mask.to(encoder.device)
    masked = getattr(encoder.config, "use_attention_mask", None)
    return input_of(site, lambda: encoder(ids, attention_mask=mask if masked else None))
