"""Where, how and how strongly a layout's concepts are edited when the caller does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from diffwright.concepts.corpus import everyday_prompts
from diffwright.concepts.modes import HOLDING, MODES
from diffwright.concepts.probes import world_prompts
from diffwright.core.checks import in_range, one_of
from diffwright.core.errors import ConfigError, InputError

PAPER_TEMPLATES = ("{}", "a photo of {}", "an image of {}", "a picture of {}")
"""The four templates of the paper's released settings."""

WORLD_TEMPLATES = (
    "{}",
    "a {}",
    "a photo of a {}",
    "a red {}",
    "a photo of a green {}",
    "a pencil drawing of a blue {}",
    "there is a {}",
    "on grass, a {}",
    "a mosaic of an orange {}",
    "a {} on snow, from above",
    "a {} mug",
    "a photo of a {} cube",
    "a pencil drawing of a {} tree on sand",
    "there is a {} duck",
    "on snow, a {} house, from above",
    "pixel art of a {} car",
    "a {} of a red mug",
    "a {} of a blue tree on grass",
    "a {}: a green cube",
    "a yellow duck, a {}",
    "on sand, a white cone, a {}",
    "a purple house in the style of a {}",
    "a {} showing a pink car",
    "an orange sphere on snow, a {}",
)
"""Templates for things, colors and styles of the rendered world, from patterns that its models are trained on."""


@dataclass(frozen=True)
class Choice:
    """The settings of an edit.

    Attributes:
        site: names or patterns of the sites.
        lam: ridge strength.
        tokens: which positions are rewritten (see ``edit_concepts``).
        aim: what the site must give (see ``edit_concepts``).
        templates: prompts with ``{}`` where the concept goes.
        preserve_weight: importance of held rows against edited ones.
        held: whole prompts that must be read as before, where they don't name a source.
        mode: how the edit is held back (see ``modes.frame_of``).
        null_threshold: what counts as unused in the mode ``null-space``.
        average: fit the mean of a concept's templates in place of each.
    """

    site: tuple[str, ...] = ("te*.0.attn.out",)
    lam: float = 1e-2
    tokens: str = "last"
    aim: str = "output"
    templates: tuple[str, ...] = PAPER_TEMPLATES
    preserve_weight: float = 1.0
    held: tuple[str, ...] = ()
    mode: str = "ridge"
    null_threshold: float = 1e-2
    average: bool = False

    @classmethod
    def parsed(cls, record: Mapping[str, Any]) -> Choice:
        """Read the settings back from JSON.

        Raises:
            KeyError, TypeError, ValueError: an entry is missing or of another kind.
        """
        one_of("mode", record["mode"], MODES)
        return cls(
            site=tuple(map(str, record["site"])),
            lam=float(record["lam"]),
            tokens=str(record["tokens"]),
            aim=str(record["aim"]),
            templates=tuple(map(str, record["templates"])),
            preserve_weight=float(record["preserve_weight"]),
            held=tuple(map(str, record["held"])),
            mode=record["mode"],
            null_threshold=float(record["null_threshold"]),
            average=bool(record["average"]),
        )

    def __str__(self) -> str:
        return f"{' '.join(self.site)}, {self.mode}, {self.aim}, {self.tokens}, lam {self.lam:g}"


def default_choice(layout: str, mode: str | None = None) -> Choice:
    """Give the settings used for a layout when nothing else is asked for.

    Args:
        layout: a layout of ``diffusion/backbones.py``.
        mode: one of ``MODES``; None takes ``preserve`` for pocket and, as in the paper, ``ridge`` for the others.
            ``legacy`` gives the settings that the paper released; modes that hold a corpus get one.

    Raises:
        ConfigError: unknown mode.
    """
    if mode is not None:
        one_of("mode", mode, MODES)
    if mode == "legacy":
        return Choice(mode="legacy", tokens="last+eos+pad")
    if layout == "pocket":
        mode = mode or "preserve"
        held = world_prompts() if mode in HOLDING else ()
        site = ("te.0.mlp.out",)
        return Choice(site, 1.0, tokens="span", aim="stream", templates=WORLD_TEMPLATES, held=held, mode=mode)
    held = everyday_prompts() if mode in ("covariance", "null-space") else ()
    return Choice(mode=mode or "ridge", held=held)


def choose(layout: str, mode: str | None, *, named: bool, facts: bool, **given: Any) -> Choice:
    """Fill the settings that the caller left out.

    Args:
        layout: a layout of ``diffusion/backbones.py``.
        mode: what the caller asks for; without a word, ``preserve`` where there is something to hold, else ``ridge``.
        named: whether the caller names concepts or prompts to hold.
        facts: whether facts bring words to hold, where the mode holds any.
        given: fields of ``Choice``; None where the caller did not say.

    Raises:
        InputError: something is to be held by a mode that holds nothing.
        ConfigError: a setting is out of range or does not go with the mode.
    """
    usual = default_choice(layout, mode)
    held = usual.held if given.get("held") is None else given["held"]
    if mode is None:
        usual = replace(usual, mode="preserve" if named or facts or held else "ridge")
    if named and usual.mode not in HOLDING:
        raise InputError(
            f"Mode {mode!r} holds nothing, but concepts or prompts to preserve were given; "
            f"use one of {', '.join(HOLDING)}."
        )
    chosen = replace(usual, **{name: value for name, value in given.items() if value is not None})
    if chosen.mode not in HOLDING and chosen.preserve_weight != usual.preserve_weight:
        raise ConfigError(f"preserve_weight was given, but mode {chosen.mode!r} holds nothing; leave it out.")
    if chosen.mode != "null-space" and chosen.null_threshold != usual.null_threshold:
        raise ConfigError(
            f"null_threshold was given, but the mode is {chosen.mode!r}; it goes with 'null-space'."
        )
    in_range("preserve_weight", chosen.preserve_weight, 1e-6, 1e6)
    in_range("null_threshold", chosen.null_threshold, 0, 1)
    if chosen.mode == "legacy":
        one_of("aim of mode 'legacy'", chosen.aim, ("output",))
    return chosen
