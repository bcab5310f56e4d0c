"""Whether the exported LoRA does in stock diffusers what the edit does."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from diffwright.bench.clip_l import clip_l_pipeline
from diffwright.bench.harness import Figure
from diffwright.concepts.edit import edit_concepts
from diffwright.concepts.lora import KEYS
from diffwright.core.errors import MissingExtra
from diffwright.diffusion.prompts import encode

PAIR = ("van gogh", "painting")
PROMPTS = ("a photo of van gogh", "van gogh", "an image of a picture")


def figures() -> dict[str, Figure]:
    """Measure the largest difference of encodings between the direct edit and the LoRA, in both key styles.

    Raises:
        MissingExtra: peft, which diffusers needs to load a LoRA, is not installed.
    """
    if find_spec("peft") is None:
        raise MissingExtra(
            "bench concepts loads a LoRA, for which diffusers needs peft; run: pip install peft"
        )
    pipe = clip_l_pipeline()
    edit = edit_concepts(pipe, [PAIR])
    with edit.applied(pipe):
        direct = encode(pipe, PROMPTS)
    worst = 0.0
    with TemporaryDirectory() as folder:
        for keys in KEYS:
            path = edit.export_lora(Path(folder) / f"{keys}.safetensors", keys=keys)
            pipe.load_lora_weights(str(path))
            worst = max(worst, float((encode(pipe, PROMPTS) - direct).abs().max()))
            pipe.unload_lora_weights()
    return {
        "lora_max_abs_diff": Figure(
            worst,
            "",
            "lower",
            f"encodings of {len(PROMPTS)} prompts, CLIP-L shape, {' and '.join(KEYS)} keys",
        )
    }
