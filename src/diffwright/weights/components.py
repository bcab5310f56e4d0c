"""Builds the parts of a pipeline from their files, without letting the files choose code.

A part is built on the meta device from those keys of its configuration that describe its architecture, then
filled with checked tensors; every tensor must be there and fit. The libraries' own loaders are not used,
because configuration files can steer them to other files, other repositories, or downloaded kernels.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diffwright.core.errors import UnsafeWeights, UnsupportedBackbone, WeightsCorrupt, WeightsMissing
from diffwright.weights.folder import Folder
from diffwright.weights.legacy import rename_clip, rename_vae
from diffwright.weights.verify import check_finite, read_tensors

if TYPE_CHECKING:
    import torch

STEMS = {"vae": "diffusion_pytorch_model", "unet": "diffusion_pytorch_model"}
CODE_KEYS = (
    "attn_implementation",
    "_attn_implementation",
    "auto_map",
    "custom_pipeline",
    "fusion_config",
    "quantization_config",
    "transformers_weights",
    "trust_remote_code",
)
CLIP_KEYS = (
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "pad_token_id",
    "projection_dim",
    "vocab_size",
)
UNET_LIMITS = {
    "class_embed_type": (None,),
    "encoder_hid_dim_type": (None,),
    "num_class_embeds": (None,),
    "time_cond_proj_dim": (None,),
    "addition_embed_type": (None, "text_time"),
    "attention_type": ("default",),
}
DEPTHS = ("layers_per_block", "transformer_layers_per_block", "num_hidden_layers")
WIDEST = 2**20
MAX_STEPS = 100_000


def load_network(
    folder: Folder, part: str, class_name: str, dtype: torch.dtype, variant: str | None
) -> torch.nn.Module:
    """Load the autoencoder, the UNet or a text encoder.

    Args:
        folder: the model's directory.
        part: the sub-directory, such as ``unet``.
        class_name: a class that the tables of ``index.py`` allow for this part.
        dtype: floating type of the loaded weights.
        variant: such as ``fp16``, or None for the plain files.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        WeightsError: files are missing, damaged, unsafe, or of an unsupported kind; see each subclass.
    """
    config = folder.json(f"{part}/config.json")
    refuse_code(config, f"{part}/config.json")
    tensors: dict[str, torch.Tensor] = {}
    for name in weight_files(folder, part, variant):
        tensors |= read_tensors(folder.file(name))
    model = _construct(part, class_name, config, len(tensors))
    if part.startswith("text_encoder"):
        tensors = rename_clip(tensors, set(model.state_dict()))
    elif part == "vae":
        tensors = rename_vae(tensors)
    fill(model, tensors, dtype, f"{folder.root / part}")
    _compute_buffers(model)
    return model.eval()


def load_scheduler(folder: Folder, class_name: str) -> Any:
    """Load the noise schedule.

    Raises:
        WeightsError: its configuration is missing, damaged, or of an unsupported kind.
    """
    import diffusers

    config = folder.json("scheduler/scheduler_config.json")
    refuse_code(config, "scheduler/scheduler_config.json")
    steps = config.get("num_train_timesteps", 1000)
    if type(steps) is not int or not 1 <= steps <= MAX_STEPS:
        raise WeightsCorrupt(f"the scheduler has num_train_timesteps {steps!r}, expected 1 to {MAX_STEPS}")
    cls = getattr(diffusers, class_name)
    try:
        scheduler = cls(**_known(cls, config))
        sound = bool(scheduler.alphas_cumprod.isfinite().all())
    except Exception as error:
        raise WeightsCorrupt(f"no {class_name} can be made from its configuration ({error})") from error
    if not sound:
        raise WeightsCorrupt(f"the configuration of {class_name} gives no finite noise schedule")
    return scheduler


def refuse_code(config: Mapping[str, Any], name: str) -> None:
    """Refuse a configuration that asks for code, kernels or files outside the directory.

    Raises:
        UnsafeWeights: it does; the message names the key.
    """
    for key in CODE_KEYS:
        if config.get(key):
            raise UnsafeWeights(
                f"{name} asks for {key} = {str(config[key])[:60]!r}, which could run foreign code"
            )


def weight_files(folder: Folder, part: str, variant: str | None) -> list[str]:
    """Find the safetensors files of a part: one, or the shards that its index lists.

    Raises:
        UnsafeWeights: only pickled weights are there, or the shard list leads elsewhere.
        WeightsMissing: there are none, or none of this variant.
    """
    stem = STEMS.get(part, "model")
    dotted = f".{variant}" if variant else ""
    single, index = f"{stem}{dotted}.safetensors", f"{stem}.safetensors.index{dotted}.json"
    if folder.has(f"{part}/{single}"):
        return [f"{part}/{single}"]
    names = folder.names(part)
    if index in names:
        return _shards(folder, part, index)
    others = [name for name in names if name.endswith(".safetensors")]
    if others:
        raise WeightsMissing(
            f"{folder.root / part} has no {single} but {', '.join(others[:4])}; choose another variant"
        )
    if any(name.endswith((".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5")) for name in names):
        raise UnsafeWeights(
            f"{folder.root / part} has only pickled weights, which could execute code; get safetensors"
        )
    raise WeightsMissing(f"{folder.root / part} has no {single}; fetch the model again")


def fill(model: torch.nn.Module, tensors: dict[str, torch.Tensor], dtype: torch.dtype, name: str) -> None:
    """Put tensors into a model built on the meta device; names and shapes must agree exactly.

    Raises:
        WeightsCorrupt: a tensor is missing, left over, of another shape, or not finite in this dtype.
    """
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    for problem, keys in (
        ("lacks", wanted.keys() - tensors.keys()),
        ("adds", tensors.keys() - wanted.keys()),
    ):
        if keys:
            raise WeightsCorrupt(f"{name} {problem} {len(keys)} tensors, such as {min(keys)[:80]!r}")
    for key, shape in wanted.items():
        if tuple(tensors[key].shape) != shape:
            raise WeightsCorrupt(f"{name} has {key!r} of shape {tuple(tensors[key].shape)}, expected {shape}")
    ready = {key: value.to(dtype) if value.is_floating_point() else value for key, value in tensors.items()}
    if any(ready[key].dtype != tensors[key].dtype for key in ready):
        check_finite(ready, f"{name} in {dtype}")
    model.load_state_dict(ready, strict=True, assign=True)


def _construct(part: str, class_name: str, config: Mapping[str, Any], count: int) -> torch.nn.Module:
    import diffusers
    import torch
    import transformers

    declared = config.get("_class_name", class_name)
    if declared != class_name:
        raise UnsupportedBackbone(
            f"{part} is by its configuration a {str(declared)[:60]!r}, not {class_name}"
        )
    check_sizes(part, config, count)
    if part == "unet":
        _check_unet(config)
    try:
        with torch.device("meta"):
            if part.startswith("text_encoder"):
                known = {key: config[key] for key in CLIP_KEYS if key in config}
                return getattr(transformers, class_name)(transformers.CLIPTextConfig(**known))
            cls = getattr(diffusers, class_name)
            return cls(**_known(cls, config))
    except Exception as error:
        reason = str(error)[:160]
        raise WeightsCorrupt(
            f"{part}/config.json describes no {class_name} ({reason}); fetch it again"
        ) from error


def _compute_buffers(model: torch.nn.Module) -> None:
    import torch

    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta and name == "position_ids":
                module.register_buffer(name, torch.arange(buffer.shape[-1])[None], persistent=False)
            elif buffer.is_meta:
                raise UnsupportedBackbone(f"a {type(model).__name__} that computes {name!r} is not supported")


def check_sizes(part: str, config: Mapping[str, Any], count: int) -> None:
    """Refuse a configuration whose construction would take long or much memory.

    Args:
        part: name of the part for the message.
        config: its configuration.
        count: tensors in its weight files; a network cannot have more layers.

    Raises:
        WeightsCorrupt: a number is absurd, or there would be more layers than tensors.
    """
    blocks = config.get("down_block_types", [0])
    depth = len(blocks) if isinstance(blocks, list) else 1
    for key, value in config.items():
        numbers = list(_numbers(value))
        if any(abs(number) > WIDEST for number in numbers):
            raise WeightsCorrupt(
                f"{part}/config.json has {key} = {str(value)[:40]}, at most {WIDEST} is accepted"
            )
        if key in DEPTHS:
            depth *= max(1, max(numbers, default=1))
    if depth > count:
        raise WeightsCorrupt(f"{part}/config.json describes {depth} layers, more than its {count} tensors")


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int | float) else []


def _check_unet(config: Mapping[str, Any]) -> None:
    for key, allowed in UNET_LIMITS.items():
        value = config.get(key, allowed[0])
        if value not in allowed:
            raise UnsupportedBackbone(f"a UNet with {key} = {str(value)[:60]!r} is not supported")


def _known(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    names = inspect.signature(cls.__init__).parameters
    return {key: value for key, value in config.items() if key in names}


def _shards(folder: Folder, part: str, index: str) -> list[str]:
    listing = folder.json(f"{part}/{index}", 4 * 2**20).get("weight_map")
    files = sorted(set(map(str, listing.values()))) if isinstance(listing, dict) else []
    if not files:
        raise WeightsCorrupt(f"{part}/{index} lists no files; fetch it again")
    for name in files:
        if "/" in name or "\\" in name or not name.endswith(".safetensors"):
            raise UnsafeWeights(
                f"{part}/{index} leads to {name[:80]!r}, which is no safetensors file beside it"
            )
    return [f"{part}/{name}" for name in files]
