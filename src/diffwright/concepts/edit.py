"""Concepts rewritten in closed form: what a model says about one word becomes what it says about another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffwright.concepts.choice import Choice, default_choice
from diffwright.concepts.keys import Phrase, Rows, reading, rows_of
from diffwright.concepts.patch import ConceptEdit, Fit, Patch, fingerprint_of
from diffwright.concepts.solve import Factors, ridge
from diffwright.core.checks import in_range
from diffwright.core.errors import InputError
from diffwright.diffusion.backbones import require
from diffwright.diffusion.prompts import named
from diffwright.diffusion.sites import Site, match

__all__ = ["ConceptEdit", "edit_concepts"]

Pair = tuple[str, str]


def edit_concepts(
    pipe: Any,
    pairs: Sequence[Pair],
    preserve: Sequence[str] = (),
    *,
    preserve_prompts: Sequence[str] | None = None,
    site: str | Sequence[str] | None = None,
    lam: float | None = None,
    templates: Sequence[str] | None = None,
    tokens: str | None = None,
    aim: str | None = None,
    preserve_weight: float = 1.0,
) -> ConceptEdit:
    """Compute the edit that turns each source concept into its target; the pipeline is not changed yet.

    Each linear site is solved once for all pairs and templates: its outputs at the source become its outputs
    at the target, those at preserved concepts stay, and the weight moves as little as possible. Several sites
    are each solved on the unedited model. An edit is no security measure: other words can bring a concept
    back.

    Args:
        pipe: a pipeline of a layout that supports ``fix``.
        pairs: (source, target) concepts, such as ``("mug", "duck")``.
        preserve: concepts whose meaning must stay; they are put into the templates, whose words are held too.
        preserve_prompts: whole prompts that must be read as before; those that name a source are left out.
        site: one or several site names or patterns with ``*``: a linear part of a text layer, or ``k`` and
            ``v`` of UNet cross-attentions. For this and the next four, None takes the default of the layout:
            the paper's settings, the attention output of each text encoder's layer 0.
        lam: ridge strength, above 0.
        templates: prompts with ``{}`` where the concept goes; it may stand anywhere.
        tokens: which positions are rewritten: ``last``, ``last+eos`` or ``last+eos+pad``.
        aim: ``output`` wants the target's output of the site, as in the paper; ``stream`` wants the target's
            residual stream after it (``attn.out`` and ``mlp.out`` of text layers only).
        preserve_weight: importance of a preserved row against an edited one, above 0.

    Returns:
        The edit, with ``apply``, ``revert``, ``report``, ``save`` and ``fits``.

    Raises:
        InputError: a pair or template is empty, pairs contradict each other, or a site reads no text.
        UnsupportedBackbone: the layout is not supported, or adapters are in the way.

    Reference:
        Basu et al., Localizing and Editing Knowledge in Text-to-Image Generative Models, ICLR 2024.
    """
    in_range("preserve_weight", preserve_weight, 1e-6, 1e6)
    usual = default_choice(require(pipe, "fix").layout)
    chosen = Choice(
        site=usual.site if site is None else (site,) if isinstance(site, str) else tuple(site),
        lam=usual.lam if lam is None else lam,
        tokens=tokens or usual.tokens,
        aim=aim or usual.aim,
        templates=usual.templates if templates is None else tuple(templates),
        preserve_weight=preserve_weight,
        held=usual.held if preserve_prompts is None else tuple(preserve_prompts),
    )
    pairs = _checked(pairs, chosen.templates)
    phrases = [
        (Phrase.of(t, source), Phrase.of(t, target)) for source, target in pairs for t in chosen.templates
    ]
    kept = [Phrase.of(t, concept) for concept in preserve for t in chosen.templates]
    kept += [Phrase.of("{}", prompt) for prompt in chosen.held if not _names_any(prompt, pairs)]
    patches, fits, read = [], [], {}
    for place in match(pipe, chosen.site):
        reads = reading(place)
        if reads not in read:
            read = {reads: rows_of(pipe, place, phrases, kept, tokens=chosen.tokens, aim=chosen.aim)}
        factors, place_fits = _solve(place, *read[reads], pairs, chosen)
        patches.append(Patch(place.name, factors, fingerprint_of(place.linear)))
        fits += place_fits
    edit = ConceptEdit(patches, pairs, preserve=preserve, choice=chosen, fits=fits)
    for message in edit.warnings:
        warnings.warn(message, stacklevel=2)
    return edit


def _checked(pairs: Sequence[Pair], templates: Sequence[str]) -> tuple[Pair, ...]:
    if isinstance(pairs, str) or any(isinstance(pair, str) or len(pair) != 2 for pair in pairs):
        raise InputError(f"Got the pairs {pairs!r}; give a list of (source, target) like [('mug', 'duck')].")
    if not pairs or not templates:
        raise InputError(
            f"Got {len(pairs)} pairs and the templates {templates!r}; give at least one of each."
        )
    targets: dict[str, str] = {}
    for source, target in pairs:
        if targets.setdefault(source.strip().lower(), target) != target:
            raise InputError(
                f"{source!r} is sent to {targets[source.strip().lower()]!r} and to {target!r}; keep one."
            )
    return tuple((source, target) for source, target in pairs)


def _names_any(prompt: str, pairs: Sequence[Pair]) -> bool:
    return any(named(prompt, source) for source, _ in pairs)


def _solve(
    site: Site,
    rows: list[Rows],
    held: Tensor,
    pairs: Sequence[Pair],
    choice: Choice,
) -> tuple[Factors, list[Fit]]:
    """Solve one site and measure how well each pair fits; ``rows`` are the templates of each pair in turn."""
    weight = site.linear.weight.detach().double()
    keys = torch.cat([row.keys for row in rows])
    residuals = torch.cat([row.residuals(weight) for row in rows])
    importance = torch.cat([torch.ones(len(keys)), torch.full((len(held),), choice.preserve_weight)])
    solution = ridge(
        torch.cat([keys, held]),
        torch.cat([residuals, residuals.new_zeros(len(held), residuals.shape[1])]),
        choice.lam,
        importance.to(keys),
    )
    factors = Factors(*(factor.float().cpu() for factor in solution))
    left = residuals - keys @ factors.dense().to(keys).T
    values = keys @ weight.T + residuals
    each = len(rows) // len(pairs)
    counts = [sum(len(row.keys) for row in rows[n * each : (n + 1) * each]) for n in range(len(pairs))]
    split = [tensor.split(counts) for tensor in (residuals, left, values)]
    fits = []
    for (source, target), before, after, value in zip(pairs, *split, strict=True):
        size = value.norm().clamp_min(1e-30)
        fits.append(Fit(source, target, site.name, float(before.norm() / size), float(after.norm() / size)))
    return factors, fits
