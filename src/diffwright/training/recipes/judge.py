"""Recipe ``judge``: reads kind, color, style, viewpoint, count, pose and place from a picture.

It learns from renders, half of them after a round trip through the autoencoder, and never sees a sample of the
text-to-image model that it will score. Materials are left out: gloss cannot be told in half of the styles.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.core.images import to_u8
from diffwright.diffusion.autoencoder import round_trip
from diffwright.metrics.accuracy import macro_accuracy
from diffwright.metrics.judge import Judge, guesses
from diffwright.training.corpus import Renders, as_tensor
from diffwright.training.starts import part_of
from diffwright.world.captions import labels
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.scene import Scene
from diffwright.world.splits import seeds
from diffwright.world.vocabulary import ATTRIBUTES

JUDGED = {
    name: ATTRIBUTES[name] for name in ("kind", "color", "style", "viewpoint", "count", "pose", "place")
}


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """Options of the recipe.

    Args:
        cache: Folder of cached renders.
        vae: Autoencoder whose round trips it must bear.
        round_trips: How many renders are put through the autoencoder beforehand.
        fixed: Unseen scenes that measure it; those with a relation are left out.
        init: Judge to start from.
    """

    cache: Path = Path(".cache/renders")
    vae: Path = Path("runs/vae/model")
    round_trips: int = 12000
    fixed: int = 900
    init: Path | None = None


class JudgeTask:
    """Classify renders of one kind of thing."""

    name = "judge"

    def __init__(self, options: JudgeOptions) -> None:
        from diffusers import AutoencoderKL

        self.renders = Renders(options.cache)
        scenes = enumerate(self.renders.cache.scenes())
        plain = [(n, scene) for n, scene in scenes if scene.relation is None]
        self.images = self.renders.cache.gather([n for n, _ in plain])
        self.targets = targets([scene for _, scene in plain])
        self.vae: Any = AutoencoderKL.from_pretrained(
            part_of(options.vae, "vae"), torch_dtype=torch.float32
        ).eval()
        count = min(options.round_trips, len(plain))
        with torch.autocast("cpu", torch.bfloat16):
            self.seen_through = to_u8(round_trip(self.vae, as_tensor(self.images[:count])))
        fixed = [s for s in sample(seeds("development", options.fixed, start=1000)) if s.relation is None]
        self.fixed, self.fixed_targets = render(fixed).image, targets(fixed)
        self.fixed_through = round_trip(self.vae, self.fixed)
        self.judge = Judge.from_pretrained(str(options.init)) if options.init else Judge(JUDGED)

    def modules(self) -> dict[str, nn.Module]:
        """The judge."""
        return {"judge": self.judge}

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, 64, 64) shifted, mirrored and slightly noisy, with their targets (B, attributes)."""
        pictures, numbers = [], []
        for index in indices.tolist():
            rng = np.random.Generator(np.random.PCG64([5, index]))
            through = rng.random() < 0.5
            number = int(rng.integers(len(self.seen_through if through else self.images)))
            picture = (self.seen_through if through else self.images)[number]
            dx, dy = rng.integers(-2, 3, 2)
            picture = np.roll(np.pad(picture, ((2, 2), (2, 2), (0, 0)), mode="edge"), (dy, dx), (0, 1))[
                2:-2, 2:-2
            ]
            pictures.append(picture[:, ::-1] if rng.random() < 0.5 else picture)
            numbers.append(number)
        rng = np.random.Generator(np.random.PCG64([6, int(indices[0])]))
        stack = as_tensor(np.stack(pictures))
        gain = torch.from_numpy(rng.uniform(0.92, 1.08, (len(stack), 3, 1, 1)).astype(np.float32))
        noise = torch.from_numpy(rng.standard_normal(stack.shape, dtype=np.float32)) * 0.02
        return ((stack + 1) * gain - 1 + noise).clamp(-1, 1), self.targets[numbers]

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Sum of the cross-entropies of all attributes."""
        image, target = batch
        logits = modules["judge"](image)
        parts = {
            name: F.cross_entropy(x.float(), target[:, i], label_smoothing=0.02)
            for i, (name, x) in enumerate(logits.items())
        }
        return torch.stack(list(parts.values())).sum(), {name: part.detach() for name, part in parts.items()}

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Macro-averaged accuracies on unseen renders, as they are and after the autoencoder.

        Beside them the mean confidences on noise and on blank pictures, which nothing in training makes small.
        """
        judge: Any = modules["judge"]
        figures = {}
        for prefix, images in (("", self.fixed), ("vae_", self.fixed_through)):
            chances = [judge.probabilities(part) for part in images.split(128)]
            for i, name in enumerate(JUDGED):
                guess = torch.cat([c[name] for c in chances]).argmax(1)
                figures[f"{prefix}{name}"] = macro_accuracy(guess.tolist(), self.fixed_targets[:, i].tolist())
        for sort, guessed in guesses(judge).items():
            figures |= {f"{sort}_confidence_{name}": guess.confidence for name, guess in guessed.items()}
        return figures

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Write the judge."""
        modules["judge"].save_pretrained(directory)  # type: ignore[operator]


def targets(scenes: list[Scene]) -> Tensor:
    """Number of each judged attribute's value, (B, attributes) int64."""
    rows = [[JUDGED[name].index(labels(scene)[name]) for name in JUDGED] for scene in scenes]
    return torch.tensor(rows)
