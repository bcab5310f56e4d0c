"""From prompts to tokens and encodings, with the conventions of the pipeline that will read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffwright.core.errors import InputError


def characters(prompt: str, subject: str) -> tuple[int, int]:
    """Find the subject in the prompt as whole words, whatever its case and spacing.

    Args:
        prompt: the text given to the model.
        subject: one or more words of it; the first occurrence counts.

    Returns:
        Index of the first character and index after the last one.

    Raises:
        InputError: the subject is empty or does not occur as whole words.
    """
    if not subject.split():
        raise InputError("The subject is empty; name one or more words of the prompt.")
    found = _whole_words(prompt, subject)
    if found is None:
        raise InputError(f"The subject {subject!r} does not occur as whole words in the prompt {prompt!r}.")
    return found.start(), found.end()


def named(prompt: str, subject: str) -> bool:
    """Say whether a prompt names a subject as whole words, whatever its case and spacing."""
    return bool(subject.split()) and _whole_words(prompt, subject) is not None


def _whole_words(prompt: str, subject: str) -> re.Match[str] | None:
    pattern = r"\s+".join(map(re.escape, subject.split()))
    return re.search(rf"(?<!\w){pattern}(?!\w)", prompt, re.IGNORECASE)


def token_span(tokenizer: Any, prompt: str, start: int, stop: int) -> tuple[int, int]:
    """Say which tokens hold the characters ``start`` to ``stop`` of a prompt.

    Args:
        tokenizer: a transformers tokenizer; if it has no character offsets, prefixes are counted.
        prompt: the text given to the model.
        start: index of the first character.
        stop: index after the last character.

    Returns:
        Positions of the first and of the last token, counted from the begin-of-text token at 0.

    Raises:
        InputError: no token holds these characters, or they lie after the last position that the model reads.
    """
    if getattr(tokenizer, "is_fast", False):
        offsets = tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
        inside = [i for i, (a, b) in enumerate(offsets) if a < stop and b > start]
        first, last = (inside[0], inside[-1]) if inside else (0, -1)
    else:
        first, last = _span_by_prefixes(tokenizer, prompt, start, stop)
    if last < first:
        raise InputError(
            f"No token of the prompt {prompt!r} holds {prompt[start:stop]!r}; use words it knows."
        )
    if last > tokenizer.model_max_length - 2:
        raise InputError(
            f"{prompt[start:stop]!r} ends at token {last} of the prompt, but the model reads only "
            f"{tokenizer.model_max_length - 2}; shorten the prompt."
        )
    return first, last


def _span_by_prefixes(tokenizer: Any, prompt: str, start: int, stop: int) -> tuple[int, int]:
    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    begin = list(tokenizer("")["input_ids"]).index(tokenizer.eos_token_id)
    before, up_to, whole = ids(prompt[:start].rstrip()), ids(prompt[:stop]), ids(prompt)
    if whole[: len(up_to)] != up_to or up_to[: len(before)] != before:
        raise InputError(f"{prompt[start:stop]!r} shares a token with its neighbours in {prompt!r}.")
    return begin + len(before), begin + len(up_to) - 1


def subject_span(tokenizer: Any, prompt: str, subject: str) -> tuple[int, int]:
    """Find the tokens of a subject, anywhere in the prompt.

    Args:
        tokenizer: a transformers tokenizer.
        prompt: the text given to the model.
        subject: one or more words of it; the first occurrence counts.

    Returns:
        Positions of its first and last token, counted from the begin-of-text token at 0.

    Raises:
        InputError: the subject does not occur, or lies beyond the positions that the model reads.
    """
    return token_span(tokenizer, prompt, *characters(prompt, subject))


def unseen(tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    """List the words of prompts that the tokenizer of ``pocket`` must cut into pieces.

    It was learned so that every word of the training captions is one token; a word in pieces was never shown.

    Args:
        tokenizer: that of a pocket model; the words of others say nothing about their training.
        prompts: any texts.

    Returns:
        Each such word once, in lower case, in the order of its first use.
    """
    words = dict.fromkeys(word for prompt in prompts for word in re.findall(r"[^\W\d_]+", prompt.lower()))
    return [word for word in words if len(tokenizer.tokenize(word)) != 1]


def first_eos(tokenizer: Any, ids: Tensor) -> Tensor:
    """Give the position of the first end-of-text token of each row.

    Args:
        tokenizer: the tokenizer that made the ids; its padding may be the same token.
        ids: token ids.

    Shapes:
        ids (B, T) -> (B,); B prompts, T tokens.
    """
    return (ids == tokenizer.eos_token_id).int().argmax(dim=1)


def tokenize(tokenizer: Any, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Turn prompts into token ids as the Stable Diffusion pipelines do: padded and cut to the model's length.

    Args:
        tokenizer: a transformers tokenizer with ``model_max_length``.
        prompts: at least one text.

    Shapes:
        -> ids (B, T), attention mask (B, T); B prompts, T = ``model_max_length`` tokens.
    """
    batch = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    return batch.input_ids, batch.attention_mask


@torch.no_grad()
def encode_pooled(pipe: Any, prompts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
    """Encode prompts with the pipeline's own conventions, with the pooled vector where the layout has one.

    Args:
        pipe: a Stable Diffusion 1, 2 or XL pipeline.
        prompts: at least one text; each different text is encoded once.

    Shapes:
        -> encodings (B, T, D), pooled (B, P) for SDXL or None; B prompts, T tokens, D and P widths.

    Raises:
        InputError: there is no prompt.
    """
    if not prompts:
        raise InputError("No prompt was given; give at least one.")
    unique = list(dict.fromkeys(prompts))
    rows = torch.tensor([unique.index(prompt) for prompt in prompts])
    encoded = pipe.encode_prompt(
        prompt=unique,
        device=pipe._execution_device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
    )
    pooled = encoded[2][rows] if len(encoded) == 4 else None
    return encoded[0][rows], pooled


def encode(pipe: Any, prompts: Sequence[str]) -> Tensor:
    """Encode prompts into what the UNet's cross-attention reads.

    Args:
        pipe: a Stable Diffusion 1, 2 or XL pipeline.
        prompts: at least one text.

    Shapes:
        -> (B, T, D); B prompts, T tokens, D width (both encoders side by side for SDXL).
    """
    return encode_pooled(pipe, prompts)[0]
