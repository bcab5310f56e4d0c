"""``causal_trace``: where a text-to-image model keeps what a word of the prompt says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from typing import Any

import numpy as np

from diffwright.core.checks import one_of, text, whole
from diffwright.core.errors import ConfigError
from diffwright.core.progress import Progress
from diffwright.core.results import Stopwatch
from diffwright.tracing.corruption import Reading, read
from diffwright.tracing.effects import Scores, strongest
from diffwright.tracing.job import Job
from diffwright.tracing.result import Trace, TraceResult, figures_of
from diffwright.tracing.resume import Pieces
from diffwright.tracing.scores import PictureScore, Scored
from diffwright.tracing.states import BRANCH, TEXT_KINDS, UNET_KINDS, State, text_states, unet_states
from diffwright.tracing.text import Run, check_conventions, run_of
from diffwright.tracing.unet import Sampling
from diffwright.weights.fingerprint import fingerprint

PARTS = ("text", "unet")
METRICS = ("embedding", "denoiser", "pictures")
MAX_SEED = 2**62


def causal_trace(
    pipe: Any,
    prompt: str,
    subject: str,
    *,
    parts: Sequence[str] = PARTS,
    components: Sequence[str] | None = None,
    window: int = 1,
    tokens: str = "prompt",
    noise: float = 3.0,
    seeds: Sequence[int] = (0, 1),
    metrics: Sequence[str] = METRICS,
    scorers: Sequence[PictureScore] = (),
    sampling: Sampling | None = None,
    screen: bool = False,
    resume: str | PathLike[str] | None = None,
    model: str | None = None,
    progress: Progress | None = None,
) -> TraceResult:
    """Find the states of a model that decide about the subject of a prompt.

    The subject's token embeddings get Gaussian noise, so that the model no longer knows what to show. Then one
    state at a time is put back as it was in the clean run. A state that brings the picture back holds what the
    words said. A sample is one seed, of the noise on the words and of the picture.

    Args:
        pipe: a pipeline of a layout that supports ``trace``.
        prompt: the text.
        subject: one or more words of it, whose tokens are corrupted; the first occurrence counts.
        parts: ``text`` and ``unet``, or one of them.
        components: which kinds of states: ``attn``, ``mlp``, ``block`` of the text encoders; ``resnet``,
            ``attn1`` (self-attention), ``attn2`` (cross-attention), ``ff``, ``down``, ``up`` of the UNet, and
            ``branch``, a resnet without its skip connection. All but the last without it.
        window: text layers that are restored together.
        tokens: text positions: ``subject``, ``prompt`` (from the subject to the end token) or ``all``.
        noise: multiple of the standard deviation of the subject's token embeddings.
        seeds: of the samples, each from 0 to 2^62; several give intervals.
        metrics: what is measured. ``embedding`` costs no UNet call (text only), ``denoiser`` 3 rows a state,
            ``pictures`` 2 x steps rows a state.
        scorers: look at the pictures, such as ``JudgeScore`` or ``TextImageScore`` (see ``tracing.scores``);
            distances of the latents are measured without any.
        sampling: steps, guidance, rows at once and more.
        screen: read the text encoding only up to its end token. That leaves out the padding, which the UNet
            reads too, and is several times faster; for ``parts=("text",)`` and ``metrics=("embedding",)``.
        resume: a file that keeps finished pieces, so that an interrupted trace goes on; it is left in place.
        model: fingerprint of the weights, where the caller knows it; hashing a large model takes seconds.
        progress: is told the UNet calls done; may cancel.

    Returns:
        Scores of every state, with ``table``, ``plot``, ``top`` and ``save``.

    Raises:
        InputError: the subject does not occur in the prompt, or the resume file is of another trace.
        ConfigError: an option is unknown or out of range.
        UnsupportedBackbone: the layout is not supported.

    Reference:
        Basu et al., Localizing and Editing Knowledge in Text-to-Image Generative Models, ICLR 2024.
    """
    text("prompt", prompt)
    chosen, sampling = _components(parts, components), sampling or Sampling()
    _check_metrics(metrics, scorers, chosen)
    _check_screen(screen, tokens, metrics, chosen)
    _check_seeds(seeds)
    _check_limits(sampling, metrics, chosen, window)
    readings = read(pipe, prompt, subject)
    states = _states(pipe, readings, chosen, window, tokens)
    settings = {
        "components": chosen,
        "window": window,
        "tokens": tokens,
        "noise": float(noise),
        "metrics": list(metrics),
        "scorers": [scorer.name for scorer in scorers],
        "screen": screen,
        **asdict(sampling),
        "guidance": sampling.scale(pipe),
    }
    model, watch = model or fingerprint(pipe), Stopwatch()
    pieces = Pieces(resume, {"prompt": prompt, "subject": subject, "model": model, **settings})
    with watch("trace"):
        clean = _clean_runs(pipe, prompt, readings, screen)
        job = Job(pipe, readings, clean, states, noise, metrics, scorers, sampling, pieces, progress)
        traces = {part: _trace(states[part], rows, screen) for part, rows in job.scores(seeds).items()}
    with watch("pictures"):
        best = {part: strongest(t.states, t.scores[t.metric], 1)[0].state for part, t in traces.items()}
        pictures = job.pictures(seeds[0], best) if "pictures" in metrics else {}
    return TraceResult(
        prompt=prompt,
        subject=subject,
        tokens={reading.prefix: reading.tokens for reading in readings},
        spans={reading.prefix: reading.span for reading in readings},
        traces=traces,
        settings=settings,
        images=list(pictures.values()),
        names=list(pictures),
        figures={**figures_of(traces), "unet_rows": job.unet_rows},
        warnings=[*_warnings(traces), *_unheard(sampling, metrics)],
        timings=watch.timings,
        seeds=list(seeds),
        model=model,
    )


def _states(
    pipe: Any, readings: Sequence[Reading], chosen: Mapping[str, Sequence[str]], window: int, tokens: str
) -> dict[str, list[State]]:
    listed = {
        "text": lambda kinds: text_states(readings, kinds, window, tokens),
        "unet": lambda kinds: unet_states(pipe, kinds),
    }
    return {part: listed[part](kinds) for part, kinds in chosen.items()}


def _clean_runs(pipe: Any, prompt: str, readings: Sequence[Reading], screen: bool) -> list[Run]:
    runs = [run_of(reading) for reading in readings]
    check_conventions(pipe, prompt, readings, runs)
    length = max(reading.end for reading in readings) + 1
    return [run.cut(length) for run in runs] if screen else runs


def _components(parts: Sequence[str], components: Sequence[str] | None) -> dict[str, list[str]]:
    """Sort the wanted kinds of states by part; a part of which no kind is wanted is left out."""
    if not parts or isinstance(parts, str):
        raise ConfigError(f"parts is {parts!r}; give a list of 'text' and 'unet'.")
    known = {"text": TEXT_KINDS, "unet": (*UNET_KINDS, BRANCH)}
    for part in parts:
        one_of("part", part, PARTS)
    for kind in components or ():
        one_of("component", kind, [kind for part in parts for kind in known[part]])
    if components is None:
        return {part: list(TEXT_KINDS if part == "text" else UNET_KINDS) for part in dict.fromkeys(parts)}
    wanted = {part: [kind for kind in known[part] if kind in components] for part in dict.fromkeys(parts)}
    return {part: kinds for part, kinds in wanted.items() if kinds}


def _check_metrics(
    metrics: Sequence[str], scorers: Sequence[PictureScore], chosen: Mapping[str, Sequence[str]]
) -> None:
    if not metrics or isinstance(metrics, str):
        raise ConfigError(f"metrics is {metrics!r}; give a list of {', '.join(METRICS)}.")
    for metric in metrics:
        one_of("metric", metric, METRICS)
    if "unet" in chosen and not {"denoiser", "pictures"} & set(metrics):
        raise ConfigError("The UNet was to be traced by the text embedding alone; add denoiser or pictures.")
    if scorers and "pictures" not in metrics:
        raise ConfigError("Scorers look at pictures, but none are painted; add the metric pictures.")


def _check_screen(
    screen: bool, tokens: str, metrics: Sequence[str], chosen: Mapping[str, Sequence[str]]
) -> None:
    if screen and (tokens == "all" or list(metrics) != ["embedding"] or list(chosen) != ["text"]):
        raise ConfigError(
            "screen reads no padding, so it works for parts=('text',), metrics=('embedding',) and tokens "
            "'subject' or 'prompt' only; leave it out."
        )


def _check_limits(
    sampling: Sampling, metrics: Sequence[str], chosen: Mapping[str, Sequence[str]], window: int
) -> None:
    """Refuse settings that nothing would obey."""
    narrowed = sampling.between is not None or sampling.branches != "both"
    if narrowed and ("pictures" not in metrics or "unet" not in chosen):
        raise ConfigError(
            "between and branches narrow the UNet layers that pictures are painted with; trace the UNet and add the "
            "metric pictures, or leave them out."
        )
    if window != 1 and "text" not in chosen:
        raise ConfigError(f"window is {window}, but windows are of text layers and no text was to be traced.")


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds is {list(seeds)}; give at least one, each of them once.")
    for seed in seeds:
        whole("seed", seed, 0, MAX_SEED)


def _trace(states: Sequence[State], rows: Sequence[Scored], screen: bool) -> Trace:
    """Gather the scores of all samples; without the padding there is no score over all positions."""
    scores = {}
    for metric in rows[0]:
        if not (screen and metric == "embedding"):
            table = np.array([sample[metric] for sample in rows], dtype=np.float64)  # (S, 2 + N)
            scores[metric] = Scores(table[:, 0], table[:, 1], table[:, 2:].T.copy())
    return Trace(tuple(states), scores)


def _unheard(sampling: Sampling, metrics: Sequence[str]) -> list[str]:
    narrowed = sampling.between is not None or sampling.branches != "both"
    if narrowed and "denoiser" in metrics:
        return [
            "denoiser predicts once, so between and branches do not narrow it; read the pictures' metrics"
        ]
    return []


def _warnings(traces: Mapping[str, Trace]) -> list[str]:
    found = []
    for part, trace in traces.items():
        lost = trace.scores[trace.metric].total.mean()
        if lost <= 0 or not np.isfinite(trace.scores[trace.metric].recovery).all():
            found.append(
                f"{part}: the noise takes nothing away as {trace.metric} sees it, so no state can bring it "
                "back; choose another subject, more noise or another metric"
            )
    return found
