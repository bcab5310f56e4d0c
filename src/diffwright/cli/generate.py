"""``diffwright generate``: pictures from prompts."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from diffwright.cli.bars import shown
from diffwright.cli.flags import ModelFlags, SeedFlags, command_line
from diffwright.cli.places import apart
from diffwright.core.checks import text, whole
from diffwright.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Generate(ModelFlags, SeedFlags):
    """Paint pictures from prompts.

    diffwright generate "a red mug on grass" "a blue car on sand" --count 4 --seed 7 --out pictures
    """

    prompts: Annotated[tuple[str, ...], tyro.conf.Positional]
    """One or more prompts, each in quotes."""
    count: int = 1
    """Pictures of each prompt, with seeds SEED, SEED + 1 and so on."""
    steps: int = 25
    """Denoising steps."""
    guidance: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Guidance scale; the model's own default without it."""
    negative: str = ""
    """What to keep away from."""
    with_: Annotated[tuple[Path, ...], tyro.conf.arg(name="with"), tyro.conf.UseAppendAction] = ()
    """Folder of a concept edit made by "fix make", applied before painting."""
    out: Path = Path("runs/generate")
    """Folder for the pictures, a contact sheet and result.json."""

    def run(self) -> None:
        """Paint and save."""
        if not self.prompts:
            raise ConfigError('no prompt was given; write one in quotes: diffwright generate "a red mug"')
        for prompt in self.prompts:
            text("prompt", prompt)
        whole("count", self.count, 1, 10_000)
        apart((self.json,), *self.with_)

        from diffwright.core.atomic import refuse_foreign
        from diffwright.core.images import to_pil
        from diffwright.core.results import Result, Stopwatch
        from diffwright.diffusion.sampling import generate
        from diffwright.viz.strips import sheet
        from diffwright.weights.fingerprint import fingerprint

        refuse_foreign(self.out)
        watch = Stopwatch()
        with watch("load"):
            pipe = self.load()
        warnings = self._unseen(pipe) + self._apply_edits(pipe)
        prompts = [prompt for prompt in self.prompts for _ in range(self.count)]
        seeds = [self.seed + i for _ in self.prompts for i in range(self.count)]
        with watch("paint"), shown() as progress:
            pictures = generate(
                pipe,
                prompts,
                seeds=seeds,
                steps=self.steps,
                guidance=self.guidance,
                negative=self.negative,
                progress=progress,
            )
        labels = [f"{prompt} (seed {seed})" for prompt, seed in zip(prompts, seeds, strict=True)]
        result = Result(
            images=[*map(to_pil, pictures), sheet(list(pictures), labels, columns=min(4, len(pictures)))],
            names=[*map(_file_name, prompts, seeds, range(len(prompts))), "sheet"],
            warnings=warnings,
            timings=watch.timings,
            command=command_line(),
            seeds=seeds,
            model=fingerprint(pipe),
        )
        result.save(self.out)
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        seconds = watch.timings["paint"] / len(prompts)
        self.say(
            result.record(), f"{len(prompts)} pictures in {self.out}, {seconds:.2f} s each; see sheet.png"
        )

    def _unseen(self, pipe: Any) -> list[str]:
        from diffwright.diffusion.backbones import describe
        from diffwright.diffusion.prompts import unseen

        words = unseen(pipe.tokenizer, self.prompts) if describe(pipe).layout == "pocket" else []
        if not words:
            return []
        return [
            f"the model never saw {', '.join(map(repr, words))} in its training and may paint anything for it"
        ]

    def _apply_edits(self, pipe: Any) -> list[str]:
        if not self.with_:
            return []
        import torch

        from diffwright.concepts.edit import ConceptEdit

        warnings = []
        for path in self.with_:
            edit = ConceptEdit.load(path)
            places = [patch.site for patch in edit.patches if patch.site.startswith("unet")]
            before = self._read(pipe, places)
            edit.apply(pipe)
            after = self._read(pipe, places)
            if all(torch.allclose(old, new, atol=1e-5) for old, new in zip(before, after, strict=True)):
                pairs = ", ".join(f"{source} -> {target}" for source, target in edit.pairs)
                warnings.append(f"the edit {path} ({pairs}) changes none of these prompts")
        return warnings

    def _read(self, pipe: Any, places: list[str]) -> list[Any]:
        """What the model makes of the prompts: their encodings, and these keys and values of cross-attention."""
        import torch

        from diffwright.diffusion.prompts import encode
        from diffwright.diffusion.sites import find

        encoded = encode(pipe, list(self.prompts))
        layers = [find(pipe, place).linear for place in places]
        with torch.no_grad():
            return [encoded, *(layer(encoded.to(layer.weight)).float() for layer in layers)]


def _file_name(prompt: str, seed: int, number: int) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:48]
    return f"{number:03d}-{words or 'prompt'}-seed{seed}"
