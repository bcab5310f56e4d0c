"""A small classifier of typefaces, trained inside the bench; it judges fonts and serves nothing else.

It sees the coverage of ink alone, so that color and ground tell it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from diffwright.core.progress import Progress, report
from diffwright.metrics.ink import find_ink
from diffwright.world.lettering import looks
from diffwright.world.lettering.camera import sample_camera
from diffwright.world.lettering.draw import draw
from diffwright.world.lettering.faces import Face
from diffwright.world.lettering.families import ONE_CASE
from diffwright.world.lettering.framing import HEIGHT, WIDTH
from diffwright.world.lettering.glyphs import measure
from diffwright.world.lettering.grounds import paint
from diffwright.world.lettering.scene import TextScene
from diffwright.world.lettering.words import draw_word

STEPS, BATCH, RATE = 3000, 32, 1e-3
WARMUP = 200  # steps; at the full rate from the start it learns nothing
POOL = 6000
"""Words that are drawn for a training, at most; drawing takes longer than learning."""
LEVEL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
FILL = (WIDTH - 10, HEIGHT - 8)
STREAM = 11


class FontClassifier(nn.Module):
    """Tells which of several families a word is set in, from its ink.

    Args:
        families: Names of the families, at least two.

    Shapes:
        coverage (B, 1, 32, 128) of 0 to 1 -> (B, families)
    """

    def __init__(self, families: Sequence[str]) -> None:
        super().__init__()
        self.families = tuple(families)
        layers: list[nn.Module] = []
        for before, after in ((1, 32), (32, 64), (64, 96), (96, 128)):
            layers += [
                nn.Conv2d(before, after, 3, padding=1),
                nn.GroupNorm(8, after),
                nn.GELU(),
                nn.MaxPool2d(2),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(256, len(self.families))

    def forward(self, coverage: Tensor) -> Tensor:
        """Give the logits of the families."""
        h = self.body(coverage).flatten(2)
        return self.head(torch.cat([h.mean(2), h.amax(2)], dim=1))

    @torch.no_grad()
    def log_shares(self, coverages: Sequence[np.ndarray]) -> np.ndarray:
        """Logarithm of how probable each family is.

        Shapes:
            each (32, 128) of 0 to 1 -> (B, families)
        """
        return F.log_softmax(self(_batch(coverages)), dim=1).numpy()

    def within(self, coverages: Sequence[np.ndarray], wanted: Sequence[str], first: int = 5) -> list[bool]:
        """Tell for each word whether its family is among the most probable ones."""
        order = np.argsort(-self.log_shares(coverages), axis=1)[:, :first]
        return [self.families.index(name) in row for name, row in zip(wanted, order, strict=True)]


def train(
    faces: Sequence[Face], steps: int = STEPS, seed: int = 0, progress: Progress | None = None
) -> FontClassifier:
    """Train on words drawn like those of the scenes, in training words.

    Args:
        faces: Of at least two families; all faces of a family count as it.
        steps: Updates of 32 words.
        seed: Of words, looks and weights.
        progress: Is told the steps done; may cancel.
    """
    families = sorted({face.family for face in faces})
    of = {name: [face for face in faces if face.family == name] for name in families}
    rng = np.random.Generator(np.random.PCG64([seed, STREAM]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = FontClassifier(families)
    optimizer = torch.optim.AdamW(net.parameters(), RATE)
    labels = torch.from_numpy(rng.integers(len(families), size=min(POOL, steps * BATCH)))
    drawn = _batch([_sample(rng, of[families[k]]) for k in labels.tolist()])
    for step in range(steps):
        report(progress, "training the classifier of fonts", step, steps)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARMUP) * (1 - step / steps)
        some = torch.from_numpy(rng.integers(len(drawn), size=BATCH))
        loss = F.cross_entropy(net(drawn[some]), labels[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    report(progress, "training the classifier of fonts", steps, steps)
    return net.eval().requires_grad_(False)


def _sample(rng: np.random.Generator, faces: Sequence[Face]) -> np.ndarray:
    """Draw one word and give the coverage of its ink (32, 128)."""
    face = faces[int(rng.integers(len(faces)))]
    text = draw_word(rng, "train", (2, 8))
    text = text.upper() if face.family in ONE_CASE else text
    ground = looks.sample_ground(rng, "word", None)
    style = looks.sample_style(rng, "word", paint(ground, (HEIGHT, WIDTH)))
    wide, tall = measure(face, text)
    em = min(FILL[0] / max(wide, 0.1), FILL[1] / max(tall, 0.1)) * float(rng.uniform(0.7, 0.95))
    place = (WIDTH / 2 + float(rng.normal(0, 2)), HEIGHT / 2 + float(rng.normal(0, 1)))
    word = replace(style.word(text, face, em), place=place)
    scene = TextScene((word,), 0, ground, LEVEL, sample_camera(rng), (HEIGHT, WIDTH), "word")
    whole = np.zeros((HEIGHT, WIDTH), bool)
    half = min(WIDTH / 2 - 1, word.extent[0] / 2 + 4)
    whole[1:-1, int(WIDTH / 2 - half) : int(WIDTH / 2 + half)] = True
    return centered(find_ink(draw(scene).image, whole).coverage)


def centered(coverage: np.ndarray) -> np.ndarray:
    """Cut a word out by its ink and set it into the strip, as large as it fits, so that place and size tell nothing.

    Shapes:
        (h, w) of 0 to 1 -> (32, 128)
    """
    strong = coverage > 0.5
    if not strong.any():
        return np.zeros((HEIGHT, WIDTH))
    rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    part = coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min((WIDTH - 4) / part.shape[1], (HEIGHT - 4) / part.shape[0])
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    fitted = np.asarray(
        Image.fromarray((part * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC), float
    )
    strip = np.zeros((HEIGHT, WIDTH))
    top, left = (HEIGHT - size[1]) // 2, (WIDTH - size[0]) // 2
    strip[top : top + size[1], left : left + size[0]] = fitted / 255
    return strip


def _batch(coverages: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(coverages).astype(np.float32))[:, None]
