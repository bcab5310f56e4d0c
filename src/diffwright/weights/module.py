"""Saving and loading our own small networks: ``config.json``, ``model.safetensors`` and a card."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch

from diffwright.core.atomic import directory, write_bytes, write_json, write_text
from diffwright.core.errors import ConfigError, UnsupportedBackbone, WeightsCorrupt
from diffwright.weights.components import check_sizes, fill
from diffwright.weights.folder import Folder
from diffwright.weights.verify import read_tensors

CONFIG, TENSORS, CARD = "config.json", "model.safetensors", "README.md"
CLASS = "_class"

Net = TypeVar("Net", bound=torch.nn.Module)


def move_to(device: str | torch.device, *modules: torch.nn.Module) -> torch.device:
    """Move networks to a device, or say why it cannot be used.

    Args:
        device: such as ``cpu``, ``cuda:1`` or ``mps``.
        modules: what is moved; without any, the device is only tried.

    Returns:
        The device.

    Raises:
        ConfigError: the device cannot be used here.
    """
    try:
        target = torch.device(device)
        torch.empty(0, device=target)
        for module in modules:
            module.to(target)
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:120]
        raise ConfigError(f"device {str(device)!r} cannot be used here ({reason}); use cpu") from error
    return target


def save_module(
    folder: str | PathLike[str],
    model: torch.nn.Module,
    config: Mapping[str, Any],
    card: str | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Path:
    """Save a network so that ``load_module(folder, type(model))`` builds it again.

    Args:
        folder: new, empty, or written by this function before; then it is replaced.
        model: any module.
        config: the keyword arguments of its constructor, as plain JSON.
        card: text of the model card, in Markdown.
        dtype: storage type of its floats, such as ``torch.float16``; their own without it.

    Returns:
        The folder.

    Raises:
        InputError: the folder holds other files.
        JobFailed: the disk refused; nothing half-written is left.
    """
    from safetensors.torch import save

    tensors = {}
    for name, tensor in model.state_dict().items():
        kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        tensors[name] = tensor.detach().to("cpu", kind, copy=True).contiguous()
    with directory(folder) as temporary:
        write_json(temporary / CONFIG, {CLASS: type(model).__name__, **config})
        write_bytes(temporary / TENSORS, save(tensors, metadata={"format": "pt"}))
        if card is not None:
            write_text(temporary / CARD, card)
    return Path(folder)


def load_module(folder: str | PathLike[str], cls: type[Net], dtype: torch.dtype = torch.float32) -> Net:
    """Build a network from a folder that ``save_module`` wrote.

    The constructor must not read values of tensors: it runs once without memory to compare shapes first.

    Args:
        folder: the directory; a pocket name goes through ``names.resolve`` first.
        cls: the class that was saved.
        dtype: floating type of the loaded weights.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        WeightsMissing, UnsafeWeights, WeightsCorrupt: files are missing, unsafe or damaged.
        UnsupportedBackbone: another class was saved there.
    """
    place = Folder(Path(folder))
    config = place.json(CONFIG)
    saved = config.pop(CLASS, None)
    if saved != cls.__name__:
        raise UnsupportedBackbone(f"{place.root} holds a {str(saved)[:60]!r}, expected {cls.__name__}")
    tensors = read_tensors(place.file(TENSORS))
    check_sizes(CONFIG, config, max(len(tensors), 1))
    try:
        with torch.device("meta"):
            draft = cls(**config)
    except Exception as error:
        raise WeightsCorrupt(
            f"{place.root / CONFIG} describes no {cls.__name__} ({str(error)[:160]})"
        ) from error
    fill(draft, dict(tensors), dtype, str(place.root))
    model = cls(**config).to(dtype)
    model.load_state_dict(draft.state_dict(), strict=True)
    return model.eval()
