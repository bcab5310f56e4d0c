"""``diffwright trace``: where a model keeps what a word of the prompt says."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffwright.cli.bars import shown
from diffwright.cli.flags import ModelFlags, SeedFlags, command_line
from diffwright.core import checks
from diffwright.core.errors import ConfigError

if TYPE_CHECKING:
    from diffwright.tracing.scores import PictureScore

Repeated = tyro.conf.UseAppendAction
Component = Literal["attn", "mlp", "block", "resnet", "attn1", "attn2", "ff", "down", "up", "branch"]
TEXT = ("attn", "mlp", "block")


@dataclass(frozen=True, kw_only=True)
class Trace(ModelFlags, SeedFlags):
    """Find where a model keeps what a word of the prompt says.

    diffwright trace "a red mug on a wooden table" --subject mug --out mug-trace

    The subject's word embeddings drown in noise; then one state at a time is put back as it was. A state that
    brings the picture back holds what the words said. Run the same command again to go on after an interruption.
    """

    prompt: Annotated[str, tyro.conf.Positional]
    """The prompt, in quotes."""
    subject: Annotated[str, tyro.conf.arg(metavar="WORDS")]
    """Words of the prompt that are corrupted and traced."""
    text: bool = False
    """Trace the text encoder only."""
    unet: bool = False
    """Trace the UNet only."""
    component: Annotated[tuple[Component, ...], tyro.conf.arg(metavar="KIND"), Repeated] = ()
    """Only this kind of state; repeatable. Text: attn, mlp, block. UNet: resnet, attn1 (self-attention), attn2
    (cross-attention), ff, down, up, branch (a resnet without its skip connection)."""
    window: int = 1
    """Text layers restored together."""
    tokens: Literal["subject", "prompt", "all"] = "prompt"
    """Text positions: the subject's, those up to the end token, or all with the padding."""
    noise: float = 3.0
    """Noise on the subject, in standard deviations of its token embeddings."""
    seeds: int = 2
    """Samples, each with its own noise and picture: SEED, SEED + 1 and so on. Several give intervals."""
    metric: Annotated[
        tuple[Literal["embedding", "denoiser", "pictures"], ...], tyro.conf.arg(metavar="NAME"), Repeated
    ] = ()
    """What is measured; repeatable. embedding costs no UNet call, denoiser a few, pictures two a step; all
    three without it."""
    scorer: Annotated[str, tyro.conf.arg(metavar="DIR|HUB_ID|none")] = "none"
    """CLIP model that scores the pictures; never the one under trace. Models of the rendered world are also
    judged."""
    steps: int = 20
    """Denoising steps."""
    between: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="FIRST STOP")] = None
    """Restore UNet layers from step FIRST until before STOP only."""
    branches: Literal["both", "cond"] = "both"
    """Restore UNet layers under guidance in both branches, or in the one with text only."""
    rows: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Most UNet rows computed at once; fewer need less memory."""
    half: bool = False
    """Compute the UNet in bfloat16."""
    screen: bool = False
    """Read the text encoding up to its end token only: several times faster, for --text --metric embedding."""
    out: Path = Path("runs/trace")
    """Folder for the table, the plot, the strip and result.json."""

    def run(self) -> None:
        """Trace and save."""
        checks.text("prompt", self.prompt)
        checks.text("subject", self.subject)
        checks.whole("seeds", self.seeds, 1, 10_000)
        parts, components = self._chosen()

        from diffwright.core.atomic import refuse_foreign
        from diffwright.tracing.resume import Pieces
        from diffwright.tracing.trace import METRICS, causal_trace
        from diffwright.tracing.unet import Sampling

        metrics = self.metric or METRICS
        if self.scorer != "none" and "pictures" not in metrics:
            raise ConfigError("A scorer looks at pictures; add --metric pictures, or leave --scorer out.")
        refuse_foreign(self.out)
        sampling = Sampling(
            steps=self.steps, between=self.between, branches=self.branches, rows=self.rows, half=self.half
        )
        pipe = self.load()
        scorers, missed = self._scorers(pipe) if "pictures" in metrics else ([], [])
        kept = self.out.with_name(f"{self.out.name}.part.json")
        with shown() as progress:
            result = causal_trace(
                pipe,
                self.prompt,
                self.subject,
                parts=parts,
                components=components or None,
                window=self.window,
                tokens=self.tokens,
                noise=self.noise,
                seeds=[self.seed + i for i in range(self.seeds)],
                metrics=metrics,
                scorers=scorers,
                sampling=sampling,
                screen=self.screen,
                resume=kept,
                progress=progress,
            )
        result = replace(result, command=command_line(), warnings=[*missed, *result.warnings])
        result.save(self.out)
        Pieces.discard(kept)
        for warning in result.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        seconds = result.timings["trace"]
        rows = result.figures["unet_rows"]
        self.say(result.record(), f"{result.table()}\n\n{seconds:.0f} s, {rows} UNet rows; see {self.out}")

    def _chosen(self) -> tuple[list[str], list[str]]:
        """Say which parts are traced; components alone choose theirs."""
        parts = [name for name, wanted in (("text", self.text), ("unet", self.unet)) if wanted]
        if not parts and self.component:
            parts = list(dict.fromkeys("text" if kind in TEXT else "unet" for kind in self.component))
        if self.screen and not parts:
            parts = ["text"]
        return parts or ["text", "unet"], list(self.component)

    def _scorers(self, pipe: Any) -> tuple[list[PictureScore], list[str]]:
        """Gather who looks at the pictures, and say why the judge does not where it does not."""
        from diffwright.core.errors import InputError
        from diffwright.diffusion.backbones import describe
        from diffwright.tracing.scores import TextImageScore, judge_for

        scorers: list[PictureScore] = []
        missed = []
        if describe(pipe).layout == "pocket":
            from diffwright.metrics.judge import Judge

            try:
                scorers.append(judge_for(Judge.from_pretrained(), self.subject))
            except InputError as error:
                missed.append(f"not judged: {error}")
        if self.scorer != "none":
            from diffwright.metrics.clip_score import ClipScore

            scorer = ClipScore.from_pretrained(self.scorer, offline=self.offline)
            scorers.append(TextImageScore(scorer, self.prompt))
        return scorers, missed
