"""Writing into strips: DDIM with two guidance scales, and the known part of the strip put back at every step.

Reference:
    Song, Meng, Ermon, Denoising Diffusion Implicit Models, 2021, Eq. 12. Two scales: Brooks et al.,
    InstructPix2Pix, 2023, Eq. 3. Known part: Avrahami et al., Blended Latent Diffusion, 2023, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffwright.core.checks import in_range, shape, whole
from diffwright.core.errors import InputError
from diffwright.core.progress import Progress, report
from diffwright.scenetext.dual import Conditions
from diffwright.scenetext.losses import latent_mask


@torch.inference_mode()
def write(
    model: Any,
    vae: Any,
    strips: Tensor,
    mask: Tensor,
    texts: Sequence[str],
    sentences: Sequence[str | None],
    *,
    generators: Sequence[torch.Generator],
    steps: int | None = None,
    guidance: tuple[float, float] | None = None,
    others: Sequence[str] | None = None,
    mix: float = 0.0,
    progress: Progress | None = None,
) -> Tensor:
    """Write texts into the masked part of strips.

    Args:
        model: A ``SceneTextModel``, or what ``sd.wrap`` gives.
        vae: Its autoencoder.
        strips: Pictures in [-1, 1]; what lies under the mask is not looked at.
        mask: Where to write.
        texts: What to write, "" to erase.
        sentences: How, such as ``Write "OPEN" in color: teal``; None leaves the instruction out.
        generators: One CPU generator for each strip.
        steps: N, 1 to 1000; the model's own without it.
        guidance: Scales of the characters and of the instruction, 1 and 1 is none; the model's own without it. A model
            without a character branch is guided by the first alone, for its instruction spells the word, too.
        others: Second sentences; what is predicted for both is mixed.
        mix: Share of the second ones, 0 to 1.
        progress: Called as ("writing", step, steps).

    Returns:
        Decoded strips in [-1, 1]. Outside the mask they differ from the given ones by what the autoencoder
        loses; put the known pixels back.

    Shapes:
        strips (B, 3, H, W), mask bool (B, 1, H, W) -> (B, 3, H, W)

    Raises:
        InputError, ConfigError: Shapes, numbers or values do not fit.
        Cancelled: The callback asked for it.
    """
    count: int = model.steps if steps is None else steps
    scales: tuple[float, float] = model.guidance if guidance is None else guidance
    _check(strips, mask, texts, sentences, generators, count, scales)
    weight = next(vae.parameters())
    strips, hole = strips.to(weight), mask.to(weight.device)
    scale = vae.config.scaling_factor
    known, masked = (
        scale * vae.encode(part).latent_dist.mean for part in (strips, strips.masked_fill(hole, 0.0))
    )
    m = latent_mask(hole, known.shape[-2:]).to(known)
    noise = torch.stack([torch.randn(known.shape[1:], generator=g) for g in generators]).to(known)
    said = [(1.0, sentences)] if others is None else [(1 - mix, sentences), (mix, others)]
    runs = _runs(model, texts, said, scales)
    levels, x = _levels(model.scheduler, count), noise
    x0 = known
    for i, (t, a) in enumerate(levels):
        report(progress, "writing", i, count)
        told = torch.full((len(x),), t, device=x.device)
        out = sum(w * model.predict(x, m, masked, told, c).to(x) for w, c in runs)
        x0, eps = _split(out, x, a, model.scheduler.config.prediction_type)  # type: ignore[arg-type]
        b = levels[i + 1][1] if i + 1 < count else 1.0
        x = m * (b**0.5 * x0 + (1 - b) ** 0.5 * eps)
        x = x + (1 - m) * (b**0.5 * known + (1 - b) ** 0.5 * noise)
    report(progress, "writing", count, count)
    return vae.decode(x / scale).sample.float().clamp(-1, 1)


def _runs(
    model: Any,
    texts: Sequence[str],
    said: Sequence[tuple[float, Sequence[str | None]]],
    guidance: tuple[float, float],
) -> list[tuple[float, Conditions]]:
    """Weights of v(c, s), v(∅, s) for each s, and of v(∅, ∅); their sum is 1, and those of weight 0 are left out."""
    g_char, g_inst = guidance
    none: list[str | None] = [None] * len(texts)
    if model.characters is None:
        g_inst = g_char
    asked = [(g_char * share, list(texts), sentences) for share, sentences in said]
    asked += [((g_inst - g_char) * share, none, sentences) for share, sentences in said]
    asked += [(1 - g_inst, none, none)]
    return [(w, model.encode(c, s)) for w, c, s in asked if abs(w) > 1e-9]


def _levels(scheduler: Any, steps: int) -> list[tuple[int, float]]:
    """Steps and their ᾱ from noise alone on, evenly spaced so that the last training step comes first."""
    alpha_bar = scheduler.alphas_cumprod.double().tolist()
    count = len(alpha_bar)
    times = [round(count - i * count / steps) - 1 for i in range(steps)]
    return [(t, alpha_bar[t]) for t in times]


def _split(out: Tensor, x: Tensor, a: float, prediction: str) -> tuple[Tensor, Tensor]:
    """x̂0 and ε̂ from what the model said at ᾱ = a."""
    if prediction == "v_prediction":
        return a**0.5 * x - (1 - a) ** 0.5 * out, (1 - a) ** 0.5 * x + a**0.5 * out
    return (x - (1 - a) ** 0.5 * out) / max(a, 1e-8) ** 0.5, out


def _check(
    strips: Tensor,
    mask: Tensor,
    texts: Sequence[str],
    sentences: Sequence[str | None],
    generators: Sequence[torch.Generator],
    steps: int,
    guidance: tuple[float, float],
) -> None:
    sizes = shape("strips", strips, ("B", 3, "H", "W"))
    shape("mask", mask, (sizes["B"], 1, sizes["H"], sizes["W"]))
    if mask.dtype != torch.bool:
        raise InputError(f"the mask is of {mask.dtype}, expected bool")
    for name, values in (("texts", texts), ("instructions", sentences), ("generators", generators)):
        if len(values) != sizes["B"]:
            raise InputError(f"{len(values)} {name} were given for {sizes['B']} strips, expected as many")
    whole("steps", steps, 1, 1000)
    for name, value in zip(
        ("guidance of the characters", "guidance of the instruction"), guidance, strict=True
    ):
        in_range(name, value, 0.0, 100.0)
