"""Where and how strongly a layout's concepts are edited when the caller does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffwright.concepts.probes import world_prompts

PAPER_TEMPLATES = ("{}", "a photo of {}", "an image of {}", "a picture of {}")
"""The four templates of the paper's released settings."""

WORLD_TEMPLATES = (
    "{}",
    "a {}",
    "a photo of a {}",
    "a red {}",
    "a blue {}",
    "a photo of a green {}",
    "a pencil drawing of a {}",
    "a watercolor painting of a yellow {}",
    "there is a {}",
    "an image of a white {}",
    "on grass, a {}",
    "on sand, a purple {}",
    "from above, a {}",
    "a mosaic of an orange {}",
    "a picture of a pink {}",
    "a red mug on snow, a {}",
)
"""Templates in the language of the rendered world, from sentence patterns that its models are trained on."""


@dataclass(frozen=True)
class Choice:
    """The settings of an edit.

    Attributes:
        site: names or patterns of the sites.
        lam: ridge strength.
        tokens: which positions are rewritten (see ``edit_concepts``).
        aim: what the site must give (see ``edit_concepts``).
        templates: prompts with ``{}`` where the concept goes.
        preserve_weight: importance of a preserved row against an edited one.
        held: whole prompts that must be read as before, where they don't name a source.
    """

    site: tuple[str, ...] = ("te*.0.attn.out",)
    lam: float = 1e-2
    tokens: str = "last"
    aim: str = "output"
    templates: tuple[str, ...] = PAPER_TEMPLATES
    preserve_weight: float = 1.0
    held: tuple[str, ...] = ()

    @classmethod
    def parsed(cls, record: Mapping[str, Any]) -> Choice:
        """Read the settings back from JSON.

        Raises:
            KeyError, TypeError, ValueError: an entry is missing or of another kind.
        """
        return cls(
            site=tuple(map(str, record["site"])),
            lam=float(record["lam"]),
            tokens=str(record["tokens"]),
            aim=str(record["aim"]),
            templates=tuple(map(str, record["templates"])),
            preserve_weight=float(record["preserve_weight"]),
            held=tuple(map(str, record["held"])),
        )

    def __str__(self) -> str:
        return f"{' '.join(self.site)}, {self.aim}, {self.tokens}, lam {self.lam:g}"


def default_choice(layout: str) -> Choice:
    """Give the settings used for a layout when nothing else is asked for: for all but pocket, the paper's."""
    if layout == "pocket":
        return Choice(aim="stream", templates=WORLD_TEMPLATES, held=world_prompts())
    return Choice()
