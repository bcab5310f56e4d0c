"""Recipe ``image-prompt``: lets ``pocket`` be told by a picture beside the text, as DiffEditor's editor is.

Only the resampler and the extra keys and values learn; UNet, autoencoder and both towers stay frozen. The picture
shown is the one to be denoised, and text, picture or both are left out now and then, so that each can stand alone and
guidance can be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffwright.editing.image_prompt import ImagePrompt, ImageTower
from diffwright.training.corpus import Renders, encoded_renders
from diffwright.training.recipes.clip import may_mirror
from diffwright.training.tokens import LENGTH
from diffwright.weights.load import load
from diffwright.world.captions import caption

CARD = """# {model}-image-prompt

Image prompt for `{model}`: a resampler of {queries} tokens (depth 4, head size 64) and extra keys and values for each
cross-attention, in the layout that `load_ip_adapter` of diffusers reads:

    pipe = StableDiffusionPipeline.from_pretrained(FOLDER_OF_THE_MODEL)    # with its image encoder
    pipe.load_ip_adapter(FOLDER, subfolder="", weight_name="model.safetensors")

Trained by `diffwright train image-prompt` on renders of the project's own world (Apache-2.0), at 64 x 64 pixels.
It is an instrument for measuring and learning, and says nothing about photographs.
"""


@dataclass(frozen=True, kw_only=True)
class ImagePromptOptions:
    """Options of the recipe.

    Args:
        cache: Folder of cached renders.
        model: The pipeline that it is for; pocket name or directory.
        width: Channels of the resampler, a multiple of 64.
        queries: Tokens it gives.
        wordless: Share of samples without text.
        blind: Share of samples without picture.
        neither: Share of samples without both.
        fixed: Renders that measure it, kept out of training; at most a quarter of all.
        init: Image prompt to start from.
    """

    cache: Path = Path(".cache/renders")
    model: str = "pocket"
    width: int = 128
    queries: int = 16
    wordless: float = 0.3
    blind: float = 0.05
    neither: float = 0.05
    fixed: int = 256
    init: Path | None = None


class ImagePromptTask:
    """Denoise renders, told by caption and picture."""

    name = "image-prompt"

    def __init__(self, options: ImagePromptOptions) -> None:
        self.options = options
        self.pipe: Any = load(options.model)
        self.unet, self.vae = self.pipe.unet.requires_grad_(False), self.pipe.vae
        self.text, self.tokenizer = self.pipe.text_encoder, self.pipe.tokenizer
        self.look = ImageTower.load(options.model)
        self.tower = self.look.model.requires_grad_(False)
        self.renders = Renders(options.cache)
        self.scenes = list(self.renders.cache.scenes())
        self.fixed = min(options.fixed, max(1, len(self.scenes) // 4))
        self.renders.pool = self.renders.pool[self.renders.pool >= self.fixed]
        self.latents = encoded_renders(self.renders, self.vae)
        if options.init:
            self.prompt = ImagePrompt.from_pretrained(options.init)
        else:
            self.prompt = ImagePrompt.new(
                self.unet, self.look.width, width=options.width, queries=options.queries
            )
        self.prompt.check_fit(self.unet, self.look)

    def modules(self) -> dict[str, nn.Module]:
        """The image prompt."""
        return {"image_prompt": self.prompt}

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents (B, C, h, w), pixels for the tower (B, 3, S, S), zero where no picture is shown, ids (B, T)."""
        o, rows = self.options, []
        for index, number in zip(indices.tolist(), self.renders.numbers(indices), strict=True):
            rng = np.random.Generator(np.random.PCG64([13, index]))
            scene, choice = self.scenes[number], rng.random()
            mirrored = int(may_mirror(scene) and rng.random() < 0.5)
            said = "" if choice < o.wordless + o.neither else caption(scene, rng).text
            seen = not (o.wordless <= choice < o.wordless + o.neither + o.blind)
            image = self.renders.cache.image(number)
            pixels = self.look.pixels(image[:, ::-1] if mirrored else image)[0] * seen
            rows.append((torch.from_numpy(np.array(self.latents[number, mirrored])), pixels, said))
        latents, pixels, texts = zip(*rows, strict=True)
        return torch.stack(latents).float(), torch.stack(pixels), self._ids(list(texts))

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Squared error of what the UNet predicts, with the image tokens beside the text."""
        x, pixels, ids = batch
        prompt: Any = modules["image_prompt"]
        for frozen in (self.unet, self.text, self.tower):
            frozen.to(x.device)
        with torch.no_grad():
            context = self.text(input_ids=ids)[0]
            states = self.look(pixels)
        tokens = prompt.image_proj(states)
        schedule = self.pipe.scheduler
        steps = schedule.config.num_train_timesteps
        spread = torch.rand(len(x), generator=generator, device=x.device)
        strata = (torch.arange(len(x), device=x.device) + spread) / len(x)
        t = (strata * steps).long().clamp_max(steps - 1)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        told_v = schedule.config.prediction_type == "v_prediction"
        target = schedule.get_velocity(x, noise, t) if told_v else noise
        with prompt.installed(self.unet) as dial:
            dial.set(1.0)
            said = self.unet(schedule.add_noise(x, noise, t), t, (context, [tokens])).sample.float()
        error = (said - target).square().mean(dim=(1, 2, 3))
        return error.mean(), {"late": error[t > 0.7 * steps].mean().detach()}

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Loss at fixed steps and noises, without words: with the right picture, with another one, with none."""
        device = next(modules["image_prompt"].parameters()).device
        count = self.fixed
        x = torch.from_numpy(np.array(self.latents[:count, 0])).float()
        pixels = torch.cat([self.look.pixels(self.renders.cache.image(n)) for n in range(count)])
        ids = self._ids([""] * count)
        figures = {}
        for name, shown in (
            ("right_picture", pixels),
            ("other_picture", pixels.roll(1, 0)),
            ("no_picture", pixels * 0),
        ):
            generator = torch.Generator(device).manual_seed(0)
            parts = zip(x.split(64), shown.split(64), ids.split(64), strict=True)
            losses = [
                self.loss(modules, tuple(t.to(device) for t in part), generator)[0] * len(part[0])
                for part in parts
            ]
            figures[f"loss_{name}"] = float(torch.stack(losses).sum()) / count
        return figures

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Write it in half precision, in the layout of the stock loader."""
        prompt: Any = modules["image_prompt"]
        queries = prompt.image_proj.latents.shape[1]
        prompt.save_pretrained(directory, CARD.format(model=self.options.model, queries=queries))

    def _ids(self, texts: list[str]) -> Tensor:
        return self.tokenizer(
            texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
        ).input_ids
