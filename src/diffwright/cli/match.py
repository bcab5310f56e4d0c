"""``diffwright match``: where each pixel of one picture is in another."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffwright.cli.bars import shown
from diffwright.cli.flags import SeedFlags, command_line
from diffwright.cli.places import apart
from diffwright.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    from diffwright.matching.matcher import Matcher
    from diffwright.matching.output import MatchOutput
    from diffwright.matching.stages import MatchOptions


@dataclass(frozen=True, kw_only=True)
class MatchFlags(SeedFlags):
    """How pictures are matched."""

    model: str = "pocket-match"
    """A pocket name, or a folder that a training wrote."""
    features: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """Compare by the decoder features of this text-to-image model: pocket, a diffusers folder, a hub id."""
    revision: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Commit or tag of that hub id."""
    variant: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Variant of its weight files, such as fp16."""
    offline: bool = False
    """Never use the network, even for a hub id."""
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """Number format of the products, and of the weights of --features; float32 by default."""
    samples: int = 3
    """Fields drawn for each stage and averaged."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Denoising steps of each stage; as many as in training without it."""
    faithful: bool = False
    """The paper's procedure: argmax start, upright only, plain mean of the samples."""
    reverse: Literal["off", "coarse", "full"] = "coarse"
    """The field from B to A, by which occlusion is found."""
    all_samples: bool = False
    """Keep every sample in flow.npz."""
    device: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """cpu, cuda, cuda:1 or mps; cpu by default."""

    def loading(self) -> dict[str, Any]:
        """Give how the matcher is loaded, as ``Matcher.from_pretrained`` takes it."""
        hub = {"revision": self.revision, "variant": self.variant, "offline": self.offline}
        return {"device": self.device, "dtype": self.dtype, "features": self.features, **hub}

    def options(self) -> dict[str, Any]:
        """Give what ``MatchOptions`` has of its own, on top of the improved or the faithful ones."""
        return {
            "samples": self.samples,
            "steps": self.steps,
            "reverse": self.reverse,
            "keep_samples": self.all_samples,
        }


@dataclass(frozen=True, kw_only=True)
class Match(MatchFlags):
    """Match two pictures densely: flow, confidence and occlusion for every pixel of A.

    diffwright match left.jpg right.jpg --out matched
    """

    a: Annotated[Path | None, tyro.conf.Positional] = None
    """Picture A; the flow leads from each of its pixels to B."""
    b: Annotated[Path | None, tyro.conf.Positional] = None
    """Picture B, of any size."""
    pairs: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """A few pairs instead: two columns, A and B, no heading; paths are seen from the file's folder. For thousands
    there is batch match."""
    refine: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Start from the flow of another matcher: .flo, KITTI's PNG, or .npz."""
    out: Path = Path("runs/match")
    """Folder of flow.npz, flow.flo, the pictures and result.json; with --pairs, of one such folder a pair."""

    def run(self) -> None:
        """Match, save and print."""
        jobs = self._jobs()

        from diffwright.core.atomic import refuse_foreign
        from diffwright.matching.matcher import Matcher

        options = self._options()
        for a, b, folder in jobs:
            apart((folder, self.json), a, b, self.pairs, self.refine)
            refuse_foreign(folder)
        matcher = Matcher.from_pretrained(self.model, **self.loading())
        records, lines = [], []
        for number, (a, b, folder) in enumerate(jobs, 1):
            if len(jobs) > 1:
                print(f"[{number}/{len(jobs)}] {a} -> {b}", file=sys.stderr, flush=True)
            found = replace(self._matched(matcher, a, b, options), command=command_line())
            found.save(folder)
            for warning in found.warnings:
                print(f"warning: {a} -> {b}: {warning}", file=sys.stderr)
            records.append({"a": str(a), "b": str(b), "out": str(folder), **found.record()})
            lines.append(f"{a} -> {b}: {_said(found)}; see {folder}")
        record = records[0] if self.pairs is None else {"command": command_line(), "pairs": records}
        self.say(record, "\n".join(lines))

    def _jobs(self) -> list[tuple[Path, Path, Path]]:
        """Pictures A and B of each pair, and the folder for its result."""
        if (self.pairs is None) == (self.a is None) or (self.a is None) != (self.b is None):
            given = [name for name in ("a", "b", "pairs") if getattr(self, name) is not None] or ["nothing"]
            raise ConfigError(
                f"{' and '.join(given)} was given; name two pictures A and B, or --pairs FILE.csv"
            )
        if self.a is not None and self.b is not None:
            return [(self.a, self.b, self.out)]
        if self.pairs is None or self.refine is not None:
            raise ConfigError("--refine starts one pair from one flow; give two pictures instead of --pairs")
        couples = read_couples(self.pairs)
        return [
            (a, b, self.out / f"{number:04d}-{a.stem}-{b.stem}") for number, (a, b) in enumerate(couples, 1)
        ]

    def _options(self) -> MatchOptions:
        from diffwright.matching.stages import MatchOptions

        return replace(MatchOptions.faithful() if self.faithful else MatchOptions(), **self.options())

    def _matched(self, matcher: Matcher, a: Path, b: Path, options: MatchOptions) -> MatchOutput:
        if self.refine is not None:
            import numpy as np

            from diffwright.matching.files import read_flow

            start = read_flow(self.refine)
            flow = np.where(start.known[..., None], start.flow, np.float32("nan"))
            return matcher.refine(flow, a, b, options, seed=self.seed)
        config = matcher.model.config
        total = (options.steps or config.steps) * min(options.stages, config.stages)
        with shown() as progress:

            def told(_: Any, step: int, *__: Any) -> None:
                if progress is not None:
                    progress("denoising", step + 1, total)

            return matcher.match(a, b, options, seed=self.seed, callback_on_step_end=told)


def read_couples(file: Path) -> list[tuple[Path, Path]]:
    """Read a table of pairs of pictures.

    Args:
        file: UTF-8 CSV, two columns, no heading; paths are seen from its folder.

    Returns:
        Pictures A and B of each row.

    Raises:
        InputError: It is no such table, is empty, or names a file that is not there.
    """
    try:
        rows = [
            row for row in csv.reader(file.read_text("utf-8-sig").splitlines()) if any(map(str.strip, row))
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{file} cannot be read as a table of pairs ({error}); give a UTF-8 CSV file"
        ) from error
    if not rows:
        raise InputError(f"{file} holds no pair; give rows of two columns, picture A and picture B")
    couples = []
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or not all(map(str.strip, row)):
            raise InputError(f"row {number} of {file} is {row}; each row needs a picture A and a picture B")
        a, b = (file.parent / cell.strip() for cell in row)
        for path in (a, b):
            if not path.is_file():
                raise InputError(f"row {number} of {file} names {path}, which is no file; mend the path")
        couples.append((a, b))
    return couples


def _said(found: MatchOutput) -> str:
    """Sum up a match in a line."""
    import numpy as np

    moved = np.hypot(found.flow[..., 0], found.flow[..., 1])[~found.occlusion]
    parts = [
        f"{found.overlap:.0%} of A confidently seen in B".replace("%", " %"),
        f"mean confidence {found.confidence.mean():.2f}",
    ]
    if moved.size:
        parts.append(f"median motion {np.median(moved):.1f} px")
    if found.rotation or found.scale != 1:
        parts.append(f"B turned back by {found.rotation:g} degrees and a scale of {found.scale:g}")
    return ", ".join(parts) + f"; {sum(found.timings.values()):.1f} s"
