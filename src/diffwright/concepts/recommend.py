"""Which site to edit and why: from what a sweep measured, or from where a trace found the knowledge."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

from diffwright.concepts.choice import Choice, default_choice
from diffwright.concepts.judged import Summary
from diffwright.core.errors import InputError
from diffwright.diffusion.backbones import require
from diffwright.diffusion.sites import sites
from diffwright.metrics.statistics import spearman

DRIFT = 0.1
"""Where sites are compared: unrelated predictions move by a tenth of the distance of source and target."""
_LINEAR = {"attn": ("attn.out",), "mlp": ("mlp.out",), "attn2": ("k", "v")}
Effects = Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """One candidate of a sweep.

    Attributes:
        choice: the settings.
        recovery: how far the denoiser's prediction at the source moves to the target's; 1 is all the way.
        drift: how far its prediction at other prompts moves, relative to the distance of source and target.
        judged: what pictures say; None for candidates that were only screened.
    """

    choice: Choice
    recovery: float
    drift: float
    judged: Summary | None = None

    @property
    def score(self) -> float:
        """What candidates are ranked by: judged efficacy less the worst fall, or recovery less drift."""
        if self.judged is None:
            return self.recovery - self.drift
        return self.judged.efficacy - self.judged.unrelated_drop


@dataclass(frozen=True)
class Recommendation:
    """A site and the reason for it.

    Attributes:
        choice: the settings that are recommended.
        reason: one or two sentences.
        efficacy: by site, the recovery that its best settings reach at fixed drift; empty without a sweep.
        correlation: Spearman's rank correlation of effects and efficacy over the sites that have both; None where
            they are fewer than three, or one of them is constant.
        place: rank of the recommended site among the effects, 1 is the strongest; None without effects.
    """

    choice: Choice
    reason: str
    efficacy: Mapping[str, float] = field(default_factory=dict)
    correlation: float | None = None
    place: int | None = None


def recommend(rows: Sequence[Row], effects: Effects | None = None, *, drift: float = DRIFT) -> Recommendation:
    """Recommend the site whose edits recover most at a fixed drift, and compare with where a trace points.

    Args:
        rows: what a sweep measured, at least one.
        effects: a trace's effect of each site (``te.0.attn``, ``te.3.mlp``, ``unet.up.1.attn2.0``), if there is one.
        drift: at which sites are compared, relative to the distance of source and target.

    Raises:
        InputError: there are no rows.
    """
    if not rows:
        raise InputError("There is nothing to recommend from; sweep at least one candidate.")
    efficacy, best = {}, {}
    for name, curves in _by_site(rows).items():
        scores = [(recovery_at(curve, drift), curve) for curve in curves]
        efficacy[name], curve = max(scores, key=lambda score: score[0])
        best[name] = _gentlest(curve, drift).choice
    name = max(efficacy, key=efficacy.__getitem__)
    reason = f"{name} recovers {efficacy[name]:.2f} of the way at drift {drift:g}, the most of {len(efficacy)} sites."
    if not effects:
        return Recommendation(best[name], reason, efficacy)
    shared = {site: effect for site in efficacy if (effect := effect_of(site, effects)) is not None}
    correlation = _correlation([shared[s] for s in shared], [efficacy[s] for s in shared])
    place = 1 + sum(other > shared[name] for other in shared.values()) if name in shared else None
    told = "nothing can be said" if correlation is None else f"rank correlation {correlation:+.2f}"
    reason += f" Of trace effect and edit efficacy over {len(shared)} sites: {told}."
    if place is not None:
        reason += f" The trace ranks this site {place} of {len(shared)}."
    return Recommendation(best[name], reason, efficacy, correlation, place)


def from_effects(pipe: Any, effects: Effects) -> Recommendation:
    """Recommend the editable site where a trace found the strongest effect, without trying any edit.

    Args:
        pipe: the pipeline that was traced.
        effects: a trace's effect of each site.

    Raises:
        InputError: no effect belongs to a site that reads text.
    """
    known = {site.name for site in sites(pipe)}
    passed = []
    for name, effect in sorted(effects.items(), key=lambda item: -item[1]):
        linear = _linear_sites(name, known)
        if linear and math.isfinite(effect):
            skipped = f" ({', '.join(passed[:3])} came before it but is no such site)" if passed else ""
            reason = (
                f"{name} has the strongest effect of the trace among editable sites, {effect:.3g}{skipped}."
            )
            usual = default_choice(require(pipe, "fix").layout)
            aim = "output" if name.startswith("unet") else usual.aim
            choice = Choice(**{**vars(usual), "site": linear, "aim": aim})
            return Recommendation(choice, reason, place=1 + len(passed))
        passed.append(name)
    raise InputError(
        f"None of the {len(effects)} effects belongs to a site that can be edited; give effects of sites such as "
        "te.0.attn, te.3.mlp or unet.up.1.attn2.0."
    )


def recovery_at(curve: Sequence[Row], drift: float) -> float:
    """Interpolate the recovery that one site reaches at a drift, along its strengths.

    No edit at all is a point of every curve; a site that never drifts so far counts with the best that it reaches.

    Args:
        curve: rows that differ in ``lam`` alone.
        drift: where to read the curve.
    """
    points = sorted([(0.0, 0.0), *((row.drift, row.recovery) for row in curve)])
    best = max(recovery for moved, recovery in points if moved <= drift)
    for (low, first), (high, second) in pairwise(points):
        if low <= drift < high:
            return max(best, first + (second - first) * (drift - low) / (high - low))
    return best


def effect_of(site: str, effects: Effects) -> float | None:
    """Give the effect that belongs to a linear site: its own, its component's, or the strongest of a pattern's.

    Example:
        >>> effect_of("te.0.attn.out", {"te.0.attn": 0.5}), effect_of("te.1.mlp.out", {"te.0.attn": 0.5})
        (0.5, None)
    """
    found = [
        effect
        for name, effect in effects.items()
        for one in site.split()
        if name == one
        or one.rpartition(".")[0] == name
        or fnmatchcase(f"{name}.", f"{one.rpartition('.')[0]}.")
    ]
    return max(found, default=None)


def _by_site(rows: Sequence[Row]) -> dict[str, list[list[Row]]]:
    """Group rows by site, and each site's by all settings but the strength."""
    curves: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        curves[row.choice.site, row.choice.tokens, row.choice.aim, row.choice.mode].append(row)
    found: dict[str, list[list[Row]]] = defaultdict(list)
    for (site, *_), curve in curves.items():
        found[" ".join(site)].append(curve)
    return found


def _gentlest(curve: Sequence[Row], drift: float) -> Row:
    """Take the strength that recovers most within a drift, or else the one that drifts least."""
    within = [row for row in curve if row.drift <= drift]
    return max(within, key=lambda row: row.recovery) if within else min(curve, key=lambda row: row.drift)


def _correlation(first: list[float], second: list[float]) -> float | None:
    if len(first) < 3:
        return None
    value = spearman(first, second)
    return value if math.isfinite(value) else None


def _linear_sites(name: str, known: set[str]) -> tuple[str, ...]:
    """Name the linear sites of a traced component that can be edited; none where it reads no text."""
    parts = name.split(".")
    if parts[0] == "unet":
        found = [f"{name}.{part}" for part in _LINEAR["attn2"]] if "attn2" in parts[:4] else []
    else:
        found = [".".join([*parts[:2], part]) for part in _LINEAR.get(".".join(parts[2:3]), ())]
    return tuple(found) if found and set(found) <= known else ()
