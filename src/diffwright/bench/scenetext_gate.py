"""Whether the judge can be trusted, and whether the autoencoder keeps what it reads: what a text model stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from diffwright.bench.harness import Figure, number
from diffwright.core.images import to_tensor, to_u8
from diffwright.core.progress import Progress, report
from diffwright.diffusion.autoencoder import round_trip
from diffwright.metrics.ocr import Judge, likeness, misspelled, same, wilson
from diffwright.metrics.statistics import Interval
from diffwright.world.lettering import looks
from diffwright.world.lettering.camera import Camera, sample_camera
from diffwright.world.lettering.draw import draw
from diffwright.world.lettering.faces import Face, named
from diffwright.world.lettering.families import ONE_CASE
from diffwright.world.lettering.framing import HEIGHT, WIDTH
from diffwright.world.lettering.glyphs import measure
from diffwright.world.lettering.grounds import Ground, paint
from diffwright.world.lettering.scene import TextScene, draw_face
from diffwright.world.lettering.word import Word
from diffwright.world.lettering.words import words

CAPS = (16, 12)
"""Heights of a capital letter in the strip, pixels; the first decides."""
WIDEST, HIGHEST = WIDTH - 10, HEIGHT - 3
STREAM = 77  # of the generator, so that no other draws meet these
LEVEL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
MISSPELT_CAP = 18
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class DrawnStrip:
    """A strip with one word of a known cap height.

    Args:
        image: uint8 (32, 128, 3).
        text: What it says.
        face: What it is set in.
    """

    image: np.ndarray
    text: str
    face: Face


def strips_at(cap: float, count: int, start: int = 0) -> list[DrawnStrip]:
    """Draw held-out words of 2 to 8 letters with every look and camera of training at one cap height.

    Args:
        cap: Height of a capital H, strip pixels.
        count: Strips.
        start: Number of the first; strip k of one height shares its look with strip k of another where both fit.
    """
    return [_strip_at(cap, start + k) for k in range(count)]


def _strip_at(cap: float, number_: int) -> DrawnStrip:
    rng = np.random.Generator(np.random.PCG64([number_, STREAM]))
    while True:
        ground, face = looks.sample_ground(rng, "word", None), draw_face(rng, "train")
        text = _cased(rng, _word(rng, int(rng.integers(2, 9))), face)
        style = looks.sample_style(rng, "word", paint(ground, (HEIGHT, WIDTH)))
        word = replace(style.word(text, face, cap / measure(face, "H")[1]), squeeze=1.0)
        camera = sample_camera(rng)
        if word.extent[0] <= WIDEST and word.extent[1] <= HIGHEST:
            return DrawnStrip(_drawn(word, ground, camera), text, face)


def _word(rng: np.random.Generator, length: int) -> str:
    known = words("test", (length, length))
    return known[int(rng.integers(len(known)))]


def _cased(rng: np.random.Generator, text: str, face: Face) -> str:
    chance = rng.random()
    if chance < 0.4 or face.family in ONE_CASE:
        return text.upper()
    return text.capitalize() if chance < 0.7 else text


def _drawn(word: Word, ground: Ground, camera: Camera) -> np.ndarray:
    placed = replace(word, place=(WIDTH / 2, HEIGHT / 2))
    return draw(TextScene((placed,), 0, ground, LEVEL, camera, (HEIGHT, WIDTH), "word")).image


def plain_strip(text: str, face: Face, cap: float) -> np.ndarray:
    """Draw a word in black on white, as a strip of its own width.

    Shapes:
        -> uint8 (32, W, 3)
    """
    word = Word(text, face, cap / measure(face, "H")[1], (0, 0, 0), "black")
    width = int(word.extent[0]) + 12
    word = replace(word, place=(width / 2, HEIGHT / 2))
    ground = Ground("flat", (255, 255, 255), (255, 255, 255), 0)
    return draw(TextScene((word,), 0, ground, LEVEL, Camera(), (HEIGHT, width), "word")).image


def vae_gate(judge: Judge, vae: Any, count: int, progress: Progress | None = None) -> dict[str, Figure]:
    """Read words before and after the autoencoder's round trip.

    Args:
        judge: Reads them.
        vae: An ``AutoencoderKL``.
        count: Strips of each height.
        progress: Is told the heights done.

    Returns:
        ``vae_gate`` (share read after over share read before, at a cap height of 16 pixels), ``vae_gate_cap12``, for
        each the share read before, and ``vae_strip_psnr``.
    """
    found: dict[str, Figure] = {}
    for done, cap in enumerate(CAPS):
        report(progress, "words through the autoencoder", done, len(CAPS))
        drawn = strips_at(cap, count)
        back = through(vae, [strip.image for strip in drawn])
        before, after = (
            np.array([same(r, s.text) for r, s in zip(judge.read(images), drawn, strict=True)])
            for images in ([strip.image for strip in drawn], back)
        )
        kept = ratio_interval(after, before)
        lost = int((before & ~after).sum())
        name, end = ("vae_gate", "") if cap == CAPS[0] else (f"vae_gate_cap{cap}", f"_cap{cap}")
        note = (
            f"reading kept at cap height {cap} px; {count} words, 95 % {number(kept.low)} to {number(kept.high)}; "
            f"{lost} of {int(before.sum())} lost"
        )
        found[name] = Figure(kept.value if before.any() else 0.0, "", "higher", note)
        found[f"vae_read_before{end}"] = Figure(
            float(before.mean()), "", "higher", f"by {judge.name}, without the autoencoder"
        )
        if cap == CAPS[0]:
            errors = [((a.astype(float) - s.image) ** 2).mean() for a, s in zip(back, drawn, strict=True)]
            psnr = float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-3))))
            found["vae_strip_psnr"] = Figure(psnr, "dB", "higher", f"{count} strips of drawn words")
    report(progress, "words through the autoencoder", len(CAPS), len(CAPS))
    return found


def through(vae: Any, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Encode and decode strips.

    Args:
        vae: An ``AutoencoderKL``.
        images: uint8 (H, W, 3), all of one size.
    """
    batch = torch.cat([to_tensor(image) for image in images])
    return list(to_u8(round_trip(vae, batch, batch=16)))


def ratio_interval(ours: np.ndarray, base: np.ndarray, seed: int = 0) -> Interval:
    """Ratio of two shares over the same items with its 95 % bootstrap interval.

    Args:
        ours: Zeros and ones.
        base: Likewise; not all zero.
        seed: Of the resampling.

    Returns:
        NaN in place of a ratio where the base is all zero.

    Example:
        >>> ratio_interval(np.array([1, 1]), np.array([1, 1])).low
        1.0
    """
    draws = np.random.default_rng(seed).integers(0, len(ours), (RESAMPLES, len(ours)))
    tops, bottoms = ours[draws].sum(axis=1), base[draws].sum(axis=1)
    ratios = tops[bottoms > 0] / bottoms[bottoms > 0]
    if not len(ratios) or not base.sum():
        return Interval(float("nan"), float("nan"), float("nan"), 0.95)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Interval(float(ours.sum() / base.sum()), float(low), float(high), 0.95)


def misspellings(count: int, faces: Sequence[Face]) -> list[tuple[str, str, np.ndarray]]:
    """Draw misspelt words: (word, as it is drawn, strip).

    Args:
        count: How many.
        faces: Taken in turn.
    """
    rng = np.random.Generator(np.random.PCG64([count, STREAM]))
    correct = {*words("train", (2, 16)), *words("test", (2, 16))}
    drawn = []
    while len(drawn) < count:
        word = _word(rng, int(rng.integers(4, 9)))
        wrong = misspelled(word, rng)
        if wrong not in correct:
            face = faces[len(drawn) % len(faces)]
            drawn.append((word, wrong, plain_strip(wrong, face, MISSPELT_CAP)))
    return drawn


def false_acceptance(judge: Judge, count: int, faces: Sequence[Face] | None = None) -> dict[str, Figure]:
    """Count misspellings that a judge silently mends.

    Args:
        judge: What is tested.
        count: Misspelt words.
        faces: What they are set in; those that ship in the package without it.

    Returns:
        ``judge_mended`` (must be 0) and ``judge_reads_misspelt``.
    """
    faces = faces or shipped()
    drawn = misspellings(count, faces)
    readings = judge.read([image for _, _, image in drawn])
    mended = sum(same(read, word) for read, (word, _, _) in zip(readings, drawn, strict=True))
    right = [same(read, wrong) for read, (_, wrong, _) in zip(readings, drawn, strict=True)]
    near = np.mean([likeness(read, wrong) for read, (_, wrong, _) in zip(readings, drawn, strict=True)])
    share = wilson(mended, count)
    note = f"of {count} misspelt words, by {judge.name}; share at most {number(share.high)} (95 %)"
    return {
        "judge_mended": Figure(mended, "", "lower", note),
        "judge_reads_misspelt": Figure(
            float(np.mean(right)), "", "higher", f"read as drawn; mean likeness {number(float(near))}"
        ),
    }


def shipped() -> tuple[Face, ...]:
    """Give three upright faces of the package."""
    plain = partial(named, folders=())
    return plain("DejaVu Sans"), plain("DejaVu Serif"), plain("DejaVu Sans", bold=True)
