"""``diffwright trace``: where a model keeps what a word of the prompt says."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from diffwright.cli.bars import shown
from diffwright.cli.flags import ModelFlags, SeedFlags, command_line
from diffwright.core import checks
from diffwright.core.errors import ConfigError

Repeated = tyro.conf.UseAppendAction
Component = Literal["attn", "mlp", "block", "resnet", "attn1", "attn2", "ff", "down", "up", "branch"]
TEXT = ("attn", "mlp", "block")


@dataclass(frozen=True, kw_only=True)
class TraceFlags(ModelFlags, SeedFlags):
    """What is traced and measured, whatever the prompt."""

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

    def options(self) -> dict[str, Any]:
        """Give arguments of ``causal_trace``.

        Raises:
            ConfigError: Two flags contradict each other.
        """
        checks.whole("seeds", self.seeds, 1, 10_000)
        parts, components = self._chosen()
        metrics = self.metric or ("embedding", "denoiser", "pictures")
        if self.scorer != "none" and "pictures" not in metrics:
            raise ConfigError("A scorer looks at pictures; add --metric pictures, or leave --scorer out.")
        return {
            "parts": parts,
            "components": components or None,
            "window": self.window,
            "tokens": self.tokens,
            "noise": self.noise,
            "metrics": metrics,
            "screen": self.screen,
        }

    def sampling(self) -> dict[str, Any]:
        """Give arguments of ``tracing.unet.Sampling``."""
        names = ("steps", "between", "branches", "rows", "half")
        return {name: getattr(self, name) for name in names}

    def _chosen(self) -> tuple[list[str], list[str]]:
        """Say which parts are traced; components alone choose theirs."""
        parts = [name for name, wanted in (("text", self.text), ("unet", self.unet)) if wanted]
        if not parts and self.component:
            parts = list(dict.fromkeys("text" if kind in TEXT else "unet" for kind in self.component))
        if self.screen and not parts:
            parts = ["text"]
        return parts or ["text", "unet"], list(self.component)


@dataclass(frozen=True, kw_only=True)
class Trace(TraceFlags):
    """Find where a model keeps what a word of the prompt says.

    diffwright trace "a red mug on a wooden table" --subject mug --out mug-trace

    The subject's word embeddings drown in noise; then one state at a time is put back as it was. A state that
    brings the picture back holds what the words said. Run the same command again to go on after an interruption.
    """

    prompt: Annotated[str, tyro.conf.Positional]
    """The prompt, in quotes."""
    subject: Annotated[str, tyro.conf.arg(metavar="WORDS")]
    """Words of the prompt that are corrupted and traced."""
    out: Path = Path("runs/trace")
    """Folder for the table, the plot, the strip and result.json."""

    def run(self) -> None:
        """Trace and save."""
        checks.text("prompt", self.prompt)
        checks.text("subject", self.subject)
        options = self.options()

        from diffwright.core.atomic import refuse_foreign
        from diffwright.tracing.panel import Panel
        from diffwright.tracing.resume import Pieces
        from diffwright.tracing.trace import causal_trace
        from diffwright.tracing.unet import Sampling

        refuse_foreign(self.out)
        sampling = Sampling(**self.sampling())
        pipe = self.load()
        looked = "pictures" in options["metrics"]
        panel = Panel.load(pipe, self.scorer, offline=self.offline) if looked else Panel()
        scorers, missed = panel.scorers(self.prompt, self.subject)
        folder = self.out.absolute()
        kept = folder.with_name(f"{folder.name}.part.json")
        with shown() as progress:
            result = causal_trace(
                pipe,
                self.prompt,
                self.subject,
                seeds=[self.seed + i for i in range(self.seeds)],
                scorers=scorers,
                sampling=sampling,
                resume=kept,
                progress=progress,
                **options,
            )
        result = replace(result, command=command_line(), warnings=[*missed, *result.warnings])
        result.save(self.out)
        Pieces.discard(kept)
        for warning in result.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        seconds = result.timings["trace"]
        rows = result.figures["unet_rows"]
        self.say(result.record(), f"{result.table()}\n\n{seconds:.0f} s, {rows} UNet rows; see {self.out}")
