"""What an edit costs: seconds, operations counted while it runs, and operations at the size of Stable Diffusion."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from diffwright.bench.editing_cases import Case
from diffwright.bench.harness import Figure, interleaved
from diffwright.editing.editor import ImageEditor
from diffwright.editing.presets import PRESETS, Preset

PUBLISHED_TFLOP = 217.6
"""Of DiffEditor's own code at 512 x 512 with time travel, counted from its calls."""


def cost_figures(editor: ImageEditor, case: Case, rounds: int) -> dict[str, Figure]:
    """Seconds of a ``fast`` edit, of the second edit of a picture, and operations of each preset.

    Args:
        editor: any.
        case: a move.
        rounds: repetitions of the timed calls.
    """

    def cold(name: str) -> None:
        editor.set_image(case.picture, case.caption)
        editor.edit([case.operation], preset=name)

    def warm() -> None:
        editor.edit([case.operation], preset="fast")

    times = interleaved({"cold": lambda: cold("fast"), "warm": warm}, rounds)
    counted = {name: operations(lambda name=name: cold(name)) for name in PRESETS}
    notes = ", ".join(f"{name} {value / 1e9:.1f}" for name, value in counted.items())
    return {
        "seconds_per_edit_fast": Figure(times["cold"] / 1e3, "s", "lower", f"cold, {rounds} runs"),
        "second_edit_ratio": Figure(times["warm"] / times["cold"], "x", "lower", "second edit of a picture"),
        "cost_ratio_fast": Figure(
            counted["fast"] / counted["reference"], "x", "lower", f"GFLOP of a cold move: {notes}"
        ),
    }


def real_size_figures() -> dict[str, Figure]:
    """Operations of a cold move at 512 x 512 with networks of the shape of Stable Diffusion 1.5."""
    counted = {name: tflop(preset) for name, preset in PRESETS.items()}
    note = f"published code: {PUBLISHED_TFLOP}"
    return {f"{name}_tflop_512": Figure(value, "TFLOP", "lower", note) for name, value in counted.items()}


def operations(run: Callable[[], Any]) -> int:
    """Floating-point operations of a call, forward and backward, two for a multiply and add.

    Args:
        run: the call.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def tflop(p: Preset, side: int = 512) -> float:
    """Operations of a cold move with a preset, from what its steps call and what one call costs.

    Args:
        p: the preset.
        side: of the picture, pixels.

    Returns:
        TFLOP, text and image towers left out.
    """
    part, steps = parts(side), p.steps_taken(["move"])
    guided = sum(step.passes for step in steps if step.guided)
    targets = 0 if p.own_level else sum(step.guided for step in steps)
    evaluations = {
        "unet": p.steps - p.first + p.own_level  # the inversion
        + sum(step.passes for step in steps) * (1 if p.guidance == 1 else 2)
        + sum(step.passes - 1 for step in steps),  # time travel
        "to_taps": guided + targets,
        "backward": guided * (2 if p.regional else 1),
        "encode": 2 if p.begin == "collage" else 1,
        "decode": 2,  # the picture and the round trip that its warning and its detail need
    }  # fmt: skip
    return sum(part[name] * count for name, count in evaluations.items())


@cache
def parts(side: int = 512) -> dict[str, float]:
    """TFLOP of one call of each part of Stable Diffusion 1.5, counted without memory.

    Args:
        side: of the picture, a multiple of 64 pixels.

    Returns:
        ``unet`` (one pass), ``to_taps`` (as far as the features), ``backward`` (from there to the latents),
        ``encode`` and ``decode``.
    """
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from diffwright.diffusion.features import features

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768).requires_grad_(False)
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),  # pyright: ignore[reportArgumentType]
            down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
            up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
            layers_per_block=2,
            latent_channels=4,
        ).requires_grad_(False)
        z = torch.empty(1, 4, side // 8, side // 8)
        t, words, image = torch.empty(()), torch.empty(1, 77, 768), torch.empty(1, 3, side, side)
        watched = z.clone().requires_grad_()

        def to_taps() -> Any:
            return features(unet, lambda: unet(watched, t, words))

        def there_and_back() -> None:
            coarse, fine = to_taps()
            torch.autograd.grad(coarse.sum() + fine.sum(), watched)

        with torch.no_grad():
            counted = {
                "unet": operations(lambda: unet(z, t, words)),
                "to_taps": operations(to_taps),
                "encode": operations(lambda: vae.encode(image)),
                "decode": operations(lambda: vae.decode(z)),  # pyright: ignore[reportArgumentType]
            }
        counted["backward"] = operations(there_and_back) - counted["to_taps"]
    return {name: value / 1e12 for name, value in counted.items()}
