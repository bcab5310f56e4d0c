"""``diffwright train``: a pocket model by its recipe."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from diffwright.cli.bars import shown
from diffwright.cli.flags import OutputFlags, command_line
from diffwright.core.errors import ConfigError
from diffwright.training.catalog import RECIPES


@dataclass(frozen=True, kw_only=True)
class Train(OutputFlags):
    """Train a pocket model; the same command again goes on from the newest checkpoint.

    diffwright train t2i --minutes 150 --optimizer diffgrad --out runs/t2i
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help=f"Which recipe: {', '.join(RECIPES)}.")]
    minutes: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Budget in minutes; that of the recipe's YAML by default."""
    samples: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Budget in samples instead."""
    optimizer: Literal["adamw", "diffgrad"] | None = None
    """The optimizer; that of the recipe by default."""
    lr: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Highest learning rate."""
    batch_size: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Samples a step."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Seed of the first weights and of all noise; that of the recipe by default."""
    cache: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder that "world cache" rendered."""
    photos: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of photographs, for the recipes of matching and scene text."""
    init: Annotated[Path | None, tyro.conf.arg(metavar="MODEL")] = None
    """Model to start from."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of checkpoints, log and finished model; runs/RECIPE by default."""
    options: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = ()
    """Other options of the recipe, as in its YAML: stage1=DIR, view_share=0.2, cost_injection=false ..."""

    def run(self) -> None:
        """Train, or resume."""
        if self.minutes is not None and self.samples is not None:
            raise ConfigError(
                f"both --minutes {self.minutes:g} and --samples {self.samples} were given; give one of them"
            )
        from diffwright.training.catalog import train

        named = {"cache": self.cache, "photos": self.photos, "init": self.init}
        out = self.out or Path("runs") / self.recipe
        settings = {
            "out": out,
            "minutes": self.minutes,
            "samples": self.samples,
            "optimizer": self.optimizer,
            "lr": self.lr,
            "batch_size": self.batch_size,
            "seed": self.seed,
        }
        with shown() as progress:
            result = train(self.recipe, settings, named | options_of(self.options), progress)
        if os.environ.get("RANK", "0") != "0":
            return  # of several processes, the first one speaks
        lines = [
            f"{name:<28} {value:.4g}" for name, value in result.items() if isinstance(value, int | float)
        ]
        record = {"command": command_line(), "out": str(out), **result}
        self.say(record, "\n".join([*lines, f"model in {out / 'model'}"]))


def options_of(words: Sequence[str]) -> dict[str, Any]:
    """Read options of a recipe, values as YAML writes them.

    Args:
        words: Each NAME=VALUE.

    Returns:
        Values by name.

    Raises:
        ConfigError: One has no name or no value, comes twice, or its value is not YAML.
    """
    import yaml

    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value) or name in found:
            raise ConfigError(
                f"--options was given {word!r}; expected each as NAME=VALUE and once, such as stage1=DIR"
            )
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"the value of --options {word!r} cannot be read; write it as in YAML"
            ) from error
    return found
