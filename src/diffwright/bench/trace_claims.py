"""The paper's claims about where knowledge sits, tested on ``pocket`` by the judge, with two controls.

A sample is a prompt and a seed. It counts when the clean picture shows what the prompt says and the noise takes
it away; only such samples are traced. Shares are those of all positive effects, so N states that do equally
much have 1/N each. Controls: noise on a word that is not the subject, and the same model at random weights. They
are measured by distance to the clean run, because a judge sees nothing in what a random model paints; the twins
of the trained model's figures by distance stand beside them.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffwright.bench.harness import Figure
from diffwright.bench.trace_prompts import CASES, NOISE, SEEDS, STEPS, Case
from diffwright.bench.trace_tables import pooled, write_tables
from diffwright.core.progress import Progress, report
from diffwright.metrics.judge import Judge
from diffwright.metrics.statistics import bootstrap_interval, spearman
from diffwright.tracing.corruption import read
from diffwright.tracing.effects import effective_number, jaccard, positive_shares, role, top_set
from diffwright.tracing.job import Job
from diffwright.tracing.result import TraceResult
from diffwright.tracing.resume import Pieces
from diffwright.tracing.scores import JudgeScore
from diffwright.tracing.states import BRANCH, UNET_KINDS, State
from diffwright.tracing.text import run_of
from diffwright.tracing.trace import causal_trace
from diffwright.tracing.unet import Sampling

LEAST_CLEAN = 0.5
"""Probability of the stated value that the clean picture needs."""
LEAST_LOSS = 0.2
"""How much of it the noise must take away."""
TEXT = ("attn", "mlp")
UNET = (*UNET_KINDS, BRANCH)


@dataclass(frozen=True)
class Plan:
    """How much is traced.

    Attributes:
        cases: prompts.
        seeds: of each prompt.
        random_cases: prompts traced in the UNet at random weights, one seed each.
        sampling: how pictures are painted.
    """

    cases: tuple[Case, ...] = CASES
    seeds: tuple[int, ...] = SEEDS
    random_cases: tuple[Case, ...] = CASES[::4]
    sampling: Sampling = field(default_factory=lambda: Sampling(steps=STEPS, half=True))


def quick_plan() -> Plan:
    """One prompt an attribute, one seed, few steps: whether it runs, not what is true."""
    few = tuple({case.attribute: case for case in CASES}.values())
    return Plan(few, SEEDS[:1], few[:1], Sampling(steps=4, half=True))


def figures(
    pipe: Any, judge: Judge, plan: Plan, progress: Progress | None = None, tables: Path | None = None
) -> dict[str, Figure]:
    """Test the claims.

    Args:
        pipe: the model under trace.
        judge: reads its pictures.
        plan: how much is traced.
        progress: is told the samples done; may cancel.
        tables: folder for the pooled effects and their pictures.

    Returns:
        The figures; those by the judge are left out where no sample loses anything.
    """
    tell = _Teller(progress, 2 * len(plan.cases) + len(plan.random_cases))
    losses = {case: _losses(pipe, judge, case, plan, case.subject) for case in tell.each(plan.cases)}
    others = [
        loss for case in plan.cases for _, loss in _losses(pipe, judge, case, plan, case.other).values()
    ]
    results = []
    for case in tell.each(plan.cases):
        seeds = [
            seed
            for seed, (clean, loss) in losses[case].items()
            if clean >= LEAST_CLEAN and loss >= LEAST_LOSS
        ]
        if seeds:
            results.append((case, _traced(pipe, judge, case, seeds, plan)))
    twin = random_twin(pipe)
    painted = [_distances(twin, case, plan, case.subject) for case in tell.each(plan.random_cases)]
    found = _samples(
        pipe, plan, results, [loss for case in losses.values() for _, loss in case.values()], others
    )
    if results:
        found |= text_figures([result for _, result in results], "judge")
        found |= unet_figures(results, "judge")
        found |= {f"{name}_latent": figure for name, figure in unet_figures(results, "latent").items()}
        found |= _correlation([result for _, result in results])
    traced = [(case.attribute, result) for case, result in results]
    rows = [row for part in ("text", "unet") for row in pooled("subject", traced, part, "judge")]
    for name, model, word in (
        ("embedding", pipe, "subject"),
        ("other", pipe, "other"),
        ("random", twin, "subject"),
    ):
        screened = [_embedded(model, case, getattr(case, word), plan) for case in plan.cases]
        found |= {f"{key}_{name}": f for key, f in text_figures(screened, "embedding").items()}
        attributes = [case.attribute for case in plan.cases]
        arm = "subject" if name == "embedding" else name
        rows += pooled(arm, zip(attributes, screened, strict=True), "text", "embedding")
    cases = list(zip(plan.random_cases, painted, strict=True))
    found |= {f"{name}_random": figure for name, figure in unet_figures(cases, "latent").items()}
    rows += pooled("random", ((case.attribute, result) for case, result in cases), "unet", "latent")
    if tables is not None:
        write_tables(tables, rows)
    return found


def other_word(pipe: Any, plan: Plan, progress: Progress | None = None) -> dict[str, Figure]:
    """Measure the UNet's figures where the noise drowns a word that is not the subject.

    Args:
        pipe: the model under trace.
        plan: its ``random_cases`` are traced.
        progress: is told the prompts done; may cancel.

    Returns:
        Those of ``unet_figures`` by distance of the latents, with ``_other`` and, for the subject of the same
        prompts, ``_same_prompts``.
    """
    found: dict[str, Figure] = {}
    tell = _Teller(progress, 2 * len(plan.random_cases))
    for name in ("other", "subject"):
        traced = [
            (case, _distances(pipe, case, plan, getattr(case, name))) for case in tell.each(plan.random_cases)
        ]
        suffix = "other" if name == "other" else "same_prompts"
        found |= {f"{key}_{suffix}": figure for key, figure in unet_figures(traced, "latent").items()}
    return found


def text_figures(results: Sequence[TraceResult], metric: str) -> dict[str, Figure]:
    """Sum up where the text encoder's effect lies, prompt by prompt.

    Args:
        results: traces of the attention and MLP states.
        metric: by which effects are measured.

    Returns:
        ``te_attn0_last_share``, of attention in layer 0 at the last subject token; ``te_attn0_share``, of attention
        in layer 0 at any token; ``te_mid_mlp_share``, of the
        MLPs in the middle third of the layers there; ``te_top1_rate``, how often the former is the strongest of
        all states; ``te_effective_states``, how many states carry the effect.
    """
    rows: dict[str, list[float]] = defaultdict(list)
    for result in results:
        trace = result.traces["text"]
        effects = trace.scores[metric].mean
        shares = positive_shares(effects)
        if not shares.any():
            continue
        depth = 1 + max(state.layer for state in trace.states)
        last = [_role(result, state) == "last subject" for state in trace.states]
        layer0 = [s.kind == "attn" and s.layer == 0 for s in trace.states]
        first = [at and begins for at, begins in zip(last, layer0, strict=True)]
        middle = [
            at and s.kind == "mlp" and depth / 3 <= s.layer < 2 * depth / 3
            for at, s in zip(last, trace.states, strict=True)
        ]
        rows["te_attn0_last_share"].append(float(shares[first].sum()))
        rows["te_attn0_share"].append(float(shares[layer0].sum()))
        rows["te_mid_mlp_share"].append(float(shares[middle].sum()))
        rows["te_top1_rate"].append(float(first[int(effects.argmax())]))
        rows["te_effective_states"].append(effective_number(effects))
    better = {"te_effective_states": "lower"}
    return {
        name: _mean(values, "prompts", "lower" if name in better else "higher")
        for name, values in rows.items()
    }


def unet_figures(results: Sequence[tuple[Case, TraceResult]], metric: str) -> dict[str, Figure]:
    """Sum up where the UNet's effect lies, attribute by attribute.

    Args:
        results: traces of the UNet's layers and resnet branches.
        metric: by which effects are measured.

    Returns:
        ``unet_effective_sites``, the exponential of the entropy of the positive effects over the layers;
        ``unet_set_jaccard``, the overlap of the strongest tenth between attributes, and ``..._same`` between
        halves of the prompts of one attribute, with the ``..._gap`` of both; ``unet_cross_attention_share``,
        and ``..._branch`` with the resnets' own contributions in place of their whole outputs.
    """
    states = results[0][1].traces["unet"].states
    whole = np.array([state.kind != BRANCH for state in states])
    branch = np.array([state.kind not in ("resnet", "down", "up") for state in states])
    cross = np.array([state.kind == "attn2" for state in states])
    groups: dict[str, list[np.ndarray]] = defaultdict(list)
    for case, result in results:
        groups[case.attribute].append(result.traces["unet"].scores[metric].mean)
    means = {attribute: np.mean(effects, axis=0) for attribute, effects in groups.items()}
    count = f"attributes, {whole.sum()} layers"
    found = {
        "unet_effective_sites": _mean((effective_number(m[whole]) for m in means.values()), count),
        "unet_cross_attention_share": _mean(
            (positive_shares(m[whole])[cross[whole]].sum() for m in means.values()), count, "lower"
        ),
        "unet_cross_attention_share_branch": _mean(
            (positive_shares(m[branch])[cross[branch]].sum() for m in means.values()),
            "attributes, resnets without their skip connection",
            "lower",
        ),
    }
    tops = {attribute: top_set(m[whole]) for attribute, m in means.items()}
    halves = [
        jaccard(*(top_set(np.mean(effects[start::2], axis=0)[whole]) for start in (0, 1)))
        for effects in groups.values()
        if len(effects) > 1
    ]
    if len(tops) > 1 and halves:
        between = [jaccard(tops[a], tops[b]) for a, b in combinations(tops, 2)]
        found["unet_set_jaccard"] = _mean(between, "pairs of attributes", "lower")
        found["unet_set_jaccard_same"] = _mean(halves, "attributes, halves of their prompts")
        gap = float(np.mean(halves) - np.mean(between))
        found["unet_set_jaccard_gap"] = Figure(gap, "", "higher", "same attribute minus different ones")
    return found


def random_twin(pipe: Any) -> Any:
    """Give a pipeline of the same shapes whose text encoder and UNet have random weights, equal each time."""
    twin = copy.copy(pipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = type(pipe.text_encoder)(pipe.text_encoder.config).eval()
        unet = type(pipe.unet).from_config(pipe.unet.config).eval()
    twin.register_modules(text_encoder=encoder.to(pipe.device), unet=unet.to(pipe.device))
    return twin


def _losses(pipe: Any, judge: Judge, case: Case, plan: Plan, words: str) -> dict[int, tuple[float, float]]:
    """Paint clean and corrupted: for each seed the stated value's probability, and what the noise takes of it."""
    readings = read(pipe, case.prompt, words)
    scorer = JudgeScore(judge, {case.attribute: case.value})
    job = Job(
        pipe,
        readings,
        [run_of(reading) for reading in readings],
        {"unet": []},
        NOISE,
        ("pictures",),
        (scorer,),
        plan.sampling,
        Pieces(None, {}),
    )
    rows = [scored["judge"] for scored in job.scores(plan.seeds)["unet"]]
    return {seed: (row[0], row[0] - row[1]) for seed, row in zip(plan.seeds, rows, strict=True)}


def _traced(pipe: Any, judge: Judge, case: Case, seeds: Sequence[int], plan: Plan) -> TraceResult:
    return causal_trace(
        pipe,
        case.prompt,
        case.subject,
        components=(*TEXT, *UNET),
        noise=NOISE,
        seeds=seeds,
        metrics=("embedding", "pictures"),
        scorers=[JudgeScore(judge, {case.attribute: case.value})],
        sampling=plan.sampling,
    )


def _distances(pipe: Any, case: Case, plan: Plan, words: str) -> TraceResult:
    return causal_trace(
        pipe,
        case.prompt,
        words,
        components=UNET,
        parts=("unet",),
        noise=NOISE,
        seeds=plan.seeds[:1],
        metrics=("pictures",),
        sampling=plan.sampling,
    )


def _embedded(pipe: Any, case: Case, words: str, plan: Plan) -> TraceResult:
    return causal_trace(
        pipe,
        case.prompt,
        words,
        components=TEXT,
        parts=("text",),
        noise=NOISE,
        seeds=plan.seeds,
        metrics=("embedding",),
    )


def _samples(
    pipe: Any,
    plan: Plan,
    results: Sequence[tuple[Case, TraceResult]],
    losses: Sequence[float],
    others: Sequence[float],
) -> dict[str, Figure]:
    """Say how many samples count, and what the noise takes away on the subject and on another word."""
    many = [read(pipe, case.prompt, case.subject)[0].span for case in plan.cases]
    per = dict.fromkeys((case.attribute for case in plan.cases), 0)
    for case, result in results:
        per[case.attribute] += len(result.seeds)
    traced = sum(per.values())
    listed = ", ".join(f"{count} {attribute}" for attribute, count in per.items())
    return {
        "trace_informative_share": Figure(
            traced / (len(plan.cases) * len(plan.seeds)), "", "higher", f"samples that count: {listed}"
        ),
        "trace_multi_token_share": Figure(
            float(np.mean([last > first for first, last in many])),
            "",
            "higher",
            "prompts with subjects of several tokens",
        ),
        "te_total_effect": _mean(losses, "samples, probability of the stated value"),
        "te_total_effect_other": _mean(others, "samples, control: noise on another word", "lower"),
    }


def _correlation(results: Sequence[TraceResult]) -> dict[str, Figure]:
    """Compare the ranks of text states by the cheap embedding recovery and by the judge."""
    values = []
    for result in results:
        scores = result.traces["text"].scores
        values.append(spearman(scores["embedding"].mean, scores["judge"].mean))
    known = [value for value in values if np.isfinite(value)]
    return {"te_embedding_judge_rank_correlation": _mean(known, "prompts")} if known else {}


def _role(result: TraceResult, state: State) -> str:
    prefix = state.site.split(".")[0]
    return role(state, result.spans[prefix], len(result.tokens[prefix]) - 1)


def _mean(values: Iterable[Any], what: str, better: str = "higher") -> Figure:
    listed = [float(value) for value in values]
    found = bootstrap_interval(listed)
    note = f"95 % interval {found.low:.3f} to {found.high:.3f} over {len(listed)} {what}"
    return Figure(found.value, "", "lower" if better == "lower" else "higher", note)


class _Teller:
    """Counts the prompts of all stages as one progress."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def each(self, cases: Sequence[Case]) -> Iterable[Case]:
        for case in cases:
            yield case
            self.done += 1
            report(self.progress, "tracing claims", self.done, self.total)
