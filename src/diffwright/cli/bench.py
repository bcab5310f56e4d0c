"""``diffwright bench``: run a bench, print its table, write its JSON."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffwright.cli.bars import shown
from diffwright.cli.flags import OutputFlags, command_line


@dataclass(frozen=True, kw_only=True)
class Bench(OutputFlags):
    """Measure, print a table and write JSON.

    diffwright bench concepts --quick --json concepts.json
    """

    name: Annotated[str, tyro.conf.Positional]
    """Which bench: concepts, editing, matching, optim, scenetext, t2i, trace."""
    quick: bool = False
    """The short form, under two minutes."""
    parts: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="PART")] = None
    """Only these parts of a bench; their record is a file of its own, such as docs/bench/concepts.quality.json."""
    photos: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of photographs, for bench t2i and scenetext."""
    cifar: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """CIFAR-10 for bench optim, which then trains the pre-registered arms."""
    cifar100: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """CIFAR-100 likewise."""
    pairs: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of Oxford or HPatches sequences and .flo pairs, for bench matching."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Model to measure in place of the shipped one, for bench matching, editing and scenetext."""
    arms: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of controls trained for bench matching (regression, no_cost, control) or scenetext (instruction_only)."""
    data: Annotated[tuple[str, Path] | None, tyro.conf.arg(metavar="SET DIR")] = None
    """A public set and the folder where it lies, for bench scenetext: icdar13, art, coco-text or textocr."""
    cases: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Cases of each set of bench scenetext, in place of 100."""
    views: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder that keeps the rendered views of bench matching."""
    tables: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the scores of every pair of bench matching, or for the effects and pictures behind bench trace."""
    export: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Only write the cases of bench editing into this folder, for any other editor."""
    score: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Only measure the pictures that another editor wrote into such a folder."""

    def run(self) -> None:
        """Run the bench."""
        from rich.console import Console

        from diffwright.bench import harness
        from diffwright.core.checks import one_of

        one_of("bench", self.name, harness.BENCHES)
        surroundings = {**harness.environment(), "command": command_line()}
        with shown() as progress:
            figures = harness.run(self.name, self.quick, progress, parts=self.parts, **self._data())
        to_stdout = str(self.json) == "-"
        screen = Console(stderr=to_stdout)
        screen.print(harness.table(figures, f"{self.name}{' (quick)' if self.quick else ''}"))
        if surroundings["busy"]:
            screen.print(f"note: {surroundings['busy']}; times are longer than on an idle one")
        if to_stdout:
            plain = {name: asdict(figure) for name, figure in figures.items()}
            json.dump({"figures": plain, "environment": surroundings}, sys.stdout, indent=2)
        elif self.json is not None:
            harness.write_json(self.json, figures, surroundings)

    def _data(self) -> dict[str, Path | tuple[str, Path] | int | None]:
        """Files and folders by the names that benches give them."""
        names = (
            "photos",
            "cifar",
            "cifar100",
            "pairs",
            "model",
            "arms",
            "data",
            "cases",
            "views",
            "tables",
            "export",
            "score",
        )
        return {name: getattr(self, name) for name in names}
