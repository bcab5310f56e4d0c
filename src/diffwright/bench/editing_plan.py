"""What the parts of the editing bench run, and what that costs: evaluations times measured milliseconds.

The sizes of ``Plan`` are chosen by this table, so that the full bench ends within two hours on two cores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from diffwright.bench.baselines.editing import DRAG_LEVEL, STEPS, STRENGTH, UPDATES
from diffwright.bench.editing_cases import TASKS
from diffwright.bench.editing_cost import PARTS as CALLS
from diffwright.bench.editing_cost import evaluations
from diffwright.bench.harness import Figure, interleaved
from diffwright.diffusion.features import features
from diffwright.diffusion.guidance import Denoiser
from diffwright.diffusion.prompts import encode
from diffwright.diffusion.schedules import Schedule
from diffwright.editing.cache import Coder
from diffwright.editing.editor import ImageEditor
from diffwright.editing.frame import Sight
from diffwright.editing.presets import PRESETS, Preset

PARTS = ("quality", "presets", "ablation", "prompts", "diversity", "cost")
KEY, SOME, ACROSS = ("move", "resize", "remove"), ("move", "remove"), ("replace", "paste")
ACROSS_ARM = "reference_across"
"""The published preset on tasks with a second picture, an arm of its own because its cases are fewer."""
WITHOUT_MODEL = ("identity", "paste", "preview")
NO_PROMPT = "not run: this model has no image prompt"
CASE_SECONDS = 0.8  # to draw, judge and render one case on one core


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        development: cases a task on which the baseline is chosen.
        test: cases a task for ``balanced`` and what it is compared with.
        others: cases a task for the other presets.
        across: cases a task for the published preset where content comes from another picture.
        ablation: cases a task for each switch.
        prompts: moves for each cell of the table of image prompts.
        spread: removals of which several seeds are compared.
        seeds: how many.
        rounds: repetitions of timed calls.
        compared: tasks on which the other presets are compared.
        switches: names out of ``ABLATIONS``; None tries all.
    """

    development: int = 30
    test: int = 60
    others: int = 24
    across: int = 12
    ablation: int = 8
    prompts: int = 15
    spread: int = 8
    seeds: int = 8
    rounds: int = 5
    compared: tuple[str, ...] = KEY
    switches: tuple[str, ...] | None = None


QUICK = Plan(1, 1, 1, 1, 1, 1, 1, 3, 1, ("move",), ("reference_without_bank", "balanced_without_energies"))


def _without(name: str, **changes: object) -> Preset:
    return replace(PRESETS[name], **changes)  # pyright: ignore[reportArgumentType]


ABLATIONS: dict[str, Preset] = {
    "reference_without_image_prompt": _without("reference", image_prompt=0.0),
    "reference_without_regional_gradients": _without("reference", regional=False),
    "reference_without_noise": _without("reference", eta_in=0.0),
    "reference_without_time_travel": _without("reference", passes=1),
    "reference_without_bank": _without("reference", bank=False),
    "reference_without_energies": _without("reference", energy=0.0),
    "reference_with_own_levels": _without("reference", own_level=True),
    "balanced_without_exact": _without("balanced", exact=False),
    "balanced_without_noise": _without("balanced", eta_in=0.0),
    "balanced_without_bank": _without("balanced", bank=False),
    "balanced_without_energies": _without("balanced", energy=0.0),
    "balanced_without_hold": _without("balanced", hold=False),
    "balanced_without_carry": _without("balanced", carry=False),
    "balanced_without_shadow": _without("balanced", shadow=False),
    "balanced_without_detail": _without("balanced", detail=False),
    "balanced_with_regional_gradients": _without("balanced", regional=True),
    "balanced_with_time_travel": _without("balanced", passes=3),
}
"""Settings in which one mechanism is switched, by name; each is compared with the preset that it begins with."""

Work = dict[str, tuple[tuple[str, ...], int]]
"""By the name of an arm its tasks and how many cases of each."""


def work(plan: Plan, part: str, image_prompt: bool) -> Work:
    """Say what a part runs.

    Args:
        plan: the sizes.
        part: one of ``PARTS``.
        image_prompt: whether there is one.

    Returns:
        Nothing for the parts that do not run over the cases.
    """
    if part == "quality":
        every = dict.fromkeys(("identity", "paste", "balanced", "autoencoder"), (TASKS, plan.test))
        return {
            **every,
            "preview": (KEY, plan.test),
            "uncomposed": (KEY, plan.test),
            "renoised": (KEY, plan.test),
            "latent_drag": (("drag",), plan.test),
        }
    if part == "presets":
        found = dict.fromkeys(
            ("paste", "balanced", "fast", "reference", "dragon"), (plan.compared, plan.others)
        )
        return found | {ACROSS_ARM: (ACROSS, plan.across)}
    if part == "ablation":
        names = (*("reference", "balanced"), *switches(plan, image_prompt))
        return dict.fromkeys(names, (SOME, plan.ablation))
    if part == "prompts" and image_prompt:
        cells = ("words_picture", "words", "picture", "nothing", "mismatched")
        return {f"prompted_{cell}": (("move",), plan.prompts) for cell in cells}
    return {}


def switches(plan: Plan, image_prompt: bool) -> list[str]:
    """The ablations of a plan; that of an image prompt only where there is one."""
    chosen = ABLATIONS if plan.switches is None else plan.switches
    return [name for name in chosen if image_prompt or not name.endswith("image_prompt")]


def calls(name: str, task: str) -> dict[str, int]:
    """How often one edit of an arm calls each of the model's parts."""
    nothing = dict.fromkeys(CALLS, 0)
    if name in WITHOUT_MODEL:
        return nothing
    if name == "autoencoder":
        return {**nothing, "encode": 1, "decode": 1}
    if name == "renoised":
        return {**nothing, "unet": round(STRENGTH * STEPS), "encode": 1, "decode": 1}
    if name == "latent_drag":
        there, looks = round((1 - DRAG_LEVEL) * STEPS), {"to_taps": 2 * UPDATES + 1, "backward": UPDATES}
        return {**nothing, **looks, "unet": 2 * there + 1, "encode": 1, "decode": 1}
    return evaluations(settings(name), task)


def settings(name: str) -> Preset:
    """The preset of an arm."""
    if name.startswith("prompted_") or name == ACROSS_ARM:
        return PRESETS["reference"]
    return ABLATIONS.get(name) or PRESETS.get(name) or PRESETS["balanced"]


def cost_table(editor: ImageEditor, plan: Plan, parts: Sequence[str]) -> dict[str, Figure]:
    """Evaluations times measured milliseconds, by part of the bench and in all.

    Args:
        editor: holds the model.
        plan: the sizes.
        parts: which of ``PARTS`` will run.

    Returns:
        ``ms_unet`` and the like, ``planned_minutes_PART``, ``planned_minutes``.
    """
    ms = milliseconds(editor, plan.rounds)
    figures = {f"ms_{name}": Figure(value, "ms", "lower", "one call, batch 1") for name, value in ms.items()}
    total = CASE_SECONDS * len(TASKS) * (plan.development + plan.test) / 60
    notes, seen = [f"cases {total:.1f}"], set[str]()
    for part in parts:
        minutes, words = 0.0, []
        for name, (tasks, count) in work(plan, part, editor.has_image_prompt).items():
            if name not in seen and name not in WITHOUT_MODEL:
                took = count * sum(_ms(calls(name, task), ms) for task in tasks) / 6e4
                minutes += took
                words.append(f"{name} {len(tasks)} x {count}: {took:.1f}")
                seen.add(name)
        minutes += _others(plan, part, ms)
        notes.append(f"{part} {minutes:.1f}")
        figures[f"planned_minutes_{part}"] = Figure(minutes, "min", "lower", ", ".join(words))
        total += minutes
    return {"planned_minutes": Figure(total, "min", "lower", ", ".join(notes))} | figures


def _others(plan: Plan, part: str, ms: Mapping[str, float]) -> float:
    """Minutes of the two parts that do not run over the cases."""
    if part == "diversity":
        once = _ms(evaluations(PRESETS["balanced"], "remove"), ms)
        return 2 * plan.spread * plan.seeds * once / 6e4
    if part == "cost":
        every = {name: _ms(evaluations(preset), ms) for name, preset in PRESETS.items()}
        return (2 * (plan.rounds + 1) * every["fast"] + 1.5 * sum(every.values())) / 6e4
    return 0.0


def _ms(count: Mapping[str, int], ms: Mapping[str, float]) -> float:
    return sum(number * ms[name] for name, number in count.items())


def milliseconds(editor: ImageEditor, rounds: int) -> dict[str, float]:
    """Measured milliseconds of one call of each of the model's parts, at the model's native size."""
    pipe, sight, coder = editor.pipe, Sight.of(editor.pipe), Coder(editor.pipe.vae)
    draw = torch.Generator().manual_seed(0)
    side = sight.native // sight.factor
    device = next(pipe.unet.parameters()).device
    z = torch.randn(1, pipe.unet.config.in_channels, side, side, generator=draw).to(device)
    image = torch.zeros(1, 3, sight.native, sight.native)
    denoiser = Denoiser(pipe.unet, Schedule.of(pipe.scheduler, 50), encode(pipe, [""]))

    def taps() -> tuple[torch.Tensor, torch.Tensor]:
        return features(pipe.unet, lambda: denoiser.raw(watched, 25, denoiser.context))

    def there_and_back() -> None:
        with torch.enable_grad():
            coarse, fine = taps()
            torch.autograd.grad(coarse.square().mean() + fine.square().mean(), watched)

    with torch.no_grad():
        watched = z.clone().requires_grad_()
        times = interleaved(
            {
                "unet": lambda: denoiser(z, 25),
                "to_taps": taps,
                "backward": there_and_back,
                "encode": lambda: coder.encode(image),
                "decode": lambda: coder.decode(z),
            },
            rounds,
        )
    return {**times, "backward": max(times["backward"] - times["to_taps"], 0.0)}
