"""Recipe ``scenetext-sd``: teaches an inpainting checkpoint of Stable Diffusion's shape to read characters.

Strips are enlarged, the whole UNet is trained, autoencoder and text encoder stay frozen, as in the paper. The weights
go into ``model``; ``scenetext.sd.wrap`` puts them around the same checkpoint again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.core.checks import in_range, whole
from diffwright.core.errors import ConfigError
from diffwright.scenetext.losses import latent_mask, masked_error, min_snr
from diffwright.scenetext.sd import SdSceneText, wrap
from diffwright.training.lettering.lessons import (
    StripOptions,
    Words,
    fixed_strips,
    training_strips,
    words_of,
)
from diffwright.training.recipes.scenetext import strata
from diffwright.weights.load import load


@dataclass(frozen=True, kw_only=True)
class SdSceneTextOptions(StripOptions):
    """Options of the recipe, beside where strips come from.

    Args:
        model: The inpainting pipeline; a directory or a hub id.
        enlarge: How many pixels of the pipeline's pictures a pixel of a strip becomes.
        width: Channels of a character token.
        layers: Layers of the character encoder.
        mask_weight: a, the weight of the error under the mask.
        gamma: Cap of the weights of steps; 0 weighs all alike, as in the paper.
        drop: Share of samples without characters, and as many without instruction.
        drop_both: Share of samples without both.
        checkpointing: Compute activations twice to save memory.
        init: What an earlier run wrote.
    """

    model: str = ""
    enlarge: int = 4
    width: int = 32
    layers: int = 0
    mask_weight: float = 5.0
    gamma: float = 0.0
    drop: float = 0.1
    drop_both: float = 0.05
    checkpointing: bool = True
    init: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("enlarge", self.enlarge, 1, 16)
        for name in ("drop", "drop_both"):
            in_range(name, getattr(self, name), 0.0, 0.5)


class SdSceneTextTask:
    """Denoise enlarged strips under a mask."""

    name = "scenetext-sd"

    def __init__(self, options: SdSceneTextOptions) -> None:
        self.options = options
        if not options.model:
            raise ConfigError(
                "scenetext-sd was given no model; name an inpainting checkpoint, DIR or OWNER/NAME"
            )
        pipe: Any = load(options.model)
        self.strips, self.fixed = training_strips(options), fixed_strips(options)
        if options.init:
            self.text = wrap(pipe, options.init)
        else:
            self.text = SdSceneText(pipe, options.width, layers=options.layers, enlarge=options.enlarge)
        self.vae = pipe.vae.requires_grad_(False)
        self.text.text_encoder.requires_grad_(False)
        if options.checkpointing:
            self.text.unet.enable_gradient_checkpointing()
        self.alpha_bar = self.text.scheduler.alphas_cumprod.float()

    def modules(self) -> dict[str, nn.Module]:
        """The UNet and the character encoder."""
        return self.text.learned()

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor, Words]:
        """Truths and holed strips (B, 3, H, W), masks (B, 1, H, W) and words; some conditions are left out."""
        o, numbers = self.options, self.strips.numbers(indices)
        _, words = words_of(self.strips, numbers, indices.tolist(), o.templates)
        chances = torch.rand(len(numbers), generator=torch.Generator().manual_seed(int(indices[0]))).tolist()
        for i, chance in enumerate(chances):
            words.texts[i] = None if chance < o.drop_both + o.drop else words.texts[i]
            if chance < o.drop_both or 0 <= chance - o.drop_both - o.drop < o.drop:
                words.sentences[i] = None
        hole = self.strips.holes(numbers).repeat_interleave(o.enlarge, 2).repeat_interleave(o.enlarge, 3)
        truth, before = (
            F.interpolate(self.strips.pictures(numbers, which), scale_factor=o.enlarge, mode="bicubic")
            for which in (0, 1)
        )
        return truth.clamp(-1, 1), before.clamp(-1, 1).masked_fill(hole, 0.0), hole, words

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Masked error at a random step."""
        truth, holed, hole, words = batch
        model, alpha_bar = self.text.to(truth.device), self.alpha_bar.to(truth.device)
        with torch.no_grad():
            vae = self.vae.to(truth.device)
            z = [vae.encode(part).latent_dist.mean * vae.config.scaling_factor for part in (truth, holed)]
        x, masked = (part.float() for part in z)
        m = latent_mask(hole, x.shape[-2:])
        t = strata(len(x), len(alpha_bar), generator)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        a = alpha_bar[t].view(-1, 1, 1, 1)
        out = model.predict(a.sqrt() * x + (1 - a).sqrt() * noise, m, masked, t, model.encode(*words[:2]))
        kind = self.text.scheduler.config.prediction_type
        target = a.sqrt() * noise - (1 - a).sqrt() * x if kind == "v_prediction" else noise
        error = masked_error(out, target, m, self.options.mask_weight)
        return (error * min_snr(alpha_bar[t], self.options.gamma, kind)).mean(), {
            "error": error.mean().detach()
        }

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Error at fixed steps and noises on unseen strips."""
        kept, self.strips = self.strips, self.fixed
        try:
            batch = self.batch(torch.arange(len(self.fixed)))
        finally:
            self.strips = kept
        device = next(modules["unet"].parameters()).device
        moved = (*(part.to(device) for part in batch[:3]), batch[3])
        return {
            "error_fixed": float(
                self.loss(modules, moved, torch.Generator(device).manual_seed(0))[1]["error"]
            )
        }

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Write what was learned."""
        self.text.save_pretrained(directory)
