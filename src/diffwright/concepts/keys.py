"""What a linear site reads at a concept, and what it must add there: keys and wanted changes of its output.

A causal text encoder computes the rows up to a token from the tokens up to it, so the model runs on prompts
cut after the last token needed, and only as far as the edited layer: for layer 0 no more than the embedding,
one normalisation and one attention.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffwright.concepts.phrase import Phrase
from diffwright.core.checks import one_of
from diffwright.core.errors import ConfigError, InputError
from diffwright.diffusion.hooks import input_of, taps
from diffwright.diffusion.prompts import encode, first_eos, token_span, tokenize
from diffwright.diffusion.sites import Site, find

TOKENS = ("last", "span", "last+eos", "last+eos+pad")
AIMS = ("output", "stream")
CHUNK = 512


class Rows(NamedTuple):
    """What one pair asks of a site, a row for each rewritten position, float64.

    Attributes:
        keys: (n, I), what the site reads at the source.
        wanted: (n, I), what it reads at the target.
        carried: (n, O), what the residual stream beside the site lacks; zero (n, 1) for ``output``.
    """

    keys: Tensor
    wanted: Tensor
    carried: Tensor

    def residuals(self, weight: Tensor) -> Tensor:
        """Give what must be added to the outputs of a bias-free map.

        Shapes:
            weight (O, I) -> (n, O)
        """
        return (self.wanted - self.keys) @ weight.T + self.carried

    @classmethod
    def mixture(cls, parts: Sequence[Rows], shares: Sequence[float]) -> Rows:
        """Want a mixture of several targets at one source."""
        if len(parts) == 1:
            return parts[0]
        wanted = sum(share * part.wanted for share, part in zip(shares, parts, strict=True))
        carried = sum(share * part.carried for share, part in zip(shares, parts, strict=True))
        return cls(parts[0].keys, torch.as_tensor(wanted), torch.as_tensor(carried))

    @classmethod
    def mean(cls, parts: Sequence[Rows]) -> Rows:
        """Average a concept's templates, position by position.

        Raises:
            ConfigError: the templates rewrite different numbers of positions.
        """
        if len({len(part.keys) for part in parts}) > 1:
            raise ConfigError("Templates can be averaged with the tokens 'last' or 'last+eos' only.")
        return cls(*(torch.stack(same).mean(0) for same in zip(*parts, strict=True)))


def rows_of(
    pipe: Any,
    site: Site,
    pairs: Sequence[tuple[Phrase, Phrase]],
    held: Sequence[Phrase] = (),
    *,
    tokens: str = "last",
    aim: str = "output",
) -> tuple[list[Rows], Tensor]:
    """Collect what a site reads at the source and at the target of each pair, row by row aligned.

    Args:
        pipe: a supported pipeline.
        site: a linear part of a text layer, or ``k`` or ``v`` of a UNet cross-attention.
        pairs: source and target phrases, at least one pair.
        held: phrases that must stay as they are.
        tokens: ``last`` takes the concept's last token; ``span`` takes all of its tokens, the last aligned with
            the target's last and so on backwards; ``last+eos`` adds the first end-of-text token to the last;
            ``last+eos+pad`` takes every position from the last token on, the target's aligned by offset.
        aim: ``output`` wants the target's output of the site, as in the paper; ``stream`` wants the target's
            residual stream after it, which ``attn.out`` and ``mlp.out`` of text layers write into.

    Returns:
        One entry for each pair, and the keys (h, I) of every token of the held phrases, with the padding if
        ``tokens`` names it.

    Raises:
        InputError: the site reads no text, or a concept lies outside of what the model reads.
        ConfigError: unknown ``tokens`` or ``aim``.
    """
    one_of("tokens", tokens, TOKENS)
    one_of("aim", aim, AIMS)
    tokenizer = pipe.tokenizer_2 if site.owner == "text_encoder_2" else pipe.tokenizer
    phrases = list(dict.fromkeys([*(phrase for pair in pairs for phrase in pair), *held]))
    ids, mask = tokenize(tokenizer, [phrase.prompt for phrase in phrases])
    eos = first_eos(tokenizer, ids).tolist()
    spans = {p: Span(*_tokens_of(tokenizer, p, end), end) for p, end in zip(phrases, eos, strict=True)}
    total = ids.shape[1]
    wanted = [_positions(spans[source], spans[target], tokens, total) for source, target in pairs]
    kept = [list(range(total if tokens == "last+eos+pad" else spans[h].eos + 1)) for h in held]
    needs: dict[Phrase, dict[int, int]] = {phrase: {} for phrase in phrases}
    for pair, both in zip(pairs, wanted, strict=True):
        for phrase, positions in zip(pair, both, strict=True):
            _number(needs[phrase], positions)
    for phrase, positions in zip(held, kept, strict=True):
        _number(needs[phrase], positions)
    read, stream = _activations(pipe, site, needs, (ids, mask), aim)

    def rows(of: Activations, phrase: Phrase, positions: list[int]) -> Tensor:
        known = needs[phrase]
        if positions == list(known):
            return of[phrase]
        return of[phrase][[known[position] for position in positions]]

    found = [
        Rows(rows(read, a, at_a), rows(read, b, at_b), rows(stream, b, at_b) - rows(stream, a, at_a))
        for (a, b), (at_a, at_b) in zip(pairs, wanted, strict=True)
    ]
    return found, torch.cat(
        [found[0].keys[:0], *(rows(read, h, at) for h, at in zip(held, kept, strict=True))]
    )


class Span(NamedTuple):
    """Positions of a concept's first and last token, and of the first end-of-text token."""

    first: int
    last: int
    eos: int


def _tokens_of(tokenizer: Any, phrase: Phrase, eos: int) -> tuple[int, int]:
    """Give the concept's first and last token; where it is missing, the end-of-text token in its place."""
    if phrase.start == phrase.stop:
        return eos, eos
    return token_span(tokenizer, phrase.prompt, phrase.start, phrase.stop)


def _positions(source: Span, target: Span, tokens: str, total: int) -> tuple[list[int], list[int]]:
    if tokens == "last":
        return [source.last], [target.last]
    if tokens == "span":
        back = range(source.last - source.first + 1)
        return [source.last - i for i in back], [max(target.last - i, target.first) for i in back]
    if tokens == "last+eos":
        return [source.last, source.eos], [target.last, target.eos]
    offsets = range(total - source.last)
    return [source.last + i for i in offsets], [min(target.last + i, total - 1) for i in offsets]


def _number(known: dict[int, int], positions: Iterable[int]) -> None:
    for position in positions:
        known.setdefault(position, len(known))


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


Activations = dict[Phrase, Tensor]


@torch.no_grad()
def _activations(
    pipe: Any, site: Site, needs: dict[Phrase, dict[int, int]], tokens: tuple[Tensor, Tensor], aim: str
) -> tuple[Activations, Activations]:
    """Run the phrases, shortest first; give the needed rows of the site's input and of the stream beside it."""
    phrases = list(needs)
    lengths = [max(needs[phrase]) + 1 for phrase in phrases]
    order = sorted(range(len(phrases)), key=lengths.__getitem__)
    read, stream = {}, {}
    for start in range(0, len(order), CHUNK):
        part = order[start : start + CHUNK]
        if reading(site) == "encoding":
            keys = encode(pipe, [phrases[i].prompt for i in part])
            beside = None
        else:
            ids, mask = (both[part, : lengths[part[-1]]] for both in tokens)
            keys, beside = _read_by_text(pipe, site, ids, mask, aim)
        beside = keys.new_zeros(*keys.shape[:2], 1) if beside is None else beside
        each = [phrases[i] for i in part]
        counts = [len(needs[phrase]) for phrase in each]
        at = (
            torch.arange(len(part)).repeat_interleave(torch.tensor(counts)),
            torch.tensor([position for phrase in each for position in needs[phrase]]),
        )
        read |= zip(each, keys[at].double().split(counts), strict=True)
        stream |= zip(each, beside[at].double().split(counts), strict=True)
    return read, stream


def _read_by_text(pipe: Any, site: Site, ids: Tensor, mask: Tensor, aim: str) -> tuple[Tensor, Tensor | None]:
    encoder = getattr(pipe, site.owner)
    masked = getattr(encoder.config, "use_attention_mask", None)
    ids, attention = ids.to(encoder.device), mask.to(encoder.device) if masked else None

    def run() -> None:
        encoder(ids, attention_mask=attention)

    if aim == "output":
        return input_of(site, run), None
    with taps([_stream_before(pipe, site)], inputs=True) as captured:
        keys = input_of(site, run)
    return keys, next(iter(captured.values()))[0]


def _stream_before(pipe: Any, site: Site) -> Site:
    """Find the module whose input is the residual stream that the site's output is added to."""
    if site.kind not in ("attn.out", "mlp.out"):
        raise InputError(f"{site.name} does not write into the residual stream; use aim='output' there.")
    prefix, layer = site.name.split(".")[:2]
    block = find(pipe, f"{prefix}.{layer}.block")
    if site.kind == "attn.out":
        return block
    return Site(f"{block.name} middle", f"{block.path}.layer_norm2", block.module.layer_norm2, block.owner)  # pyright: ignore[reportArgumentType]
