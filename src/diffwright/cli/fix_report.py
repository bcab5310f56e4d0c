"""``diffwright fix report`` and ``fix sweep``: what an edit did, and which site to edit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from diffwright.cli import fix_words
from diffwright.cli.bars import shown
from diffwright.cli.flags import ModelFlags, OutputFlags
from diffwright.cli.places import apart
from diffwright.core.checks import whole
from diffwright.core.errors import InputError

if TYPE_CHECKING:
    from diffwright.concepts.edit import ConceptEdit
    from diffwright.metrics.judge import Judge

Repeated = tyro.conf.UseAppendAction


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
        apart((self.json,), self.edit)

        from diffwright.concepts.concept_edit import ConceptEdit

        edit, pipe = ConceptEdit.load(self.edit), self.load()
        with shown() as progress:
            figures, text = measured(pipe, edit, judge_of(pipe), progress, self.neighbour)
        self.say({"figures": figures, "warnings": list(edit.warnings)}, text)


@dataclass(frozen=True, kw_only=True)
class Sweep(ModelFlags, OutputFlags):
    """Try every site and strength on development pairs, paint the best, and recommend one.

    diffwright fix sweep --finalists 4 --effects runs/trace --json sweep.json
    """

    finalists: int = 4
    """Settings that are painted and judged; the others are screened by the denoiser alone."""
    pairs: int = 10
    """Development pairs, at most 10."""
    effects: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder that "trace" wrote (or a JSON object from sites to effects), to be ranked against what the edits did."""

    def run(self) -> None:
        """Sweep and print."""
        whole("finalists", self.finalists, 0, 100)
        whole("pairs", self.pairs, 1, 10)
        apart((self.json,), self.effects)
        given = fix_words.effects(self.effects)

        from diffwright.concepts.judged import Gallery
        from diffwright.concepts.pairs import DEVELOPMENT
        from diffwright.concepts.sweep import sweep, table
        from diffwright.weights.fingerprint import fingerprint

        pipe = self.load()
        effects = given and given.of(fingerprint(pipe))
        judge = judge_of(pipe)
        if judge is None and self.finalists:
            raise InputError(f"No judge reads pictures of {self.model}; give --finalists 0 to screen only.")
        with shown() as progress:
            gallery = Gallery(pipe, judge, half=True, progress=progress)
            found = sweep(gallery, DEVELOPMENT[: self.pairs], finalists=self.finalists, effects=effects)
        record = {
            "rows": [asdict(row) for row in found.rows],
            "recommended": asdict(found.recommended),
            "unet_evaluations": gallery.unet_evaluations,
        }
        spent = f"{gallery.unet_evaluations} UNet evaluations"
        text = f"{table(found.rows)}\n{spent}\nby screening: {found.recommended.reason}"
        self.say(record, text)


def judge_of(pipe: Any) -> Judge | None:
    """Load the judge for models of the rendered world; other models have none."""
    from diffwright.diffusion.backbones import describe

    if describe(pipe).layout != "pocket":
        return None
    from diffwright.metrics.judge import Judge

    return Judge.from_pretrained()


def measured(
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
        if len(moves) < len(edit.rewrites):
            lines.append(
                f"other words were tried for the first {len(moves)} of {len(edit.rewrites)} concepts"
            )
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
