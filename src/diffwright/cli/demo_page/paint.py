"""First chapter of the demo: captions that no model saw, painted, and read by the judge."""

import shlex
import time
from typing import Any

import numpy as np

from diffwright.cli.demo_page.page import Chapter, Figure, Shot
from diffwright.core.progress import Progress
from diffwright.diffusion.sampling import generate
from diffwright.metrics.judge import Judge
from diffwright.world.captions import Caption, caption
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.splits import seeds

CAPTIONS = 16
OWN = 4
STEPS = 25


def paint(
    pipe: Any, judge: Judge, *, prompt: str | None = None, seed: int = 0, progress: Progress | None = None
) -> Chapter:
    """Paint captions of unseen scenes, and the user's prompt if there is one.

    Args:
        pipe: The pocket pipeline.
        judge: Reads the attributes of its pictures.
        prompt: The user's own words.
        seed: Of scenes, captions and pictures.
        progress: Told the steps.

    Returns:
        The chapter.
    """
    scenes = sample(seeds("test", CAPTIONS, start=seed * CAPTIONS), core=True, relation=None)
    said = [caption(scene, seed + i, "test") for i, scene in enumerate(scenes)]
    start = time.perf_counter()
    pictures = generate(
        pipe,
        [c.text for c in said],
        seeds=[seed + i for i in range(CAPTIONS)],
        steps=STEPS,
        progress=progress,
    )
    each = (time.perf_counter() - start) / CAPTIONS
    truths = render(scenes, size=pictures.shape[1]).image_u8.numpy()
    answers = judge.answers(pictures)
    verdicts = [_verdicts(c, answer) for c, answer in zip(said, answers, strict=True)]
    swapped = [_verdicts(c, answer) for c, answer in zip(said, answers[1:] + answers[:1], strict=True)]
    best = max(range(CAPTIONS), key=lambda i: (all(ok for _, ok in verdicts[i]), len(verdicts[i])))

    rows = [
        (
            "Sixteen captions of unseen scenes, in sentence patterns that training never used",
            [
                Shot(c.text, picture, verdicts=marks)
                for c, picture, marks in zip(said, pictures, verdicts, strict=True)
            ],
        )
    ]
    if prompt:
        rows.insert(0, ("Your prompt, four seeds", _own(pipe, judge, prompt, seed, progress)))
    command = f"diffwright generate {shlex.quote(said[best].text)} --seed {seed + best}"
    return Chapter(
        key="paint",
        title="A prompt painted",
        before=Shot("the words", words=said[best].text),
        ours=Shot(f"what the model paints, in {each:.1f} s", pictures[best], verdicts=verdicts[best]),
        truth=Shot("what the renderer draws for them", truths[best]),
        figure=Figure(
            f"{_share(verdicts):.0%}".replace("%", " %"),
            f"of {sum(map(len, verdicts))} attributes that {CAPTIONS} captions state are right",
            f"{_share(swapped):.0%}".replace("%", " %"),
            "when each caption is read against the next picture",
        ),
        command=command,
        text="The pocket text-to-image model is a complete latent diffusion model, small enough for two "
        "cores. A judge, trained on rendered pictures and never on painted ones, reads each picture: a tick "
        "is an attribute that the caption states and the picture shows. All sixteen are here, failures too.",
        rows=rows,
        facts=[
            ("seconds a picture", f"{each:.2f}"),
            ("denoising steps", str(STEPS)),
            ("picture", f"{pictures.shape[2]} × {pictures.shape[1]} pixels, each repeated"),
        ],
    )


def _own(pipe: Any, judge: Judge, prompt: str, seed: int, progress: Progress | None) -> list[Shot]:
    pictures = generate(pipe, prompt, seeds=[seed + i for i in range(OWN)], steps=STEPS, progress=progress)
    return [
        Shot(f"{prompt} (seed {seed + i}); the judge reads: {_read(answer)}", picture)
        for i, (picture, answer) in enumerate(zip(pictures, judge.answers(pictures), strict=True))
    ]


def _read(answer: dict[str, Any]) -> str:
    return ", ".join(str(answer[name]) for name in ("color", "kind", "place", "style") if name in answer)


def _verdicts(said: Caption, answer: dict[str, Any]) -> list[tuple[str, bool]]:
    """What the caption states and the judge can read, with whether it reads the same."""
    return [
        (f"{value} ×" if name == "count" else value, str(answer[name]) == value)
        for name, value in said.stated.items()
        if name in answer
    ]


def _share(verdicts: list[list[tuple[str, bool]]]) -> float:
    return float(np.mean([right for marks in verdicts for _, right in marks]))
