"""Concepts rewritten in closed form: what a model says about one word becomes what it says about another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from diffwright.concepts.choice import Choice, choose
from diffwright.concepts.concept_edit import ConceptEdit
from diffwright.concepts.crowding import Crowding, crowding
from diffwright.concepts.fits import Fit
from diffwright.concepts.keys import Rows, reading, rows_of
from diffwright.concepts.modes import HOLDING, Prices, frame_of, solve
from diffwright.concepts.patch import Patch, fingerprint_of
from diffwright.concepts.phrase import Phrase
from diffwright.concepts.rewrite import Rewrite, rewrites
from diffwright.concepts.solve import Factors
from diffwright.core.errors import InputError
from diffwright.diffusion.backbones import require
from diffwright.diffusion.prompts import named
from diffwright.diffusion.sites import Site, match

__all__ = ["ConceptEdit", "Rewrite", "edit_concepts"]

Pair = tuple[str, str]


def edit_concepts(
    pipe: Any,
    pairs: Sequence[Rewrite | Pair],
    preserve: Sequence[str] = (),
    *,
    preserve_prompts: Sequence[str] | None = None,
    mode: str | None = None,
    site: str | Sequence[str] | None = None,
    lam: float | None = None,
    templates: Sequence[str] | None = None,
    tokens: str | None = None,
    aim: str | None = None,
    preserve_weight: float = 1.0,
    null_threshold: float | None = None,
    average: bool = False,
) -> ConceptEdit:
    """Compute the edit that turns each source concept into its target; the pipeline is not changed yet.

    Each linear site is solved once for all concepts and templates: its outputs at the source become its outputs
    at the target, those at preserved concepts stay, and the weight moves as little as possible. Several sites
    are each solved on the unedited model. An edit is no security measure: other words can bring a concept
    back.

    Args:
        pipe: a pipeline of a layout that supports ``fix``.
        pairs: (source, target) concepts, such as ``("mug", "duck")``, or ``Rewrite.erase("mug")``,
            ``Rewrite.fact("president of france", "duck")``, ``Rewrite.debias("doctor", ["man", "woman"])``.
        preserve: concepts whose meaning must stay; they are put into the templates, whose words are held too.
        preserve_prompts: whole prompts that must be read as before; those that name a source are left out.
        mode: how the rest is held: ``ridge`` moves the weight little and holds nothing, as in the paper;
            ``preserve`` holds each preserved row; ``covariance`` holds their mean square; ``null-space`` changes
            nothing along the directions that they use; ``legacy`` is the paper's released code, its doubled bias
            included. Without a word, ``preserve`` where something is to be held, else ``ridge``.
        site: one or several site names or patterns with ``*``: a linear part of a text layer, or ``k`` and
            ``v`` of UNet cross-attentions. For this and the next four, None takes the default of the layout:
            the paper's settings, the attention output of each text encoder's layer 0.
        lam: ridge strength, from 1e-12 to 1e12.
        templates: prompts with ``{}`` where the concept goes; it may stand anywhere.
        tokens: which positions are rewritten: ``last``, ``span`` (all of the concept's), ``last+eos`` or
            ``last+eos+pad``.
        aim: ``output`` wants the target's output of the site, as in the paper; ``stream`` wants the target's
            residual stream after it (``attn.out`` and ``mlp.out`` of text layers only).
        preserve_weight: importance of a preserved row against an edited one, above 0; with ``covariance``, of
            all of them together.
        null_threshold: with ``null-space``, directions below this part of the strongest one count as unused.
        average: fit the mean of a concept's templates in place of each, for hundreds of concepts.

    Returns:
        The edit, with ``apply``, ``revert``, ``report``, ``save``, ``export_lora`` and ``fits``.

    Raises:
        InputError: a pair or template is empty, pairs contradict each other, a site reads no text, or the mode
            does not go with what is to be held.
        ConfigError: a setting is out of range.
        UnsupportedBackbone: the layout is not supported, or adapters are in the way.

    Reference:
        Basu et al., Localizing and Editing Knowledge in Text-to-Image Generative Models, ICLR 2024.
    """
    asked = rewrites(pairs)
    chosen = choose(
        require(pipe, "fix").layout,
        mode,
        named=bool(preserve or preserve_prompts),
        facts=any(rewrite.parts() for rewrite in asked),
        site=None if site is None else (site,) if isinstance(site, str) else tuple(site),
        lam=lam,
        templates=None if templates is None else tuple(templates),
        tokens=tokens,
        aim=aim,
        held=None if preserve_prompts is None else tuple(preserve_prompts),
        preserve_weight=preserve_weight,
        null_threshold=null_threshold,
        average=average,
    )
    if not chosen.site:
        raise InputError("Got no site; give the name of at least one layer, or leave it out.")
    if not chosen.templates:
        raise InputError("Got no templates; give at least one prompt with {}.")
    patches, fits, crowds, read = [], [], [], {}
    for place in match(pipe, chosen.site):
        reads = reading(place)
        if reads not in read:
            read[reads] = _Reading.of(pipe, place, asked, preserve, chosen)
            crowds.append(read[reads].crowding(place.name))
        factors, place_fits = read[reads].solve(place)
        patches.append(Patch(place.name, factors, fingerprint_of(place.linear), place.path))
        fits += place_fits
    edit = ConceptEdit(patches, asked, preserve=preserve, choice=chosen, fits=fits, crowding=crowds)
    for message in edit.warnings:
        warnings.warn(message, stacklevel=2)
    return edit


@dataclass(frozen=True)
class _Reading:
    """What all sites that read the same text see.

    Attributes:
        asked: the rewrites.
        rows: for each of them, what each template asks for.
        kept: by preserved concept, its mean key (I,).
        frame: prices of the input directions.
        choice: the settings.
    """

    asked: Sequence[Rewrite]
    rows: list[list[Rows]]
    kept: dict[str, Tensor]
    frame: Prices
    choice: Choice

    @classmethod
    def of(
        cls, pipe: Any, place: Site, asked: Sequence[Rewrite], preserve: Sequence[str], choice: Choice
    ) -> _Reading:
        phrases = [
            (Phrase.of(template, rewrite.source), target)
            for rewrite in asked
            for template in choice.templates
            for target in rewrite.wanted(template)
        ]
        kept = _kept(asked, preserve) if choice.mode in HOLDING else []
        still = [Phrase.of(template, concept) for concept in kept for template in choice.templates]
        held = [Phrase.of("{}", prompt) for prompt in choice.held if not _names_any(prompt, asked)]
        found, keys = rows_of(
            pipe,
            place,
            [*phrases, *((phrase, phrase) for phrase in still)],
            [*still, *held],
            tokens=choice.tokens,
            aim=choice.aim,
        )
        each = iter(found)
        rows = [
            [Rows.mixture(list(islice(each, len(r.targets))), r.shares) for _ in choice.templates]
            for r in asked
        ]
        means = {
            concept: torch.cat([row.keys for row in islice(each, len(choice.templates))]).mean(0)
            for concept in kept
        }
        frame = frame_of(
            choice.mode,
            keys,
            lam=choice.lam,
            weight=choice.preserve_weight,
            null_threshold=choice.null_threshold,
        )
        return cls(asked, rows, means, frame, choice)

    def crowding(self, site: str) -> Crowding:
        means = [torch.cat([row.keys for row in rows]).mean(0) for rows in self.rows]
        names = [(rewrite.source, rewrite.target) for rewrite in self.asked]
        keys = torch.stack([*means, *self.kept.values()])
        return crowding(site, self.frame, keys, [*names, *((concept, None) for concept in self.kept)])

    def solve(self, site: Site) -> tuple[Factors, list[Fit]]:
        """Solve one site and measure how well each concept fits."""
        weight = site.linear.weight.detach().double()
        asked = [[Rows.mean(rows)] for rows in self.rows] if self.choice.average else self.rows
        factors = solve(self.frame, *self._problem(asked, weight, site))
        factors = Factors(*(factor.float().cpu() for factor in factors))
        keys, residuals = self._problem(self.rows, weight, site)
        left = residuals - keys @ factors.down.to(keys).T @ factors.up.to(keys).T
        values = keys @ weight.T + residuals
        counts = [sum(len(row.keys) for row in rows) for rows in self.rows]
        norms = [
            [float(part.norm()) for part in tensor.split(counts)] for tensor in (residuals, left, values)
        ]
        fits = []
        for rewrite, before, after, size in zip(self.asked, *norms, strict=True):
            size = max(size, 1e-30)
            fits.append(Fit(rewrite.source, rewrite.target, site.name, before / size, after / size))
        return factors, fits

    def _problem(self, rows: list[list[Rows]], weight: Tensor, site: Site) -> tuple[Tensor, Tensor]:
        """Stack keys (N, I) and what must be added to the outputs there (N, O)."""
        flat = Rows(*map(torch.cat, zip(*(row for each in rows for row in each), strict=True)))
        residuals = flat.residuals(weight)
        if self.choice.mode == "legacy" and site.linear.bias is not None:
            residuals = residuals + site.linear.bias.detach().double()
        return flat.keys, residuals


def _kept(asked: Sequence[Rewrite], preserve: Sequence[str]) -> list[str]:
    """Gather concepts to hold: those the caller names, and the words of facts that are not rewritten themselves."""
    if isinstance(preserve, str):
        raise InputError(f"preserve is the text {preserve!r}; give a list of concepts like [{preserve!r}].")
    sources = {" ".join(rewrite.source.lower().split()) for rewrite in asked}
    parts = [part for rewrite in asked for part in rewrite.parts() if part.lower() not in sources]
    return list(dict.fromkeys([*preserve, *parts]))


def _names_any(prompt: str, asked: Sequence[Rewrite]) -> bool:
    return any(named(prompt, rewrite.source) for rewrite in asked)
