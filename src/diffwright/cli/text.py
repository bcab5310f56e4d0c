"""``diffwright text``: write, change or erase words in a picture; ``text find`` lists those it has."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from diffwright.cli.bars import shown
from diffwright.cli.flags import SeedFlags, command_line
from diffwright.cli.places import apart, check_places, is_picture
from diffwright.core.checks import in_range, whole
from diffwright.core.errors import ConfigError

if TYPE_CHECKING:
    from diffwright.core.results import Result

Four = tuple[int, int, int, int]
STYLE = ("write", "font", "color", "instruction", "mix")


@dataclass(frozen=True, kw_only=True)
class TextFlags(SeedFlags):
    """How words are written."""

    candidates: int = 4
    """How many to draw; the reader ranks them."""
    guidance: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="CHARACTERS INSTRUCTION")] = None
    """Weights of the two encoders; those of the model without it."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Denoising steps; as many as the model was made for without it."""
    model: str = "pocket-text"
    """A pocket name, or a folder that a training wrote."""
    base: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """The inpainting checkpoint that --model was trained on by scenetext-sd, a folder or OWNER/NAME."""
    device: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """cpu, cuda, cuda:1 or mps; cpu by default."""


@dataclass(frozen=True, kw_only=True)
class Write(TextFlags):
    """Write a word into a picture, change the one that stands there, or erase it with --write "".

    diffwright text photo.jpg --box 40 60 210 120 --write "OPEN" --color teal --out new.png
    """

    image: Annotated[Path, tyro.conf.Positional]
    """The picture."""
    box: Annotated[Four | None, tyro.conf.arg(metavar="X0 Y0 X1 Y1")] = None
    """Where to write: a box, pixels."""
    polygon: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="X Y ...")] = None
    """Where instead: four corners, clockwise from the word's top left; or three or more points around the place."""
    mask: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where instead: white on black, of the picture's size."""
    write: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """The word; "" erases."""
    font: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """A family, or serif, sans, mono, script, display, slab; as the surroundings without it."""
    color: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """A name, such as "dark teal", or "#RRGGBB"; as the surroundings without it."""
    bold: bool = False
    """Heavy strokes."""
    italic: bool = False
    """Leaning letters."""
    mix: Annotated[tuple[str, float] | None, tyro.conf.arg(metavar="FONT WEIGHT")] = None
    """Another font to mix with --font, and its weight from 0 to 1."""
    instruction: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """Free words about the look, in place of the five above."""
    edits: Annotated[Path | None, tyro.conf.arg(metavar="FILE.json")] = None
    """Several edits in place of one: {"edits": [{"box": [40, 60, 210, 120], "write": "OPEN", "color": "teal"}]}."""
    out: Path = Path("runs/text")
    """Folder for pictures, strips, mask and result.json; or OUT.png, with such a folder OUT beside it."""

    def run(self) -> None:
        """Write, save and print."""
        region = self._region()
        whole("candidates", self.candidates, 1, 64)
        check_places(self.out, self.json, self.image, self.mask, self.edits)
        result, said = self._several() if self.edits is not None else self._one(region)
        self._save(result, said)

    def _one(self, region: Any) -> tuple[Result, str]:
        if self.write is None:
            raise ConfigError('--write is missing; give the word, or --write "" to erase')

        from diffwright.scenetext.editor import SceneTextEditor

        editor = SceneTextEditor.from_pretrained(self.model, self.device, base=self.base)
        with shown() as progress:
            result = editor.write(
                self.image, region, self.write, self.font, self.color, self.instruction, self.candidates,
                bold=self.bold, italic=self.italic, mix=self.mix, seed=self.seed, guidance=self.guidance,
                steps=self.steps, progress=progress, command=command_line(),
            )  # fmt: skip
        what = f"{self.write!r} written" if self.write else "erased"
        sure = f"{result.confidence:.0%}".replace("%", " %")
        return result, f"{what}; the reader is {sure} sure of the best of {self.candidates}"

    def _several(self) -> tuple[Result, str]:
        from diffwright.scenetext.editor import SceneTextEditor
        from diffwright.scenetext.json_edits import read_edits

        if self.edits is None:
            raise ConfigError("--edits is missing; name a JSON file")
        edits = read_edits(self.edits)
        check_places(self.out, self.json, *(edit.region for edit in edits if isinstance(edit.region, Path)))
        editor = SceneTextEditor.from_pretrained(self.model, self.device, base=self.base)
        with shown() as progress:
            result = editor.write_all(
                self.image, edits, candidates=self.candidates, seed=self.seed, guidance=self.guidance,
                steps=self.steps, progress=progress, command=command_line(),
            )  # fmt: skip
        sure = f"{result.figures['least_confidence']:.0%}".replace("%", " %")
        return result, f"{len(edits)} edits done; the reader is at least {sure} sure of each"

    def _region(self) -> Any:
        """What --box, --polygon or --mask says; None with --edits."""
        given = [value for value in (self.box, self.polygon, self.mask) if value is not None]
        if self.edits is not None:
            styled = [name for name in STYLE if getattr(self, name) is not None]
            styled += [name for name in ("bold", "italic") if getattr(self, name)]
            if given or styled:
                raise ConfigError(
                    f"--edits and {_flag(styled)} were given; what to write stands in the file alone"
                )
            return None
        if len(given) != 1:
            raise ConfigError(
                f"{len(given)} of --box, --polygon and --mask were given; give exactly one, or --edits"
            )
        if self.polygon is None:
            return given[0]
        if len(self.polygon) % 2 or len(self.polygon) < 6:
            raise ConfigError(
                f"--polygon has {len(self.polygon)} numbers, expected X Y of three or more points"
            )
        return list(zip(self.polygon[::2], self.polygon[1::2], strict=True))

    def _save(self, result: Result, said: str) -> None:
        from diffwright.scenetext.output import write_picture

        is_file = is_picture(self.out)
        folder = write_picture(result, self.out) if is_file else result.save(self.out)
        for warning in result.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        where = f"{self.out}, with everything else in {folder}" if is_file else f"{folder}"
        self.say(result.record(), f"{said}; {sum(result.timings.values()):.1f} s; see {where}")


@dataclass(frozen=True, kw_only=True)
class Find(SeedFlags):
    """List the words of a picture with the polygons that --polygon takes (needs RapidOCR).

    diffwright text find photo.jpg
    """

    image: Annotated[Path, tyro.conf.Positional]
    """The picture."""
    lines: bool = False
    """Whole lines in place of words."""
    least: float = 0.5
    """Confidence below which a word is left out."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None
    """Also draw the words into the picture."""

    def run(self) -> None:
        """Find and print."""
        in_range("least", self.least, 0, 1)
        if self.out is not None and not is_picture(self.out):
            raise ConfigError(f"--out is {self.out}, expected a file that ends in .png")
        apart((self.out, self.json), self.image)

        from diffwright.core.images import load_image, save_png
        from diffwright.scenetext.find import find_words

        picture = load_image(self.image)
        words = find_words(picture, least=self.least, lines=self.lines)
        if self.out is not None:
            from diffwright.scenetext.pictures import outlined

            labels = [f"{n} {word.text}" for n, word in enumerate(words, 1)]
            save_png(outlined(picture, [word.polygon for word in words], labels), self.out)
        rows = []
        for n, word in enumerate(words, 1):
            corners = " ".join(f"{value:g}" for value in word.polygon.round(1).reshape(-1))
            sure = f"{word.confidence:.0%}".replace("%", " %")
            rows.append(f"{n:>3}  {word.text!r}  {sure}  --polygon {corners}")
        record = {
            "command": command_line(),
            "image": str(self.image),
            "words": [word.record() for word in words],
        }
        self.say(record, "\n".join(rows) if rows else f"no words were found in {self.image}")


def _flag(names: list[str]) -> str:
    return f"--{names[0]}" if names else "a region"
