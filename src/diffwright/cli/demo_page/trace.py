"""Chapter of the demo: a word drowned in noise, and the one state that brings its picture back."""

from typing import Any

import numpy as np

from diffwright.cli.demo_page.page import Chapter, Figure, Shot
from diffwright.core.progress import Progress
from diffwright.metrics.judge import Judge
from diffwright.tracing.plots import heat_u8
from diffwright.tracing.result import Trace, TraceResult
from diffwright.tracing.scores import judge_for
from diffwright.tracing.trace import causal_trace
from diffwright.tracing.unet import Sampling

STEPS = 12
SEEDS = 2
CELL = 40
ROWS = {"resnet": "resnets", "attn1": "self-attention", "attn2": "cross-attention", "ff": "feed-forward"}


def trace(
    pipe: Any,
    judge: Judge,
    *,
    prompt: str = "a red mug on grass",
    subject: str = "red",
    seed: int = 0,
    progress: Progress | None = None,
) -> Chapter:
    """Trace one word through the text encoder and the UNet.

    Args:
        pipe: The pocket pipeline; as it was when this returns.
        judge: Reads what the subject states in its pictures.
        prompt: The words.
        subject: Those that are corrupted and traced; they state something that the judge reads.
        seed: First seed of noise and pictures.
        progress: Told the steps.

    Returns:
        The chapter.

    Raises:
        InputError: The subject does not stand in the prompt, or states nothing that the judge reads.
    """
    scorer = judge_for(judge, subject)
    found = causal_trace(
        pipe,
        prompt,
        subject,
        components=("attn", "mlp", "resnet", "attn1", "attn2", "ff"),
        seeds=[seed + i for i in range(SEEDS)],
        metrics=("embedding", "pictures"),
        scorers=[scorer],
        sampling=Sampling(steps=STEPS, half=True),
        progress=progress,
    )
    return _chapter(found, judge, scorer.stated)


def _chapter(found: TraceResult, judge: Judge, stated: dict[str, str]) -> Chapter:
    pictures = {
        name: np.asarray(image)
        for name, image in zip(found.names, found.images, strict=True)
        if name != "strip"
    }
    answers = dict(zip(pictures, judge.answers(np.stack(list(pictures.values()))), strict=True))

    def shot(name: str, caption: str) -> Shot:
        marks = [(str(answers[name][key]), str(answers[name][key]) == value) for key, value in stated.items()]
        return Shot(caption, pictures[name], verdicts=marks)

    text, unet = found.traces["text"], found.traces["unet"]
    best, layer = found.top(1, "text")[0], found.top(1, "unet")[0]
    scores = text.scores["judge"]
    clean, corrupted = scores.clean.mean(), scores.corrupted.mean()
    median = float(np.median(scores.approximation))
    words = f"“{found.subject}”"
    return Chapter(
        key="trace",
        title="Where it lives",
        before=shot("corrupted", f"{found.prompt}, with {words} drowned in noise"),
        ours=shot("restored-text", f"the same, but one state put back: {best.state.name}"),
        truth=shot("clean", "what the model paints without noise"),
        figure=Figure(
            f"{best.restored:.2f}",
            f"sure of {words} with one of {len(text.states)} text states put back ({clean:.2f} without noise)",
            f"{corrupted:.2f}",
            f"with none put back; {median:.2f} with the median state",
        ),
        command=f'diffwright trace "{found.prompt}" --subject {found.subject!r} --out trace',
        text=f"Causal tracing: noise of three standard deviations falls on the embedding of {words}, and the model "
        "forgets it. Then each state of the text encoder and each layer of the UNet is put back alone, as it was "
        "without noise. What brings the word back holds it. Red helps, blue harms, gray was not traced.",
        rows=[
            ("The text encoder: tokens from top to bottom, layers from left to right", _maps(found)),
            (
                "The UNet: its layers from first to last",
                [*_layers(unet), shot("restored-unet", layer.state.name)],
            ),
        ],
        facts=[
            ("strongest text states", _named(found, "text")),
            ("strongest UNet layers", _named(found, "unet")),
            (
                "sure of the word",
                f"clean {clean:.2f}, corrupted {corrupted:.2f} (probability that the judge gives)",
            ),
            ("samples", f"{len(found.seeds)} seeds, {found.figures['unet_rows']} UNet rows"),
            *(("warning", message) for message in found.warnings),
        ],
    )


def _maps(found: TraceResult) -> list[Shot]:
    first = found.spans["te"][0]
    tokens = " / ".join(found.tokens["te"][first:])
    return [
        Shot(f"{name}; tokens: {tokens}", heat_u8(found.grid("te", kind)[first:], CELL))
        for kind, name in (("attn", "self-attention"), ("mlp", "MLP"))
    ]


def _layers(unet: Trace) -> list[Shot]:
    """Lay the UNet's layers out, a row a kind, in the order in which they stand in it."""
    effects = unet.scores["judge"].mean
    by = {kind: effects[[n for n, s in enumerate(unet.states) if s.kind == kind]] for kind in ROWS}
    grid = np.full((len(ROWS), max(map(len, by.values()))), np.nan)
    for row, values in enumerate(by.values()):
        grid[row, : len(values)] = values
    return [Shot("from top to bottom: " + ", ".join(ROWS.values()), heat_u8(grid, CELL))]


def _named(found: TraceResult, part: str) -> str:
    return ", ".join(
        f"{e.state.name} {found.word(e.state)} ({e.effect.value:+.2f})".replace("  ", " ")
        for e in found.top(3, part)
    )
