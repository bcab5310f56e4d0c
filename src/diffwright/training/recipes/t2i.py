"""Recipe ``t2i``: the text-to-image model ``pocket``, a stock Stable Diffusion pipeline at 64 x 64.

v-prediction on the autoencoder's latents with zero terminal SNR; the text tower and the autoencoder stay frozen.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffwright.training.corpus import Renders, encoded_renders
from diffwright.training.recipes.clip import may_mirror
from diffwright.training.starts import join_towers, part_of, save_head
from diffwright.training.tokens import LENGTH
from diffwright.world.captions import caption
from diffwright.world.scene import Scene
from diffwright.world.vocabulary import CORE_COLORS, CORE_KINDS, CORE_STYLES, CORE_VIEWPOINTS

EMPTY = 0.1  # share of samples without a caption, for classifier-free guidance
TRAIN_STEPS = 1000
SCHEDULE = {
    "num_train_timesteps": TRAIN_STEPS,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "steps_offset": 1,  # ignored by trailing spacing; any other value makes diffusers warn
}


@dataclass(frozen=True, kw_only=True)
class TextToImageOptions:
    """Options of the recipe.

    Args:
        cache: Folder of cached renders.
        vae: The autoencoder, or a pipeline that holds it; that of ``init`` by default, else runs/vae/model.
        clip: The ``CLIPModel`` whose text tower conditions the UNet, or a pipeline that holds both towers; that
            of ``init`` by default, else runs/clip/model.
        widths: Channels at 16 x 16, 8 x 8 and 4 x 4 latents.
        init: Pipeline directory whose UNet to start from.
    """

    cache: Path = Path(".cache/renders")
    vae: Path | None = None
    clip: Path | None = None
    widths: tuple[int, int, int] = (64, 128, 160)
    init: Path | None = None


class TextToImageTask:
    """Denoise latents of renders, told by captions."""

    name = "t2i"

    def __init__(self, options: TextToImageOptions) -> None:
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
        from transformers import CLIPTokenizer

        self.options = options
        home = options.init
        vae, clip = options.vae or home or "runs/vae/model", options.clip or home or "runs/clip/model"
        renders = Renders(options.cache, repeats=repeats)
        self.renders, self.scenes = renders, list(renders.cache.scenes())
        self.vae: Any = AutoencoderKL.from_pretrained(part_of(vae, "vae"), torch_dtype=torch.float32).eval()
        self.latents = encoded_renders(renders, self.vae)
        self.tokenizer = CLIPTokenizer.from_pretrained(part_of(clip, "tokenizer"))
        self.clip: Any = join_towers(clip).eval().requires_grad_(False)
        self.schedule = DDIMScheduler(**SCHEDULE)
        if options.init:
            self.unet: Any = UNet2DConditionModel.from_pretrained(
                part_of(options.init, "unet"), torch_dtype=torch.float32
            )
        else:
            self.unet = build_unet(tuple(options.widths), self.clip.config.text_config.hidden_size)

    def modules(self) -> dict[str, nn.Module]:
        """The UNet."""
        return {"unet": self.unet}

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, 8, 16, 16) and token ids (B, 77)."""
        numbers = self.renders.numbers(indices)
        latents, texts = [], []
        for index, number in zip(indices.tolist(), numbers, strict=True):
            rng = np.random.Generator(np.random.PCG64([9, index]))
            scene = self.scenes[number]
            mirrored = int(may_mirror(scene) and rng.random() < 0.5)
            latents.append(self.latents[number, mirrored])
            texts.append("" if rng.random() < EMPTY else caption(scene, rng).text)
        ids = self.tokenizer(
            texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
        ).input_ids
        return torch.from_numpy(np.stack(latents)).float(), ids

    def loss(
        self, modules: dict[str, nn.Module], batch: Any, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Squared error of v at a random step (Salimans and Ho 2022, section 4)."""
        x, ids = batch
        self.clip.to(x.device)
        with torch.no_grad():
            context = self.clip.text_model(input_ids=ids).last_hidden_state
        # One stratum of the steps a sample, so that a batch always covers easy and hard ones.
        spread = torch.rand(len(x), generator=generator, device=x.device)
        strata = (torch.arange(len(x), device=x.device) + spread) / len(x)
        t = (strata * TRAIN_STEPS).long().clamp_max(TRAIN_STEPS - 1)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        noisy, v = self.schedule.add_noise(x, noise, t), self.schedule.get_velocity(x, noise, t)  # type: ignore[arg-type]
        error = (modules["unet"](noisy, t, context).sample.float() - v).square().mean(dim=(1, 2, 3))
        return error.mean(), {"late": error[t > 700].mean().detach(), "early": error[t < 300].mean().detach()}

    def evaluate(self, modules: dict[str, nn.Module]) -> dict[str, float]:
        """Mean loss at fixed steps and noises over the first renders."""
        x = torch.from_numpy(np.array(self.latents[:256, 0])).float()
        texts = [caption(scene, i, full=True).text for i, scene in enumerate(self.scenes[:256])]
        ids = self.tokenizer(
            texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
        )
        generator = torch.Generator().manual_seed(0)
        errors = []
        device = next(modules["unet"].parameters()).device
        for part, tokens in zip(x.split(64), ids.input_ids.split(64), strict=True):
            loss, _ = self.loss(modules, (part.to(device), tokens.to(device)), _on(device, generator))
            errors.append(float(loss))
        return {"loss_fixed": float(np.mean(errors))}

    def export(self, modules: dict[str, nn.Module], directory: Path) -> None:
        """Write the whole pipeline, half precision, with the image tower beside the text tower."""
        import copy

        unet, vae = copy.deepcopy(modules["unet"]), copy.deepcopy(self.vae)
        write_pipeline(directory, unet, vae, self.clip, self.tokenizer)


def repeats(scene: Scene) -> int:
    """Passes of a scene: groups come up oftener than they are drawn, and so does the core vocabulary."""
    core = (
        scene.style in CORE_STYLES
        and scene.camera.viewpoint in CORE_VIEWPOINTS
        and all(thing.kind in CORE_KINDS and thing.color in CORE_COLORS for thing in scene.things)
    )
    group = scene.relation is None and len(scene.things) > 1
    return (2 if group else 1) * (2 if core else 1)


def build_unet(widths: tuple[int, ...], context: int) -> Any:
    """Stock conditional UNet: cross-attention at 16 x 16, 8 x 8 and in the middle."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        block_out_channels=widths,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=context,
        attention_head_dim=tuple(w // 32 for w in widths),  # pyright: ignore[reportArgumentType]
        norm_num_groups=16,
        use_linear_projection=True,
    )


def write_pipeline(directory: Path, unet: Any, vae: Any, clip: Any, tokenizer: Any) -> None:
    """Save a stock ``StableDiffusionPipeline`` and, in ``image_encoder``, the whole ``CLIPModel``'s image tower."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from transformers import CLIPImageProcessor, CLIPTextModel, CLIPVisionModelWithProjection

    text = CLIPTextModel(clip.config.text_config)
    text.load_state_dict(clip.text_model.state_dict())
    image = CLIPVisionModelWithProjection(clip.config.vision_config)
    image.vision_model.load_state_dict(clip.vision_model.state_dict())
    image.visual_projection.load_state_dict(clip.visual_projection.state_dict())
    size = clip.config.vision_config.image_size
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**SCHEDULE),  # pyright: ignore[reportArgumentType]
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=CLIPImageProcessor(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size},
            image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=3,
        ),
        image_encoder=image,
        requires_safety_checker=False,
    )  # fmt: skip
    pipe.to(dtype=torch.float16).save_pretrained(directory)
    save_head(clip, directory)
    # Without torchvision the processor is saved under a name that only this machine knows; and the stock loader
    # would mix half and single precision if the towers' own files asked for half.
    _reword(directory / "model_index.json", "CLIPImageProcessorPil", "CLIPImageProcessor")
    _reword(directory / "feature_extractor" / "preprocessor_config.json", "ProcessorPil", "Processor")
    for tower in ("text_encoder", "image_encoder"):
        _reword(directory / tower / "config.json", '"float16"', '"float32"')
    for part, home in ((unet, "unet"), (vae, "vae")):  # a path of this machine, where a part was loaded
        path = part.config.get("_name_or_path")
        _reword(directory / home / "config.json", f'  "_name_or_path": "{path}",\n', "")


def _reword(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")


def _on(device: torch.device, generator: torch.Generator) -> torch.Generator:
    if device.type == "cpu":
        return generator
    return torch.Generator(device).manual_seed(int(torch.randint(1 << 30, (1,), generator=generator)))
