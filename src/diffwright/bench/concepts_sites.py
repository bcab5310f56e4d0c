"""Whether the place where a trace finds a concept is the place where an edit of it works: localise, then edit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from diffwright.bench.harness import Figure
from diffwright.concepts.judged import Change, Gallery
from diffwright.concepts.probes import probes, words_of
from diffwright.concepts.recommend import DRIFT, Effects, effect_of
from diffwright.concepts.sweep import candidates, sweep
from diffwright.core.errors import JobFailed
from diffwright.core.progress import report
from diffwright.metrics.judge import Judge
from diffwright.metrics.statistics import bootstrap_interval, spearman
from diffwright.tracing.scores import JudgeScore
from diffwright.tracing.trace import causal_trace
from diffwright.tracing.unet import Sampling

SEEDS = (11, 12, 13)
PROMPTS = 2


def figures(
    gallery: Gallery, changes: Sequence[Change], *, prompts: int = PROMPTS, seeds: Sequence[int] = SEEDS
) -> dict[str, Figure]:
    """Compare, change by change, the trace effect of each site with what edits there reach at a fixed drift.

    Args:
        gallery: its pipeline is traced and edited, its judge looks at the traced pictures.
        changes: development changes.
        prompts: traced for the source of each.
        seeds: of each prompt.

    Returns:
        ``site_rank_correlation``, with ``site_rank_correlation_depth`` (of efficacy and shallowness) as the control;
        both pooled, over the means of all changes; and ``site_agreement``, how often the strongest site of the trace
        is the one whose edits recover most.
    """
    found: dict[str, list[float]] = defaultdict(list)
    pooled: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for number, change in enumerate(changes):
        effects = traced(gallery, change, prompts, seeds)
        swept = sweep(gallery, [change], candidates(gallery.pipe, brief=True), finalists=0, effects=effects)
        efficacy = swept.recommended.efficacy
        rows = {site: (_known(site, effects), value, _shallow(site)) for site, value in efficacy.items()}
        for site, row in rows.items():
            pooled[site].append(row)
        effect, reached, shallow = np.array(list(rows.values())).T
        found["traced"].append(spearman(effect, reached))
        found["depth"].append(spearman(shallow, reached))
        found["agree"].append(float(effect.argmax() == reached.argmax()))
        report(gallery.progress, "trace and sweep", number + 1, len(changes))
    effect, reached, shallow = np.array([np.mean(rows, axis=0) for rows in pooled.values()]).T
    best = max(pooled, key=lambda site: float(np.mean([row[1] for row in pooled[site]])))
    strongest = max(pooled, key=lambda site: float(np.mean([row[0] for row in pooled[site]])))
    what = f"{len(pooled)} sites, recovery at drift {DRIFT:g}, {prompts} prompts x {len(seeds)} seeds traced"
    return {
        "site_rank_correlation": _mean(found["traced"], what),
        "site_rank_correlation_depth": _mean(found["depth"], "control: of efficacy and how early a layer is"),
        "site_rank_correlation_pooled": Figure(
            spearman(effect, reached),
            "",
            "higher",
            f"means over {len(changes)} changes; trace: {strongest}, edits: {best}",
        ),
        "site_rank_correlation_depth_pooled": Figure(spearman(shallow, reached), "", "higher", "control"),
        "site_agreement": _mean(found["agree"], "both name the same site"),
    }


def traced(gallery: Gallery, change: Change, prompts: int, seeds: Sequence[int]) -> Effects:
    """Trace the source of a change: the judge's mean effect of each site, at its best token."""
    judge = gallery.judge
    if not isinstance(judge, Judge):
        raise JobFailed("Traced pictures are judged, but the gallery has no judge; give it one.")
    found: dict[str, list[float]] = defaultdict(list)
    for probe in probes(change.attribute, change.source, 1, "train")[:prompts]:
        result = causal_trace(
            gallery.pipe,
            probe.prompt,
            words_of(change.attribute, change.source),
            components=("attn", "mlp", "attn2"),
            tokens="subject",
            seeds=seeds,
            metrics=("pictures",),
            scorers=[JudgeScore(judge, {change.attribute: change.source})],
            sampling=Sampling(steps=gallery.steps, half=gallery.half),
        )
        for site, effect in result.by_site(metric="judge", recovery=False).items():
            found[site].append(effect)
    return {site: float(np.mean(values)) for site, values in found.items()}


def _known(site: str, effects: Effects) -> float:
    effect = effect_of(site, effects)
    if effect is None:
        raise JobFailed(f"{site} was swept but not traced; mend the bench.")
    return effect


def _shallow(site: str) -> float:
    """How early a site comes: the first layer's before the last's, the UNet after all."""
    parts = site.split(".")
    return -float(parts[1]) if parts[0].startswith("te") else -99.0


def _mean(values: Sequence[float], what: str) -> Figure:
    known = [value for value in values if np.isfinite(value)]
    interval = bootstrap_interval(known)
    note = f"95 % interval {interval.low:.2f} to {interval.high:.2f} over {len(known)} changes; {what}"
    return Figure(interval.value, "", "higher", note)
