"""The one table of what is supported: which layouts, with which prediction, for which systems."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from diffwright.core.errors import UnsupportedBackbone


@dataclass(frozen=True)
class Backbone:
    """One supported layout of text-to-image model.

    Attributes:
        layout: its short name.
        title: the published models of this layout.
        predictions: what its UNet may predict (``epsilon``, ``v_prediction``).
        systems: the verbs that work on it.
        text_encoders: prefixes of its text encoders in site names.
        latent_channels: channels of the latent picture.
        unet_channels: channels that the UNet reads.
        guidance: classifier-free guidance used when none is asked for.
        prediction: what the described model predicts; empty in the table.
    """

    layout: str
    title: str
    predictions: tuple[str, ...]
    systems: tuple[str, ...]
    text_encoders: tuple[str, ...]
    latent_channels: int
    unet_channels: int
    guidance: float
    prediction: str = ""


_BOTH = ("epsilon", "v_prediction")

TABLE = (
    Backbone("pocket", "pocket", ("v_prediction",), ("generate", "trace", "fix", "edit"), ("te",), 8, 8, 3.0),
    Backbone(
        "sd", "Stable Diffusion 1.x, 2.x", _BOTH, ("generate", "trace", "fix", "edit"), ("te",), 4, 4, 7.5
    ),
    Backbone("sd-inpaint", "Stable Diffusion 1.x, 2.x inpainting", _BOTH, ("fix",), ("te",), 4, 9, 7.5),
    Backbone(
        "sdxl", "Stable Diffusion XL base", _BOTH, ("generate", "trace", "fix"), ("te", "te2"), 4, 4, 5.0
    ),
)


def describe(pipe: Any) -> Backbone:
    """Say which supported layout a pipeline has.

    Args:
        pipe: a diffusers pipeline.

    Returns:
        The row of the table, with the ``prediction`` of this model.

    Raises:
        UnsupportedBackbone: layout or prediction is not in the table; the message names what was found.
    """
    given = type(pipe).__name__
    unet, scheduler = getattr(pipe, "unet", None), getattr(pipe, "scheduler", None)
    if unet is None or type(unet).__name__ != "UNet2DConditionModel" or scheduler is None:
        raise _refusal(given, "no UNet2DConditionModel")
    encoders = tuple(
        prefix
        for prefix, part in (("te", "text_encoder"), ("te2", "text_encoder_2"))
        if getattr(pipe, part, None) is not None
    )
    latent, read = pipe.vae.config.latent_channels, unet.config.in_channels
    rows = [
        r for r in TABLE if (r.text_encoders, r.latent_channels, r.unet_channels) == (encoders, latent, read)
    ]
    if not rows:
        raise _refusal(
            given, f"text encoders {'+'.join(encoders) or 'none'}, {latent} latent and {read} UNet channels"
        )
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if prediction not in rows[0].predictions:
        raise _refusal(given, f"prediction type {prediction!r}")
    if prediction == "epsilon" and scheduler.config.get("rescale_betas_zero_snr", False):
        raise _refusal(given, "prediction type 'epsilon' on a schedule that ends in pure noise")
    return replace(rows[0], prediction=prediction)


def require(pipe: Any, system: str) -> Backbone:
    """Describe a pipeline and make sure that a system works on it.

    Args:
        pipe: a diffusers pipeline.
        system: the verb, such as ``fix``.

    Raises:
        UnsupportedBackbone: the table has no such entry.
    """
    found = describe(pipe)
    if system not in found.systems:
        able = ", ".join(row.layout for row in TABLE if system in row.systems)
        raise UnsupportedBackbone(
            f"{system!r} does not work on the layout {found.layout!r}; it works on {able}."
        )
    return found


def _refusal(given: str, has: str) -> UnsupportedBackbone:
    supported = "; ".join(row.title for row in TABLE)
    return UnsupportedBackbone(f"{given} with {has} is not supported; supported are {supported}.")


def table() -> str:
    """Write the table of supported models as Markdown, for the docs and ``doctor``."""
    lines = ["| layout | models | prediction | works with |", "|---|---|---|---|"]
    for row in TABLE:
        lines.append(
            f"| {row.layout} | {row.title} | {', '.join(row.predictions)} | {', '.join(row.systems)} |"
        )
    return "\n".join(lines) + "\n"
