"""``diffwright fix``: rewrite concepts in closed form, apply and revert edits, report, sweep."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffwright.cli.bars import shown
from diffwright.cli.flags import ModelFlags, OutputFlags, SeedFlags, command_line
from diffwright.core.checks import whole
from diffwright.core.errors import InputError

if TYPE_CHECKING:
    from diffwright.concepts.edit import ConceptEdit
    from diffwright.metrics.judge import Judge

Repeated = tyro.conf.UseAppendAction


@dataclass(frozen=True, kw_only=True)
class Make(ModelFlags, SeedFlags):
    """Rewrite one or more concepts and show what that did.

    diffwright fix make --from mug --to duck --preview "a red mug on grass" --out mug-to-duck
    """

    from_: Annotated[tuple[str, ...], tyro.conf.arg(name="from", metavar="WORDS"), Repeated] = ()
    """Concept to rewrite; repeat it together with --to."""
    to: Annotated[tuple[str, ...], tyro.conf.arg(metavar="WORDS"), Repeated] = ()
    """What it becomes."""
    pairs: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """Pairs from a file instead: two columns, source and target, no heading."""
    preserve: Annotated[tuple[str, ...], tyro.conf.arg(metavar="WORDS"), Repeated] = ()
    """Concept whose meaning must stay; repeatable."""
    preview: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PROMPT"), Repeated] = ()
    """Prompt to show before and after; repeatable, "a photo of a SOURCE" without it."""
    site: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SITE"), Repeated] = ()
    """Linear layer to change, such as te.0.attn.out or "unet.*.attn2.*.v"; the model's default without it."""
    lam: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Ridge strength; larger changes less."""
    tokens: Literal["last", "last+eos", "last+eos+pad"] | None = None
    """Positions that are rewritten."""
    aim: Literal["output", "stream"] | None = None
    """Whether the layer's output or the residual stream after it must become the target's."""
    steps: int = 25
    """Denoising steps of the preview."""
    count: int = 4
    """Pictures of each preview prompt, with seeds SEED, SEED + 1 and so on."""
    out: Path = Path("runs/fix")
    """Folder for the edit, the strip, the report and result.json."""

    def run(self) -> None:
        """Make the edit, show it, judge it where the words allow, and save."""
        whole("count", self.count, 1, 64)
        whole("steps", self.steps, 1, 1000)
        pairs = _pairs(self.from_, self.to, self.pairs)

        from diffwright.concepts.edit import edit_concepts
        from diffwright.concepts.report import EditResult, preview_prompts, strip
        from diffwright.core.atomic import refuse_foreign
        from diffwright.core.results import Stopwatch
        from diffwright.weights.fingerprint import fingerprint

        refuse_foreign(self.out)
        watch = Stopwatch()
        with watch("load"):
            pipe = self.load()
        with watch("edit"):
            edit = edit_concepts(
                pipe,
                pairs,
                self.preserve,
                site=self.site or None,
                lam=self.lam,
                tokens=self.tokens,
                aim=self.aim,
            )
        prompts, missed = preview_prompts(edit, self.preview)
        seeds = [self.seed + i for i in range(self.count)]
        with watch("preview"), shown() as progress:
            picture, unchanged = strip(pipe, edit, prompts, seeds, steps=self.steps, progress=progress)
        with watch("report"), shown() as progress:
            figures, text = _report(pipe, edit, _judge_of(pipe), progress)
        result = EditResult(
            edit=edit,
            text=text,
            images=[picture],
            names=["before-and-after"],
            figures=figures,
            warnings=[*edit.warnings, *missed, *unchanged],
            timings=watch.timings,
            command=command_line(),
            seeds=seeds,
            model=fingerprint(pipe),
        )
        result.save(self.out)
        for warning in result.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        self.say(result.record(), f"{text}\nedit made in {watch.timings['edit']:.2f} s; see {self.out}")


@dataclass(frozen=True, kw_only=True)
class Apply(ModelFlags, OutputFlags):
    """Write a copy of the model with an edit in its weights; "generate --with" needs no copy.

    diffwright fix apply --edit mug-to-duck --out edited-model
    """

    edit: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder or file of an edit."""
    out: Path
    """Folder for the edited model."""

    def run(self) -> None:
        """Apply and save."""
        from diffwright.concepts.edited_folder import save_edited
        from diffwright.concepts.patch import ConceptEdit
        from diffwright.core.atomic import refuse_foreign

        refuse_foreign(self.out)
        edit = ConceptEdit.load(self.edit)
        save_edited(self.load(), edit, self.out)
        self.say({"out": str(self.out), "pairs": list(edit.pairs)}, f"edited model in {self.out}")


@dataclass(frozen=True, kw_only=True)
class Revert(ModelFlags, OutputFlags):
    """Write the base model again from a folder that "fix apply" made, bit by bit.

    diffwright fix revert --model edited-model --out base-model
    """

    out: Path
    """Folder for the base model."""

    def run(self) -> None:
        """Put the kept weights back and save."""
        from diffwright.concepts.edited_folder import save_reverted
        from diffwright.core.atomic import refuse_foreign

        refuse_foreign(self.out)
        save_reverted(self.load(), self.model, self.out)
        self.say({"out": str(self.out)}, f"base model in {self.out}")


@dataclass(frozen=True, kw_only=True)
class Report(ModelFlags, OutputFlags):
    """Say how well a saved edit fits, what it does to other wordings and to neighbours, what a judge sees.

    diffwright fix report --edit mug-to-duck --neighbour house --neighbour tree
    """

    edit: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder or file of an edit."""
    neighbour: Annotated[tuple[str, ...], tyro.conf.arg(metavar="WORDS"), Repeated] = ()
    """Concept that should not move; repeatable."""

    def run(self) -> None:
        """Measure and print."""
        from diffwright.concepts.patch import ConceptEdit

        edit, pipe = ConceptEdit.load(self.edit), self.load()
        with shown() as progress:
            figures, text = _report(pipe, edit, _judge_of(pipe), progress, self.neighbour)
        self.say({"figures": figures, "warnings": list(edit.warnings)}, text)


@dataclass(frozen=True, kw_only=True)
class Sweep(ModelFlags, OutputFlags):
    """Try every site and strength on development pairs, and paint the best.

    diffwright fix sweep --finalists 4 --json sweep.json
    """

    finalists: int = 4
    """Settings that are painted and judged; the others are screened by the denoiser alone."""
    pairs: int = 10
    """Development pairs, at most 10."""

    def run(self) -> None:
        """Sweep and print."""
        whole("finalists", self.finalists, 0, 100)
        whole("pairs", self.pairs, 1, 10)

        from diffwright.concepts.judged import Gallery
        from diffwright.concepts.pairs import DEVELOPMENT
        from diffwright.concepts.sweep import sweep, table

        pipe = self.load()
        judge = _judge_of(pipe)
        if judge is None and self.finalists:
            raise InputError(f"No judge reads pictures of {self.model}; give --finalists 0 to screen only.")
        with shown() as progress:
            gallery = Gallery(pipe, judge, half=True, progress=progress)
            rows = sweep(gallery, DEVELOPMENT[: self.pairs], finalists=self.finalists)
        record = {"rows": [asdict(row) for row in rows], "unet_evaluations": gallery.unet_evaluations}
        self.say(record, f"{table(rows)}\n{gallery.unet_evaluations} UNet evaluations")


def _pairs(sources: tuple[str, ...], targets: tuple[str, ...], file: Path | None) -> list[tuple[str, str]]:
    if len(sources) != len(targets):
        raise InputError(f"Got {len(sources)} --from and {len(targets)} --to; give them in pairs.")
    pairs = list(zip(sources, targets, strict=True))
    if file is not None:
        pairs += _read_pairs(file)
    if not pairs:
        raise InputError("No concept was given; write --from mug --to duck, or --pairs FILE.csv.")
    return pairs


def _read_pairs(file: Path) -> list[tuple[str, str]]:
    import csv

    try:
        rows = [row for row in csv.reader(file.read_text("utf-8").splitlines()) if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{file} cannot be read as a table of pairs ({error}); give a UTF-8 CSV file."
        ) from error
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or not all(map(str.strip, row)):
            raise InputError(f"Row {number} of {file} is {row}; each row needs a source and a target.")
    return [(source.strip(), target.strip()) for source, target in rows]


def _judge_of(pipe: Any) -> Judge | None:
    """Load the judge for models of the rendered world; other models have none."""
    from diffwright.diffusion.backbones import describe

    if describe(pipe).layout != "pocket":
        return None
    from diffwright.metrics.judge import Judge

    return Judge.from_pretrained()


def _report(
    pipe: Any, edit: ConceptEdit, judge: Judge | None, progress: Any, neighbours: tuple[str, ...] = ()
) -> tuple[dict[str, Any], str]:
    """Gather the figures of an edit, and write them for people."""
    from diffwright.concepts.report import encoding_moves, judged_report

    lines = [edit.report()]
    figures: dict[str, Any] = {"size_kib": round(edit.size_bytes() / 1024, 2)}
    if any(patch.site.startswith("te") for patch in edit.patches):
        moves = encoding_moves(pipe, edit, neighbours or edit.preserve)
        figures["encoding"] = {pair: asdict(moved) for pair, moved in moves.items()}
        lines += [
            f"{pair}: {moved.paraphrases:.2f} of the way in other words, neighbours {moved.neighbours:.2f}"
            for pair, moved in moves.items()
        ]
    if judge is not None:
        try:
            figures["judged"] = judged_report(pipe, judge, edit, progress=progress)
        except InputError as error:
            lines.append(f"not judged: {error}")
        else:
            judged = figures["judged"]
            lines.append(
                f"judged: {judged['efficacy']:.2f} of {judged['pictures']} pictures turned, worst fall "
                f"elsewhere {judged['unrelated_drop']:.2f} ({judged['unet_evaluations']} UNet evaluations)"
            )
    return figures, "\n".join(lines)
