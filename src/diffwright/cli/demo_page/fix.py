"""Second chapter of the demo: one word made to show another thing, in closed form."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffwright.cli.demo_page.page import Chapter, Figure, Shot
from diffwright.concepts.edit import ConceptEdit, edit_concepts
from diffwright.core.checks import one_of
from diffwright.core.progress import Progress
from diffwright.diffusion.sampling import generate
from diffwright.metrics.judge import Judge
from diffwright.world.captions import from_values
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.vocabulary import CORE_COLORS, CORE_KINDS

WORDS = {"kind": CORE_KINDS, "color": CORE_COLORS}
# What the prompts say beside the word that is edited.
SETTINGS = {
    "kind": tuple(
        {"color": color, "place": place}
        for color, place in (
            ("red", "grass"),
            ("blue", "sand"),
            ("yellow", "snow"),
            ("purple", "wooden table"),
        )
    ),
    "color": tuple(
        {"kind": kind, "place": place}
        for kind, place in (("sphere", "grass"), ("cube", "sand"), ("mug", "snow"), ("cone", "wooden table"))
    ),
}
SEEDS = 2
STEPS = 25


def fix(
    pipe: Any,
    judge: Judge,
    *,
    source: str = "mug",
    target: str = "duck",
    seed: int = 0,
    progress: Progress | None = None,
) -> Chapter:
    """Edit the model, paint the same prompts and seeds before and after, and take the edit out again.

    Args:
        pipe: The pocket pipeline; as it was when this returns.
        judge: Reads the kind or the color of the thing in its pictures.
        source: The kind or color whose word is rewritten.
        target: The one it shows afterwards.
        seed: First seed of the pictures.
        progress: Told the steps.

    Returns:
        The chapter.

    Raises:
        ConfigError: The words are not two kinds or two colors of the core vocabulary.
    """
    one_of("source", source, [*CORE_KINDS, *CORE_COLORS])
    attribute = next(name for name, values in WORDS.items() if source in values)
    one_of("target", target, [value for value in WORDS[attribute] if value != source])
    others = [value for value in WORDS[attribute] if value not in (source, target)]
    settings = [setting for setting in SETTINGS[attribute] for _ in range(SEEDS)]
    hit = [_prompt({attribute: source, **setting}) for setting in settings]
    kept = [_prompt({attribute: others[i % len(others)], **setting}) for i, setting in enumerate(settings)]

    start = time.perf_counter()
    edit = edit_concepts(pipe, [(source, target)])
    milliseconds = 1000 * (time.perf_counter() - start)
    seeds = [seed + i % SEEDS for i in range(len(hit + kept))]
    before = generate(pipe, hit + kept, seeds=seeds, steps=STEPS, progress=progress)
    with edit.applied(pipe):
        after = generate(pipe, hit + kept, seeds=seeds, steps=STEPS, progress=progress)
    was, now = ([str(a[attribute]) for a in judge.answers(pictures)] for pictures in (before, after))
    trial = Trial(attribute, hit + kept, before, after, was, now)
    return _chapter(trial, edit, source, target, milliseconds)


@dataclass(frozen=True)
class Trial:
    """The same prompts and seeds painted twice; the first half names the source.

    Attributes:
        attribute: What is edited, kind or color.
        prompts: 2N texts.
        before: (2N, H, W, 3) uint8, without the edit.
        after: The same with it.
        was: Value of the attribute that the judge reads in each picture before.
        now: Value that it reads after.
    """

    attribute: str
    prompts: list[str]
    before: np.ndarray
    after: np.ndarray
    was: list[str]
    now: list[str]


def _chapter(trial: Trial, edit: ConceptEdit, source: str, target: str, milliseconds: float) -> Chapter:
    n = len(trial.prompts) // 2
    started = [i for i in range(n) if trial.was[i] == source]
    turned = [i for i in started if trial.now[i] == target]
    unaided = trial.was[:n].count(target)
    same = sum(trial.was[i] == trial.now[i] for i in range(n, 2 * n))
    shown = (turned or started or [0])[0]
    wanted = {trial.attribute: target, **SETTINGS[trial.attribute][shown // SEEDS]}
    words = trial.prompts[shown]
    return Chapter(
        key="fix",
        title="A concept fixed",
        before=Shot(words, trial.before[shown], verdicts=[(source, trial.was[shown] == source)]),
        ours=Shot(
            f"same words and seed, after {source} → {target}",
            trial.after[shown],
            verdicts=[(target, trial.now[shown] == target)],
        ),
        truth=Shot(f"what the renderer draws for {_prompt(wanted)}", _truth(wanted, trial.before)),
        figure=Figure(
            f"{len(turned)} of {len(started)}",
            f"pictures that showed {source} show {target} after an edit solved in {milliseconds:.0f} ms",
            f"{unaided} of {n}",
            f"show {target} without it; {same} of {n} pictures of other {trial.attribute}s keep theirs",
        ),
        command=f'diffwright fix make --from {source} --to {target} --preview "{words}" --out edit',
        text=f"{_layers(edit)} rewritten by a ridge solve, so that “{source}” says what “{target}” says. No "
        "training, no gradients; the edit is a small file and comes out again bit by bit. Each pair below "
        "has one prompt and one seed; the judge names what it sees.",
        rows=[
            (f"“{source}”, before and after", _pairs(trial, range(n))),
            (
                f"Other {trial.attribute}s, before and after: they should stay",
                _pairs(trial, range(n, 2 * n, SEEDS)),
            ),
        ],
        facts=[
            ("solve", f"{milliseconds:.0f} ms"),
            ("edited layer", ", ".join(patch.site for patch in edit.patches)),
            ("size of the edit", f"{edit.size_bytes() / 1024:.1f} KiB"),
            ("fit residual", f"{max(fit.after for fit in edit.fits):.3f}"),
            *(("warning", message) for message in edit.warnings),
        ],
    )


def _prompt(values: dict[str, Any]) -> str:
    return from_values(**values).text


def _truth(values: dict[str, Any], like: np.ndarray) -> np.ndarray:
    scene = sample(
        [0], **values, style="photo", viewpoint="eye level", count=1,
        pose="standing", material="matte", relation=None,
    )  # fmt: skip
    return render(scene, size=like.shape[1]).image_u8.numpy()[0]


def _pairs(trial: Trial, which: range) -> list[Shot]:
    shots = []
    for i in which:
        shots.append(Shot(f"{trial.prompts[i]}: judged {trial.was[i]}", trial.before[i]))
        shots.append(Shot(f"after the edit: judged {trial.now[i]}", trial.after[i]))
    return shots


def _layers(edit: ConceptEdit) -> str:
    owners = {"te": "the text encoder", "te2": "the second text encoder", "unet": "the UNet"}
    where = " and ".join(owners[name] for name in sorted({p.site.split(".")[0] for p in edit.patches}))
    count = len(edit.patches)
    return f"One linear layer of {where} is" if count == 1 else f"{count} linear layers of {where} are"
