"""``diffwright fix make``: rewrite concepts in closed form and show what that did."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffwright.cli import fix_words
from diffwright.cli.bars import shown
from diffwright.cli.fix_report import judge_of, measured
from diffwright.cli.flags import ModelFlags, SeedFlags, command_line
from diffwright.cli.places import apart
from diffwright.core.checks import whole
from diffwright.core.errors import InputError

if TYPE_CHECKING:
    from diffwright.concepts.edit import ConceptEdit, Rewrite

Repeated = tyro.conf.UseAppendAction
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Make(ModelFlags, SeedFlags):
    """Rewrite one or more concepts and show what that did.

    diffwright fix make --from mug --to duck --preview "a red mug on grass" --out mug-to-duck
    """

    from_: Annotated[tuple[str, ...], tyro.conf.arg(name="from", metavar="WORDS"), Repeated] = ()
    """Concept to rewrite; repeat it together with --to."""
    to: Annotated[tuple[str, ...], tyro.conf.arg(metavar="WORDS"), Repeated] = ()
    """What it becomes."""
    kind: Literal["replace", "erase", "fact", "debias"] = "replace"
    """What --from and --to mean: another thing; the class that is left of it; a new fact about a phrase, whose single
    words are held; or, with --to "man|woman", a fair mixture."""
    erase: Annotated[tuple[str, ...], tyro.conf.arg(metavar="WORDS"), Repeated] = ()
    """Concept to remove, with nothing in its place; repeatable."""
    pairs: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """Concepts from a file: source, target and, if it is no replacement, kind; no heading."""
    preserve: Annotated[tuple[str, ...], tyro.conf.arg(metavar="WORDS"), Repeated] = ()
    """Concept whose meaning must stay; repeatable."""
    hold: Annotated[Path | None, tyro.conf.arg(metavar="FILE.txt")] = None
    """Prompts that must be read as before, one a line."""
    mode: Literal["ridge", "preserve", "covariance", "null-space", "legacy"] | None = None
    """How the rest is held; the model's default without it."""
    preview: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PROMPT"), Repeated] = ()
    """Prompt to show before and after; repeatable, "a photo of a SOURCE" without it."""
    site: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SITE"), Repeated] = ()
    """Linear layer to change, such as te.0.attn.out or "unet.*.attn2.*.v", or "auto" to choose one and say why; the
    model's default without it."""
    effects: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder that "trace" wrote (or a JSON object from sites to effects), from which --site auto chooses; without it
    every site is tried."""
    lam: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Ridge strength; larger changes less."""
    preserve_weight: float = 1.0
    """Importance of what is held against what is rewritten."""
    null_threshold: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """With --mode null-space: directions below this part of the strongest one are free."""
    average: bool = False
    """Fit the mean of a concept's templates in place of each; for hundreds of concepts."""
    tokens: Literal["last", "span", "last+eos", "last+eos+pad"] | None = None
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
        apart((self.json,), self.pairs, self.hold, self.effects)
        asked = fix_words.asked(self.from_, self.to, self.kind, self.erase, self.pairs)
        effects, held = fix_words.effects(self.effects), fix_words.lines(self.hold)
        if AUTO in self.site and self.mode == "legacy":
            raise InputError(
                "--site auto goes with every mode but legacy, whose site is the paper's; leave one out."
            )
        if AUTO in self.site and len(self.site) > 1:
            raise InputError(
                f"Got --site auto beside {len(self.site) - 1} other sites; give auto alone or names."
            )
        if effects and AUTO not in self.site:
            raise InputError("--effects goes with --site auto; add it, or leave the effects out.")

        from diffwright.concepts.report import EditResult, preview_prompts, strip
        from diffwright.core.atomic import refuse_foreign
        from diffwright.core.results import Stopwatch
        from diffwright.weights.fingerprint import fingerprint

        refuse_foreign(self.out)
        watch = Stopwatch()
        with watch("load"):
            pipe = self.load()
        model = fingerprint(pipe)
        with watch("site"):
            settings, reason = self._settings(pipe, asked, effects and effects.of(model))
        with watch("edit"):
            edit = self._edit(pipe, asked, held, settings)
        prompts, missed = preview_prompts(edit, self.preview)
        seeds = [self.seed + i for i in range(self.count)]
        with watch("preview"), shown() as progress:
            picture, unchanged = strip(pipe, edit, prompts, seeds, steps=self.steps, progress=progress)
        with watch("report"), shown() as progress:
            figures, text = measured(pipe, edit, judge_of(pipe), progress)
        result = EditResult(
            edit=edit,
            text="\n".join(filter(None, (reason, text))),
            images=[picture],
            names=["before-and-after"],
            figures=figures,
            warnings=[*edit.warnings, *missed, *unchanged],
            timings=watch.timings,
            command=command_line(),
            seeds=seeds,
            model=model,
        )
        result.save(self.out)
        for warning in result.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        record = result.record() | ({"site_reason": reason} if reason else {})
        self.say(record, f"{result.text}\nedit made in {watch.timings['edit']:.2f} s; see {self.out}")

    def _settings(
        self, pipe: Any, asked: list[Rewrite], effects: dict[str, float] | None
    ) -> tuple[dict[str, Any], str]:
        """Give site, strength, tokens and aim, and for ``--site auto`` the reason."""
        given = {"site": self.site or None, "lam": self.lam, "tokens": self.tokens, "aim": self.aim}
        if AUTO not in self.site:
            return given, ""
        from diffwright.concepts.judged import Gallery
        from diffwright.concepts.sweep import choose_site

        with shown() as progress:
            found = choose_site(Gallery(pipe, None, half=True, progress=progress), asked, effects)
        chosen = {name: getattr(found.choice, name) for name in given}
        given["site"] = None
        return {
            n: chosen[n] if value is None else value for n, value in given.items()
        }, f"site: {found.reason}"

    def _edit(
        self, pipe: Any, asked: list[Rewrite], held: list[str] | None, settings: dict[str, Any]
    ) -> ConceptEdit:
        from diffwright.concepts.edit import edit_concepts

        return edit_concepts(
            pipe,
            asked,
            self.preserve,
            preserve_prompts=held,
            mode=self.mode,
            preserve_weight=self.preserve_weight,
            null_threshold=self.null_threshold,
            average=self.average,
            **settings,
        )
