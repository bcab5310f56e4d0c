"""Recipe ``clip``: the text and image towers, trained contrastively, then frozen.

A picture, and a paraphrase that states everything about it, are both to find its caption among those of the batch and
among near misses: the same sentences with one value changed. Without near misses color and style alone tell most
captions of a batch apart, and the text tower forgets the other words. As the scenes are known, so is which caption is
true of which picture.

The text tower reads only as many positions as the longest caption of the batch needs: attention is causal and the
sentence vector sits at its end token, so later positions change nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwright.training.corpus import Renders, as_tensor
from diffwright.training.starts import join_towers, part_of
from diffwright.training.tokens import LENGTH, learn_tokenizer, sample_captions
from diffwright.world.captions import caption, is_true, near_miss
from diffwright.world.render import render
from diffwright.world.sample import sample
from diffwright.world.scene import Scene
from diffwright.world.splits import seeds


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """Options of the recipe.

    Args:
        cache: Folder of cached renders.
        width: Of the text tower.
        layers: Of the text tower.
        words: Captions from which the tokenizer is learned.
        fixed: Unseen renders that measure it.
        init: Pocket pipeline, or directory of a ``CLIPModel`` with its tokenizer, to start from.
    """

    cache: Path = Path(".cache/renders")
    width: int = 256
    layers: int = 6
    words: int = 3000
    fixed: int = 256
    init: Path | None = None


class ClipTask:
    """Tell which caption belongs to which render."""

    name = "clip"

    def __init__(self, options: ClipOptions) -> None:
        from transformers import CLIPTokenizer

        self.renders = Renders(options.cache)
        self.scenes = list(self.renders.cache.scenes())
        if options.init:
            self.tokenizer = CLIPTokenizer.from_pretrained(part_of(options.init, "tokenizer"))
            self.clip = join_towers(options.init)
        else:
            self.tokenizer = learn_tokenizer(sample_captions(options.words, 0))
            self.clip = build_clip(self.tokenizer, options)
        fixed = sample(seeds("development", options.fixed, start=3000))
        self.fixed = render(fixed).image
        self.fixed_texts = [caption(s, i, full=True).text for i, s in enumerate(fixed)]

    def modules(self) -> dict[str, nn.Module]:
        """Both towers."""
        return {"clip": self.clip}

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (B, 3, 64, 64); token ids (3 B, T) of captions, near misses and paraphrases; truth (B, B).

        Truth is indexed by picture, then caption.
        """
        numbers = self.renders.numbers(indices)
        scenes = [self.scenes[number] for number in numbers]
        pictures, told, missed, full = [], [], [], []
        for index, number, scene in zip(indices.tolist(), numbers, scenes, strict=True):
            rng = np.random.Generator(np.random.PCG64([7, index]))
            told.append(caption(scene, rng))
            missed.append(near_miss(told[-1], rng))
            full.append(caption(scene, rng, full=True))
            mirrored = may_mirror(scene) and rng.random() < 0.5
            picture = self.renders.cache.image(number)
            pictures.append(picture[:, ::-1] if mirrored else picture)
        truth = torch.tensor([[is_true(text, scene) for text in told] for scene in scenes]).float()
        ids = token_ids(self.tokenizer, [c.text for c in told + missed + full])
        return as_tensor(np.stack(pictures)), ids, truth

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Cross-entropy between pictures or paraphrases and captions; all true captions share the target."""
        image, ids, truth = batch
        clip: Any = modules["clip"]
        texts = F.normalize(clip.get_text_features(ids).pooler_output, dim=-1)
        told, missed, full = texts.chunk(3)
        pictures = F.normalize(clip.get_image_features(image).pooler_output, dim=-1)
        scale, count = clip.logit_scale.exp(), len(truth)
        row = F.pad(truth / truth.sum(1, keepdim=True), (0, count))
        column = truth.T / truth.sum(0)[:, None]
        losses, hits = [], {}
        for name, anchor in (("picture", pictures), ("paraphrase", full)):
            logits = (scale * anchor @ torch.cat([told, missed]).T).float()
            losses += [F.cross_entropy(logits, row), F.cross_entropy(logits[:, :count].T, column)]
            near = logits.diagonal() > logits[:, count:].diagonal()
            hits[f"{name}_near"] = near.float().mean().detach()
        return torch.stack(losses).mean(), hits

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Share of unseen renders whose full caption is found among them, and the reverse."""
        logits = similarities(modules["clip"], self.fixed, token_ids(self.tokenizer, self.fixed_texts))
        own = torch.arange(len(logits), device=logits.device)
        return {
            "image_to_text": float((logits.argmax(1) == own).float().mean()),
            "text_to_image": float((logits.argmax(0) == own).float().mean()),
        }

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Write a ``CLIPModel`` directory with its tokenizer."""
        clip: Any = modules["clip"]
        clip.save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)


def build_clip(tokenizer: Any, options: ClipOptions) -> Any:
    """A ``CLIPModel`` of pocket size: text tower 2.9 M, image tower 1.2 M parameters."""
    from transformers import CLIPConfig, CLIPModel

    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": options.width,
        "intermediate_size": options.width * 3 // 2,
        "num_hidden_layers": options.layers,
        "num_attention_heads": options.width // 64,
        "max_position_embeddings": LENGTH,
        "projection_dim": 128,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "hidden_size": 160,
        "intermediate_size": 480,
        "num_hidden_layers": 4,
        "num_attention_heads": 5,
        "image_size": 64,
        "patch_size": 8,
        "projection_dim": 128,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def token_ids(tokenizer: Any, texts: list[str]) -> Tensor:
    """Token ids (B, T), padded to the longest text and cut at the tower's length."""
    return tokenizer(texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt").input_ids


def similarities(clip: Any, image: Tensor, ids: Tensor) -> Tensor:
    """Scaled cosines of all pictures with all texts, (B, B)."""
    device = clip.logit_scale.device
    out = clip(input_ids=ids.to(device), pixel_values=image.to(device))
    return out.logits_per_image.float()


def may_mirror(scene: Scene) -> bool:
    """Whether the mirrored picture deserves the same captions."""
    return scene.relation not in ("left of", "right of")
