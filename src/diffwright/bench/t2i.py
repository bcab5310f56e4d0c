"""Bench ``t2i``: does ``pocket`` paint what it is told, how far can the judge be trusted, what does the VAE lose.

Prompts and renders are those of the test split; the judge never saw a picture that the model painted.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffwright.bench.harness import Figure, number
from diffwright.core.errors import InputError
from diffwright.core.images import load_image, to_u8
from diffwright.core.progress import Progress, report
from diffwright.diffusion.autoencoder import round_trip
from diffwright.metrics.accuracy import macro_accuracy
from diffwright.metrics.judge import Judge, guesses
from diffwright.metrics.pictures import psnr
from diffwright.world.captions import labels
from diffwright.world.exam import test_prompts, values
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.scene import Scene
from diffwright.world.splits import seeds

GATED = ("kind", "color", "style", "viewpoint", "count", "pose")
STEPS = 25


def run(
    quick: bool = False, progress: Progress | None = None, photos: Path | None = None
) -> dict[str, Figure]:
    """Measure the shipped text-to-image model.

    Args:
        quick: 12 prompts and some 20 renders of each vocabulary instead of 500 prompts, 1,500 renders of the full
            and 1,000 of the core vocabulary.
        progress: Is told the steps done; may cancel.
        photos: Folder of natural photographs for ``photo_vae_psnr``; left out without it.

    Returns:
        Figures by the names that docs/benchmarks.md lists.

    Raises:
        InputError: ``photos`` is no folder or holds no picture.
    """
    files = None if photos is None else _photos(photos)
    from diffwright.weights.load import load

    pipe: Any = load("pocket")
    judge = Judge.from_pretrained("pocket-judge")
    figures = {}
    for core in (True, False):
        figures |= _painted(pipe, judge, core, 12 if quick else (500 if core else 300), progress)
    report(progress, "rendering test scenes", 0, 1)
    scenes = sample(seeds("test", 24 if quick else 1900))
    pictures = render(scenes).image
    figures |= _judged(pipe.vae, judge, scenes, pictures)
    known = sample(seeds("test", 24 if quick else 1200, start=5000), core=True)
    figures |= _judged_core(pipe.vae, judge, known, render(known).image)
    figures |= _guessed(judge)
    figures |= _coded(pipe.vae, pictures[:256], 32 if quick else 1000)
    if files is not None:
        figures["photo_vae_psnr"] = _photo_psnr(pipe.vae, files, 8 if quick else 100)
    figures["seconds_per_image"] = _seconds(pipe, 2 if quick else 4)
    return figures


def _painted(pipe: Any, judge: Judge, core: bool, count: int, progress: Progress | None) -> dict[str, Figure]:
    from diffwright.diffusion.sampling import generate

    prompts = test_prompts(count, core=core)
    images = generate(
        pipe,
        [p.text for p in prompts],
        seeds=list(range(count)),
        steps=STEPS,
        batch=64,
        half=True,
        progress=progress,
    )
    answers = judge.answers(images)
    figures = {}
    for name in GATED:
        asked = [i for i, p in enumerate(prompts) if name in p.stated]
        right = macro_accuracy([answers[i][name] for i in asked], [prompts[i].stated[name] for i in asked])
        label = f"{name}_accuracy" if core else f"{name}_accuracy_full"
        chance = 1 / len(values(name, core))
        figures[label] = Figure(
            right, "", "higher", f"{len(asked)} prompts, chance {chance:.2f}, bfloat16 autocast"
        )
    return figures


def _judged(vae: Any, judge: Judge, scenes: list[Scene], pictures: Tensor) -> dict[str, Figure]:
    alone, truth = _alone(scenes)
    styles = sorted({t["style"] for t in truth})
    figures = {}
    for prefix, images in (("judge", pictures[alone]), ("judge_vae", round_trip(vae, pictures[alone]))):
        answers = judge.answers(to_u8(images))
        scores = _scores(answers, truth)
        for name, score in scores.items():
            figures[f"{prefix}_{name}"] = Figure(score, "", "higher", f"{len(alone)} test renders")
        figures[f"{prefix}_accuracy_min"] = _lowest(scores, f"{len(alone)} test renders, full vocabulary")
        by_style = {}
        for style in styles:
            own = [i for i, t in enumerate(truth) if t["style"] == style]
            of_style = _scores([answers[i] for i in own], [truth[i] for i in own])
            by_style[style] = min(score for name, score in of_style.items() if name != "style")
        figures[f"{prefix}_accuracy_min_a_style"] = _lowest(by_style, f"{len(alone)} test renders")
    return figures


def _judged_core(vae: Any, judge: Judge, scenes: list[Scene], pictures: Tensor) -> dict[str, Figure]:
    alone, truth = _alone(scenes)
    figures = {}
    for prefix, images in (("judge", pictures[alone]), ("judge_vae", round_trip(vae, pictures[alone]))):
        scores = _scores(judge.answers(to_u8(images)), truth)
        each = ", ".join(f"{name} {number(score)}" for name, score in scores.items())
        figures[f"{prefix}_accuracy_min_core"] = _lowest(
            scores, f"{len(alone)} test renders, core vocabulary: {each}"
        )
    return figures


def _alone(scenes: list[Scene]) -> tuple[list[int], list[dict[str, str]]]:
    """Numbers and labels of the scenes without a relation, which show one kind of thing."""
    alone = [i for i, scene in enumerate(scenes) if scene.relation is None]
    return alone, [labels(scenes[i]) for i in alone]


def _scores(answers: list[dict[str, Any]], truth: list[dict[str, str]]) -> dict[str, float]:
    return {name: macro_accuracy([a[name] for a in answers], [t[name] for t in truth]) for name in answers[0]}


def _lowest(scores: dict[str, float], of: str) -> Figure:
    worst = min(scores, key=scores.__getitem__)
    return Figure(scores[worst], "", "higher", f"the lowest is {worst}; {of}")


def _guessed(judge: Judge) -> dict[str, Figure]:
    figures = {}
    for sort, guessed in guesses(judge).items():
        for name, guess in guessed.items():
            chance = 1 / len(judge.attributes[name])
            note = f"mean, chance {chance:.2f}; answers {guess.value} to {guess.share:.0%} of 64"
            figures[f"judge_confidence_{sort}_{name}"] = Figure(guess.confidence, "", "lower", note)
    return figures


def _coded(vae: Any, pictures: Tensor, fitted: int) -> dict[str, Figure]:
    ours = psnr(round_trip(vae, pictures), pictures).mean()
    learned = render(sample(seeds("train", fitted, start=2**29))).image
    linear = psnr(linear_code(learned, pictures), pictures).mean()
    return {
        "vae_psnr": Figure(float(ours), "dB", "higher", f"{len(pictures)} test renders, mean a picture"),
        "vae_psnr_linear": Figure(
            float(linear), "dB", "higher", "best linear code of 4x4 patches, 8 components"
        ),
    }


def linear_code(learned: Tensor, images: Tensor, side: int = 4, components: int = 8) -> Tensor:
    """Reconstruct pictures from the leading principal components of their patches.

    Args:
        learned: Pictures from which the components are taken.
        images: Pictures to code.
        side: Of a patch, pixels.
        components: How many numbers a patch keeps.

    Shapes:
        learned (A, 3, H, W), images (B, 3, H, W) -> (B, 3, H, W)
    """
    fold = torch.nn.functional.pixel_unshuffle
    rows = fold(learned, side).flatten(2).transpose(1, 2).reshape(-1, 3 * side**2).double()
    mean = rows.mean(0)
    basis = torch.linalg.eigh(torch.cov((rows - mean).T)).eigenvectors[:, -components:]
    patches = fold(images, side).double() - mean.view(-1, 1, 1)
    kept = torch.einsum("bchw,ck,dk->bdhw", patches, basis, basis) + mean.view(-1, 1, 1)
    return torch.nn.functional.pixel_shuffle(kept, side).float().clamp(-1, 1)


def _photos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name a folder with JPEG or PNG pictures.")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise InputError(f"{folder} holds no photograph; name a folder with JPEG or PNG pictures.")
    return paths


def _photo_psnr(vae: Any, paths: list[Path], count: int) -> Figure:
    values = []
    for path in paths[:: max(1, len(paths) // count)][:count]:
        picture = load_image(path)
        height, width = (side - side % 4 for side in picture.shape[:2])
        image = torch.from_numpy(picture[:height, :width].copy()).permute(2, 0, 1)[None] / 127.5 - 1
        values.append(float(psnr(round_trip(vae, image), image)))
    return Figure(float(np.mean(values)), "dB", "higher", f"{len(values)} photographs, mean a picture")


def _seconds(pipe: Any, runs: int) -> Figure:
    from diffwright.diffusion.sampling import generate

    times = []
    for seed in range(runs):
        start = time.perf_counter()
        generate(pipe, "a red mug on grass", seeds=seed, steps=STEPS)
        times.append(time.perf_counter() - start)
    numbers = str(pipe.unet.dtype).removeprefix("torch.")
    note = f"one picture, {STEPS} steps, {numbers} without autocast"
    return Figure(float(np.median(times[1:])), "s", "lower", note)
