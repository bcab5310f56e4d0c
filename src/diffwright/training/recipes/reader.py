"""Recipe ``reader``: reads the word on a strip; it ranks the candidates of the scene text model and helps to train it.

It learns from drawn strips, a part of them after a round trip through the autoencoder. At first it is also told
where each letter stands, because CTC alone takes long to find that out. The judge of the bench is another program and
never met here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffwright.scenetext.losses import aligned_loss, ctc, gray
from diffwright.scenetext.model import SceneTextConfig
from diffwright.scenetext.nets import Reader
from diffwright.scenetext.reading import read
from diffwright.training.lettering.bank import Strips
from diffwright.training.lettering.lessons import StripOptions, fixed_strips, training_strips, words_of
from diffwright.weights.load import load
from diffwright.weights.module import load_module, save_module
from diffwright.weights.names import resolve


@dataclass(frozen=True, kw_only=True)
class ReaderOptions(StripOptions):
    """Options of the recipe, beside where strips come from.

    Args:
        model: Pipeline whose autoencoder the strips pass; pocket name or directory.
        decoded: Share of each batch that passes it.
        widths: Channels of the reader.
        layers: Its blocks along the row.
        aligned_samples: Over how many samples the weight of the letters' places falls from one to zero.
        init: Reader to start from.
    """

    model: str = "pocket"
    decoded: float = 0.25
    widths: tuple[int, int, int, int] = (24, 48, 64, 80)
    layers: int = SceneTextConfig.reader_layers
    aligned_samples: int = 40_000
    init: Path | None = None


class ReaderLesson(NamedTuple):
    """A batch: strips, latents of the first of them, their texts and letters, and the number of its first sample.

    Shapes:
        images (B, 3, 32, 128), latents (K, C, h, w), boxes (B, 22, 4)
    """

    images: Tensor
    latents: Tensor
    texts: list[str]
    boxes: Tensor
    first: int


class ReaderTask:
    """Read drawn strips."""

    name = "reader"

    def __init__(self, options: ReaderOptions) -> None:
        self.options = options
        self.vae: Any = load(options.model).vae.requires_grad_(False)
        self.strips, self.fixed = training_strips(options), fixed_strips(options)
        for strips in (self.strips, self.fixed):
            strips.encode(self.vae)
        if options.init:
            self.reader = load_module(resolve(str(options.init)), Reader)
        else:
            self.reader = Reader(options.widths, options.layers)

    def modules(self) -> dict[str, nn.Module]:
        """The reader."""
        return {"reader": self.reader}

    def batch(self, indices: Tensor) -> "ReaderLesson":
        """Strips and their words."""
        numbers = self.strips.numbers(indices)
        count = int(len(numbers) * self.options.decoded)
        latents = self.strips.latents(numbers[: max(1, count)])[:count, 0]
        asks, words = words_of(self.strips, numbers, indices.tolist(), 0.0)
        texts = [ask.text for ask in asks]
        return ReaderLesson(self.strips.pictures(numbers), latents, texts, words.boxes, int(indices[0]))

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """CTC loss on strips of random brightness, contrast, polarity and noise; at first with the letters' places."""
        images, latents, texts, boxes, first = ReaderLesson(*batch)
        images = gray(images)
        if len(latents):
            with torch.no_grad():
                decoded = self.vae.to(images.device).decode(latents / self.vae.config.scaling_factor).sample
            images = torch.cat([gray(decoded.to(images.dtype)).clamp(-1, 1), images[len(latents) :]])
        shape = (len(images), 1, 1, 1)
        turned, gain, noise = (torch.rand(shape, generator=generator, device=images.device) for _ in range(3))
        images = images * (0.5 + gain) * torch.where(turned < 0.5, 1.0, -1.0)
        grain = torch.randn(images.shape, generator=generator, device=images.device)
        said = modules["reader"](images + 0.08 * noise * grain)
        losses = ctc(said, texts)
        told = torch.tensor([bool(text) for text in texts], device=losses.device)
        loss = (losses * torch.where(told, 1.0, 0.1)).mean()  # an empty strip has no length to divide by
        figures: dict[str, float | Tensor] = {
            "ctc": losses[told].mean().detach() if told.any() else loss.detach()
        }
        share = max(0.0, 1 - first / max(1, self.options.aligned_samples))
        if share:
            places = aligned_loss(said, texts, boxes, images.shape[-1])
            loss, figures["aligned"] = loss + share * places, places.detach()
        return loss, figures

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Share of unseen strips that are read right, letter case aside, as they are and after the autoencoder."""
        device = next(modules["reader"].parameters()).device
        images, decoded, texts = measured(self.fixed, self.vae.to(device))
        pairs = (("reader_accuracy", images), ("reader_accuracy_decoded", decoded))
        return {name: accuracy(modules["reader"], shown, texts) for name, shown in pairs}

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Write the reader, half precision."""
        config = {"widths": list(self.reader.widths), "layers": self.reader.layers}
        save_module(directory, modules["reader"], config, dtype=torch.float16)


def measured(fixed: Strips, vae: Any) -> tuple[Tensor, Tensor, list[str]]:
    """Strips that measure, as they are and after the autoencoder, and what they say."""
    numbers = list(range(len(fixed)))
    latents = fixed.latents(numbers)[:, 0].to(next(vae.parameters()).device)
    with torch.no_grad():
        parts = [vae.decode(part / vae.config.scaling_factor).sample for part in latents.split(64)]
    decoded = torch.cat(parts).float().clamp(-1, 1).cpu()
    return fixed.pictures(numbers), decoded, [fixed.words(n)[0].text for n in numbers]


def accuracy(reader: nn.Module, images: Tensor, texts: list[str]) -> float:
    """Share of strips that are read right, letter case aside; strips without a word are left out."""
    found = [text for part in images.split(64) for text, _ in read(reader, part)]
    right = [a.lower() == b.lower() for a, b in zip(found, texts, strict=True) if b]
    return sum(right) / max(1, len(right))
