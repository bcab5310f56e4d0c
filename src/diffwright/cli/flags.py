"""Flags that verbs share, as dataclasses to inherit from."""

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg


@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """Where the machine-readable result goes."""

    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """Also write the record as JSON to this file, or to standard output for "-"."""

    def say(self, record: Mapping[str, Any], text: str) -> None:
        """Print the text for people, and write the record where ``--json`` asks for it.

        Args:
            record: Plain JSON values.
            text: What a person reads; left out when the JSON itself goes to standard output.
        """
        from diffwright.core.atomic import write_json

        if self.json is None or str(self.json) != "-":
            print(text)
        if self.json is not None:
            if str(self.json) == "-":
                json.dump(dict(record), sys.stdout, indent=2)
                print()
            else:
                write_json(self.json, dict(record))


@dataclass(frozen=True, kw_only=True)
class SeedFlags(OutputFlags):
    """The same, and the seed."""

    seed: int = 0
    """Seed of everything random; the same seed gives the same bytes on the same machine."""


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """Which model, and how it is loaded."""

    model: str = "pocket"
    """A pocket name, a diffusers directory, or a hub id (the only case that uses the network)."""
    revision: Annotated[str | None, arg(metavar="NAME")] = None
    """Commit or tag of a hub id."""
    variant: Annotated[str | None, arg(metavar="NAME")] = None
    """Variant of the weight files, such as fp16."""
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """Number format of the weights; float32 by default."""
    offline: bool = False
    """Never use the network, even for a hub id."""
    device: Annotated[str | None, arg(metavar="NAME")] = None
    """cpu, cuda, cuda:1 or mps; cpu by default."""

    def load(self) -> Any:
        """Load the pipeline that the flags name.

        Returns:
            A stock diffusers pipeline.

        Raises:
            WeightsError: The model is missing, damaged, unsafe or not supported.
        """
        from diffwright.weights.load import load

        return load(
            self.model,
            device=self.device,
            dtype=self.dtype,
            revision=self.revision,
            variant=self.variant,
            offline=self.offline,
        )


def command_line() -> str:
    """Return the running command as one could type it again."""
    return shlex.join(["diffwright", *sys.argv[1:]])
