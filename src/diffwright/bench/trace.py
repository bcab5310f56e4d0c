"""How fast and how exact causal tracing is, and whether the paper's claims hold on ``pocket``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from diffwright.bench import trace_claims
from diffwright.bench.baselines.tracing_naive import text_runs, unet_runs
from diffwright.bench.clip_l import clip_l_pipeline
from diffwright.bench.harness import Figure
from diffwright.core.progress import Progress, report
from diffwright.diffusion.prompts import encode_pooled
from diffwright.diffusion.sampling import Encoded
from diffwright.metrics.judge import Judge
from diffwright.tracing.corruption import read, subject_noise
from diffwright.tracing.states import State, text_states, unet_site, unet_states
from diffwright.tracing.text import conditions, restore, run_of
from diffwright.tracing.unet import Sampling, lock_step
from diffwright.weights.load import load

PARTS = ("text", "unet", "claims", "controls")
PROMPT, SUBJECT = "van gogh painting of a photo of an", "van gogh"
"""Nine positions from the subject's first token to the end token."""
PAIR = ("a photo of a painting", "an image of van gogh")
"""Conditions of the clean and the corrupted run where only speed and exactness count."""


def run(
    quick: bool,
    progress: Progress | None = None,
    *,
    parts: Sequence[str] = PARTS,
    tables: Path | None = None,
) -> dict[str, Figure]:
    """Measure causal tracing.

    Args:
        quick: fewer repetitions, a sample of the naive runs, few prompts: under two minutes.
        progress: is told the steps done; may cancel.
        parts: which of ``PARTS`` to measure.
        tables: folder for the effects behind the claims, pooled over prompts, and their pictures.

    Returns:
        ``text_speedup``, ``text_speedup_prompt_rows``, ``text_max_abs_diff``, ``seconds_text_trace_clip_l``,
        ``unet_row_ratio``, ``unet_time_ratio``, ``unet_max_abs_diff``, and those of ``trace_claims``.

    Raises:
        WeightsError: the pocket model or the judge is missing or damaged.
    """
    found: dict[str, Figure] = {}
    pipe = load("pocket", device="cpu")
    if "text" in parts:
        found |= text_speed(
            clip_l_pipeline(), rounds=1 if quick else 3, share=9 if quick else 1, progress=progress
        )
    if "unet" in parts:
        found |= unet_exactness(tiny_pipeline(pipe.tokenizer), steps=10, every=6 if quick else 1)
        found |= unet_speed(pipe, steps=2 if quick else 5, every=6 if quick else 1)
    plan = trace_claims.quick_plan() if quick else trace_claims.Plan()
    if "controls" in parts:
        found |= trace_claims.other_word(pipe, plan, progress)
    if "claims" in parts:
        found |= trace_claims.figures(pipe, Judge.from_pretrained(), plan, progress, tables)
    return found


def text_speed(
    pipe: Any, *, rounds: int = 3, share: int = 1, progress: Progress | None = None
) -> dict[str, Figure]:
    """Trace 9 tokens x all layers x attention and MLP, ours and one full forward a state in turn.

    Args:
        pipe: a pipeline with the encoder to time.
        rounds: how often ours is run; the naive runs are spread between.
        share: time only every ``share``-th naive run, and multiply.
        progress: is told the rounds done; may cancel.
    """
    readings = read(pipe, PROMPT, SUBJECT)
    noise = [subject_noise(reading, [0]) for reading in readings]
    states = text_states(readings, ("attn", "mlp"))
    kept = range(0, len(states), share)
    seconds: dict[str, list[float]] = {"all": [], "prompt": [], "naive": []}
    naive: dict[int, Tensor] = {}
    ours = short = torch.empty(0)
    for number in range(rounds):
        ours = _timed(seconds["all"], lambda: _walk(pipe, readings, noise, states))
        short = _timed(seconds["prompt"], lambda: _walk(pipe, readings, noise, states, readings[0].end + 1))
        part = [n for n in kept if (n // share) % rounds == number]
        chosen = [states[n] for n in part]
        rows = _timed(
            seconds["naive"],
            lambda chosen=chosen: [r for r, _ in text_runs(pipe, PROMPT, readings, noise, chosen)],
        )
        naive |= dict(zip(part, rows, strict=True))
        report(progress, "timing the text trace", number + 1, rounds)
    slow = sum(seconds["naive"]) * len(states) / len(naive)
    fast, cut = median(seconds["all"]), median(seconds["prompt"])
    length = short.shape[1]
    errors = [float((row[0] - ours[n]).abs().max()) for n, row in naive.items()]
    errors += [float((row[0, :length] - short[n]).abs().max()) for n, row in naive.items()]
    timed = f"{len(states)} states, one full forward a state takes {slow:.1f} s, {torch.get_num_threads()} threads"
    if share > 1:
        timed += f"; {len(naive)} of them timed"
    return {
        "text_speedup": Figure(slow / fast, "x", "higher", f"all {ours.shape[1]} positions; {timed}"),
        "text_speedup_prompt_rows": Figure(
            slow / cut, "x", "higher", f"screen: the {length} positions up to the end token; {cut:.2f} s"
        ),
        "text_max_abs_diff": Figure(max(errors), "", "lower", "float32, against one full forward a state"),
        "seconds_text_trace_clip_l": Figure(fast, "s", "lower", f"{len(states)} states, all positions"),
    }


def _walk(
    pipe: Any,
    readings: Sequence[Any],
    noise: Sequence[Tensor],
    states: Sequence[State],
    cut: int | None = None,
) -> Tensor:
    """Trace one text encoder from its clean and corrupted runs to the encodings of all states."""
    clean, corrupted = run_of(readings[0]), run_of(readings[0], noise[0])
    if cut is not None:
        clean, corrupted = clean.cut(cut), corrupted.cut(cut)
    return conditions(pipe, readings, [restore(readings[0], states, clean, corrupted)])[0]


def unet_exactness(pipe: Any, *, steps: int = 10, every: int = 1) -> dict[str, Figure]:
    """Compare lock-step rows with a triple of runs for each layer, in float64.

    Args:
        pipe: a tiny model; it is in float64 afterwards.
        steps: denoising steps.
        every: take only every so-many-th layer.
    """
    found = _compare(pipe.to(torch.float64), steps, every)
    return {
        "unet_max_abs_diff": Figure(
            found["difference"],
            "",
            "lower",
            f"latents after {steps} steps, {found['layers']:.0f} layers, float64",
        )
    }


def unet_speed(pipe: Any, *, steps: int, every: int = 1) -> dict[str, Figure]:
    """Count rows and seconds of lock-step rows against a triple of runs for each layer.

    Args:
        pipe: the model.
        steps: denoising steps.
        every: take only every so-many-th layer.
    """
    found = _compare(pipe, steps, every)
    note = f"{found['layers']:.0f} layers, {steps} steps, guidance on"
    return {
        "unet_row_ratio": Figure(
            found["naive_rows"] / found["rows"], "x", "higher", f"{note}; {found['rows']:.0f} rows"
        ),
        "unet_time_ratio": Figure(
            found["naive_seconds"] / found["seconds"],
            "x",
            "higher",
            f"{note}; {found['seconds']:.1f} s, float32",
        ),
    }


def _compare(pipe: Any, steps: int, every: int) -> dict[str, float]:
    sites = [unet_site(pipe, state) for state in unet_states(pipe)][::every]
    rows, pooled = encode_pooled(pipe, PAIR)

    def pick(numbers: list[int]) -> Encoded:
        return rows[numbers], None if pooled is None else pooled[numbers]

    sampling = Sampling(steps=steps, guidance=3.0)
    times: list[float] = []
    with _counted(pipe) as ours:
        painted = _timed(
            times,
            lambda: lock_step(
                pipe, pick([0] + [1] * (1 + len(sites))), [None, *sites], seed=0, sampling=sampling
            ),
        )
    runs = unet_runs(pipe, pick([0]), pick([1]), sites, seed=0, steps=steps, guidance=3.0)
    with _counted(pipe) as theirs:
        naive = _timed(times, lambda: list(runs))
    latents = painted.latents.double()
    errors = [
        float((latents[number] - latent[0].double()).abs().max())
        for row, triple in enumerate(naive, 2)
        for number, latent in zip((0, 1, row), triple, strict=True)
    ]
    return {
        "layers": len(sites),
        "difference": max(errors),
        "rows": ours[0],
        "naive_rows": theirs[0],
        "seconds": times[0],
        "naive_seconds": times[1],
    }


def _timed(times: list[float], fn: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = fn()
    times.append(time.perf_counter() - start)
    return result


@contextmanager
def _counted(pipe: Any) -> Iterator[list[int]]:
    """Count the rows that the UNet computes while the block runs."""
    count = [0]

    def add(_module: Any, args: tuple) -> None:
        count[0] += len(args[0])

    handle = pipe.unet.register_forward_pre_hook(add)
    try:
        yield count
    finally:
        handle.remove()


def tiny_pipeline(tokenizer: Any) -> Any:
    """Build a Stable Diffusion 1 pipeline of tiny random networks with every kind of UNet layer.

    Args:
        tokenizer: a CLIP tokenizer.

    Returns:
        A stock pipeline in float32 on the CPU; the same weights each time.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    shape = CLIPTextConfig(
        vocab_size=1 + max(tokenizer.get_vocab().values()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return StableDiffusionPipeline(
            text_encoder=CLIPTextModel(shape).eval(),
            tokenizer=tokenizer,
            unet=UNet2DConditionModel(
                sample_size=8,
                block_out_channels=(16, 32),
                layers_per_block=1,
                norm_num_groups=8,
                cross_attention_dim=32,
                attention_head_dim=(2, 4),  # pyright: ignore[reportArgumentType]
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            ).eval(),
            vae=AutoencoderKL(block_out_channels=(4,), norm_num_groups=4).eval(),
            scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),  # pyright: ignore[reportArgumentType]
            safety_checker=None,  # pyright: ignore[reportArgumentType]
            feature_extractor=None,  # pyright: ignore[reportArgumentType]
            requires_safety_checker=False,
        )
