"""Recipe ``scenetext``: writes words into strips, told by characters and an instruction.

The default is the improved arm; each of its parts is a switch. ``PAPER`` are the options of the paper's arm, its table
trained all the same, ``INSTRUCTION_ONLY`` those of the arm that shows what characters are worth:

    train("scenetext", {"out": "runs/paper", "minutes": 30}, PAPER)
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffwright.core.checks import in_range
from diffwright.core.seeding import generators
from diffwright.scenetext import characters
from diffwright.scenetext.dual import Conditions, recorded
from diffwright.scenetext.losses import attention_loss, latent_mask, masked_error, min_snr, reading_loss
from diffwright.scenetext.model import FAITHFUL, HEIGHT, WIDTH, SceneTextConfig, SceneTextModel
from diffwright.scenetext.nets import Reader
from diffwright.scenetext.sampling import write
from diffwright.training.lettering.lessons import (
    StripOptions,
    Words,
    fixed_strips,
    training_strips,
    words_of,
)
from diffwright.training.recipes.reader import accuracy, measured
from diffwright.weights.load import load
from diffwright.weights.module import load_module
from diffwright.weights.names import resolve

PAPER: dict[str, Any] = {
    **FAITHFUL,
    "gamma": 0.0,
    "drop_characters": 0.0,
    "drop_instruction": 0.0,
    "drop_both": 0.0,
    "attention_weight": 0.0,
    "reading_weight": 0.0,
    "templates": 0.0,
}
INSTRUCTION_ONLY: dict[str, Any] = {"character_branch": False}

CARD = """# pocket-text

Writes, changes and erases words on strips of 32 x 128 pixels, and reads them: an inpainting UNet on the latents of
`{model}`'s autoencoder with two transformers at every attention site, one for characters and one for the instruction.

Trained by `diffwright train scenetext` on words drawn by the project itself in free fonts of Debian packages.
"""


@dataclass(frozen=True, kw_only=True)
class SceneTextOptions(StripOptions):
    """Options of the recipe, beside where strips come from.

    Args:
        model: Pipeline whose autoencoder is used; pocket name or directory.
        reader: What recipe ``reader`` wrote; it becomes a part of the model. None leaves an untrained one.
        widths: Channels of the UNet.
        attention: At which of them it reads.
        character_branch: Let characters be read beside the instruction.
        character_layers: Layers of the character encoder; 0 is the paper's table.
        separate_tokens: Padding, space, unknown and ends apart, and padding masked.
        places: Let cells and characters tell where in the region they are.
        prediction: What the UNet predicts.
        guidance: Scales of the characters and of the instruction that it is measured and used with.
        steps: Of denoising, likewise.
        mask_weight: a, the weight of the error under the mask.
        gamma: Cap of the weights of steps; 0 weighs all alike.
        drop_characters: Share of samples without characters.
        drop_instruction: Share of samples without instruction.
        drop_both: Share of samples without both.
        attention_weight: Of the attention supervision at the start.
        attention_samples: Over how many samples it falls to zero.
        reading_weight: Of the reader's loss on decoded estimates.
        reading_after: Sample after which it counts.
        reading_every: Batches from one to the next that it looks at.
        reading_below: Share of the steps, the nearly clean ones, that it looks at.
        init: Model to go on from; its configuration replaces the options above.
    """

    model: str = "pocket"
    reader: Path | None = Path("runs/reader/model")
    widths: tuple[int, ...] = SceneTextConfig.widths
    attention: tuple[bool, ...] = SceneTextConfig.attention
    character_branch: bool = True
    character_layers: int = SceneTextConfig.character_layers
    separate_tokens: bool = True
    places: bool = True
    prediction: str = SceneTextConfig.prediction
    guidance: tuple[float, float] = SceneTextConfig.guidance
    steps: int = SceneTextConfig.steps
    mask_weight: float = 5.0
    gamma: float = 5.0
    drop_characters: float = 0.1
    drop_instruction: float = 0.1
    drop_both: float = 0.05
    attention_weight: float = 0.05
    attention_samples: int = 200_000
    reading_weight: float = 0.01
    reading_after: int = 200_000
    reading_every: int = 4
    reading_below: float = 0.3
    init: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("drop_characters", "drop_instruction", "drop_both", "reading_below"):
            in_range(name, getattr(self, name), 0.0, 1.0)


class Lesson(NamedTuple):
    """A batch: latents and words, and the number of its first sample.

    Shapes:
        latents (B, 2, C, h, w), of the truth and the holed strip; mask (B, 1, h, w)
    """

    latents: Tensor
    mask: Tensor
    words: Words
    texts: list[str]
    first: int


class SceneTextTask:
    """Denoise latents of strips under a mask, told by characters and an instruction."""

    name = "scenetext"

    def __init__(self, options: SceneTextOptions) -> None:
        self.options = options
        self.vae: Any = load(options.model).vae.requires_grad_(False)
        self.strips, self.fixed = training_strips(options), fixed_strips(options)
        for strips in (self.strips, self.fixed):
            strips.encode(self.vae)
        self.text = self._build()
        self.text.reader.requires_grad_(False)
        self.alpha_bar = self.text.scheduler.alphas_cumprod.float()

    def _build(self) -> SceneTextModel:
        o = self.options
        if o.init:
            return SceneTextModel.from_pretrained(str(o.init))
        reader = load_module(resolve(str(o.reader)), Reader) if o.reader else Reader()
        model = SceneTextModel(
            latent_channels=self.vae.config.latent_channels, widths=o.widths, attention=o.attention,
            character_branch=o.character_branch, character_layers=o.character_layers,
            separate_tokens=o.separate_tokens, places=o.places, prediction=o.prediction,
            guidance=o.guidance, steps=o.steps,
            reader_widths=reader.widths, reader_layers=reader.layers,
        )  # fmt: skip
        model.reader.load_state_dict(reader.state_dict())
        return model

    def modules(self) -> dict[str, nn.Module]:
        """The UNet and both encoders."""
        parts = {name: getattr(self.text, name) for name in ("unet", "instructions", "characters")}
        return {name: part for name, part in parts.items() if part is not None}

    def batch(self, indices: Tensor) -> Lesson:
        """Latents, masks and words of strips; some conditions are left out."""
        o, numbers = self.options, self.strips.numbers(indices)
        asks, words = words_of(self.strips, numbers, indices.tolist(), o.templates)
        for i, index in enumerate(indices.tolist()):
            chance = float(np.random.Generator(np.random.PCG64([32, index])).random())
            if chance < o.drop_both + o.drop_characters:
                words.texts[i] = None
            if chance < o.drop_both or 0 <= chance - o.drop_both - o.drop_characters < o.drop_instruction:
                words.sentences[i] = None
        latents = self.strips.latents(numbers)
        mask = latent_mask(self.strips.holes(numbers), latents.shape[-2:])
        return Lesson(latents, mask, words, [ask.text for ask in asks], int(indices[0]))

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Masked error at a random step, and while they count the losses of attention and reader."""
        o, lesson = self.options, Lesson(*batch)
        x, masked = lesson.latents.unbind(1)
        model, alpha_bar = self.text.to(x.device), self.alpha_bar.to(x.device)
        t = strata(len(x), len(alpha_bar), generator)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        a = alpha_bar[t].view(-1, 1, 1, 1)
        x_t = a.sqrt() * x + (1 - a).sqrt() * noise
        told = model.encode(lesson.words[0], lesson.words[1])
        share = max(0.0, 1 - lesson.first / max(1, o.attention_samples)) * o.attention_weight
        with recorded(model.unet) as readings, short_attention(x.device):
            out = model.predict(x_t, lesson.mask, masked, t, told).float()
        velocity = model.config.prediction == "v_prediction"
        target = a.sqrt() * noise - (1 - a).sqrt() * x if velocity else noise
        error = masked_error(out, target, lesson.mask, o.mask_weight)
        loss = (error * min_snr(alpha_bar[t], o.gamma, model.config.prediction)).mean()
        figures: dict[str, float | Tensor] = {"error": error.mean().detach()}
        if share and told.characters is not None:
            attention = self._attention(readings, told, lesson)
            loss, figures["attention"] = loss + share * attention, attention.detach()
        first, every = o.reading_after, o.reading_every * len(x)
        if o.reading_weight and lesson.first >= first and lesson.first % every < len(x):
            x0 = (
                a.sqrt() * x_t - (1 - a).sqrt() * out if velocity else (x_t - (1 - a).sqrt() * out) / a.sqrt()
            )
            reading = self._reading(lesson, x0, t)
            loss, figures["reading"] = loss + o.reading_weight * reading, reading.detach()
        return loss, figures

    def _attention(self, readings: dict[str, Any], told: Conditions, lesson: Lesson) -> Tensor:
        """Attention of the samples that were told their characters."""
        given = torch.tensor([text is not None for text in lesson.words[0]], device=lesson.mask.device)
        boxes = lesson.words[2] * given.view(-1, 1, 1)
        keep: Any = told.characters_keep
        first = characters.offset(plain=not self.text.config.separate_tokens)
        return attention_loss(readings.values(), boxes, keep, (HEIGHT, WIDTH), first=first)

    def _reading(self, lesson: Lesson, x0: Tensor, t: Tensor) -> Tensor:
        """What the reader makes of the estimates at nearly clean steps, the rest of the strip taken from the truth."""
        steps = len(self.alpha_bar)
        rows = [
            i for i, text in enumerate(lesson.words[0]) if text and t[i] < self.options.reading_below * steps
        ]
        if not rows:
            return x0.new_zeros(())
        m = lesson.mask[rows]
        z = m * x0[rows] + (1 - m) * lesson.latents[rows, 0]
        images = self.vae.to(z.device).decode(z / self.vae.config.scaling_factor).sample
        return reading_loss(self.text.reader, images, [lesson.texts[i] for i in rows]).clamp(max=8).mean()

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Error on unseen strips, and how many written words our own reader reads, beside the truth's share."""
        device = next(modules["unet"].parameters()).device
        model, vae = self.text.to(device), self.vae.to(device)
        numbers = list(range(len(self.fixed)))
        asks, words = words_of(self.fixed, numbers, numbers, 0.0)
        latents, holes = self.fixed.latents(numbers), self.fixed.holes(numbers)
        mask = latent_mask(holes, latents.shape[-2:])
        lesson = Lesson(latents.to(device), mask.to(device), words, [a.text for a in asks], 2**62)
        generator = torch.Generator(device).manual_seed(0)
        loss = float(self.loss(modules, lesson, generator)[1]["error"])
        written = write(
            model, vae, self.fixed.pictures(numbers, 1), holes, lesson.texts, words.sentences,
            generators=generators(range(len(numbers))),
        ).cpu()  # fmt: skip
        _, decoded, texts = measured(self.fixed, vae)
        return {
            "error_fixed": loss,
            "reader_accuracy": accuracy(model.reader, written, texts),
            "reader_ceiling": accuracy(model.reader, decoded, texts),
        }

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Write the whole model, half precision."""
        self.text.save_pretrained(directory, CARD.format(model=self.options.model))


def short_attention(device: torch.device) -> AbstractContextManager[Any]:
    """On a CPU, plain products in place of fused attention: over 64 cells its backward pass takes a third of a step."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def strata(count: int, steps: int, generator: torch.Generator) -> Tensor:
    """One random step from each of ``count`` equal parts of all steps, so that a batch covers easy and hard ones."""
    spread = torch.rand(count, generator=generator, device=generator.device)
    parts = (torch.arange(count, device=generator.device) + spread) / count
    return (parts * steps).long().clamp_max(steps - 1)
