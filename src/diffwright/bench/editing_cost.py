"""What an edit costs: seconds, operations counted while it runs, and operations at the size of Stable Diffusion."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from diffwright.bench.editing_cases import Case
from diffwright.bench.harness import Figure, interleaved
from diffwright.diffusion.features import features
from diffwright.editing.editor import ImageEditor
from diffwright.editing.presets import PRESETS, Preset

PUBLISHED_TFLOP = 217.6
"""Of DiffEditor's own code at 512 x 512 with time travel, counted from its calls."""
PARTS: tuple[str, ...] = ("unet", "to_taps", "backward", "encode", "decode")
"""What an edit consists of: UNet passes, passes as far as the features, gradients back from there, and pictures
through the autoencoder."""


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
        "seconds_per_edit_fast": Figure(times["cold"] / 1e3, "s", "lower", f"cold, median of {rounds} runs"),
        "second_edit_ratio": Figure(
            times["warm"] / times["cold"], "x", "lower", "second edit of a picture over its first, fast"
        ),
        "cost_ratio_fast": Figure(
            counted["fast"] / counted["reference"], "x", "lower", f"GFLOP of a cold move: {notes}"
        ),
    }


def real_size_figures() -> dict[str, Figure]:
    """Operations of a cold move at 512 x 512 with networks of the shape of Stable Diffusion 1.5."""
    counted = {name: tflop(preset) for name, preset in PRESETS.items()}
    note = f"published code: {PUBLISHED_TFLOP}"
    return {f"{name}_tflop_512": Figure(value, "TFLOP", "lower", note) for name, value in counted.items()}


def evaluations(p: Preset, task: str = "move") -> dict[str, int]:
    """How often a cold edit with a preset calls each of ``PARTS``.

    Args:
        p: the preset.
        task: name of the operation; those with a reference invert two pictures.
    """
    steps, guides = p.steps_taken([task]), 2 if task in ("replace", "paste") else 1
    scale = p.guidance_replace if task == "replace" else p.guidance
    passes = sum(step.passes for step in steps)
    targets = 0 if p.own_level else sum(step.guided for step in steps)
    guided = sum(step.passes for step in steps if step.guided)
    return {
        "unet": guides * (p.steps - p.first + p.own_level)  # inversion
        + passes * (1 if scale == 1 else 2)  # sampling
        + passes - len(steps),  # time travel
        "to_taps": guided + guides * targets,
        "backward": guided * (2 if p.regional else 1),
        "encode": guides + (p.begin == "collage"),
        "decode": guides + 1 + (p.begin == "collage" and p.detail),  # round trips, for warnings and detail; the picture
    }  # fmt: skip


def tflop(p: Preset, side: int = 512) -> float:
    """Operations of a cold move with a preset at real size, from what it calls and what one call costs.

    Args:
        p: the preset.
        side: of the picture, pixels.

    Returns:
        TFLOP, text and image towers left out.
    """
    part = parts(side)
    return sum(part[name] * count for name, count in evaluations(p).items())


def operations(run: Callable[[], Any]) -> int:
    """Floating-point operations of a call, forward and backward, two for a multiply and add.

    Attention is counted as the products that it is made of, whatever kernel the device would choose.

    Args:
        run: the call.

    Example:
        >>> operations(lambda: torch.ones(3, 5) @ torch.ones(5, 7))
        210
    """
    with _Counter() as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return counter.total


class _Counter(TorchDispatchMode):
    """Adds up torch's own formulas for products and convolutions.

    torch's ``FlopCounterMode`` follows modules by hooks that refuse ``autograd.grad`` back to a leaf.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=out))
        return out


@cache
def parts(side: int = 512) -> dict[str, float]:
    """TFLOP of one call of each of ``PARTS`` in the shape of Stable Diffusion 1.5, counted without memory.

    Args:
        side: of the picture, a multiple of 64 pixels.
    """
    unet, vae = _real_size()
    with torch.device("meta"):
        z = torch.empty(1, 4, side // 8, side // 8)
        t, words, image = torch.empty(()), torch.empty(1, 77, 768), torch.empty(1, 3, side, side)
        watched = z.clone().requires_grad_()

        def to_taps() -> tuple[torch.Tensor, torch.Tensor]:
            return features(unet, lambda: unet(watched, t, words))

        def there_and_back() -> None:
            coarse, fine = to_taps()
            torch.autograd.grad(coarse.sum() + fine.sum(), watched)

        with torch.no_grad():
            counted = {
                "unet": operations(lambda: unet(z, t, words)),
                "to_taps": operations(to_taps),
                "encode": operations(lambda: vae.encode(image)),
                "decode": operations(lambda: vae.decode(z)),
            }
        counted["backward"] = operations(there_and_back) - counted["to_taps"]
    return {name: counted[name] / 1e12 for name in PARTS}


def _real_size() -> tuple[Any, Any]:
    """UNet and autoencoder in the shape of Stable Diffusion 1.5, frozen, without values."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768).requires_grad_(False)
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),  # pyright: ignore[reportArgumentType]
            down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
            up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
            layers_per_block=2,
            latent_channels=4,
        ).requires_grad_(False)
    return unet, vae
