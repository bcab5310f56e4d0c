"""Where a model comes from: a pocket name, a directory, or a hub id."""

import re
from os import PathLike
from pathlib import Path

from diffwright.core.errors import UnsafeWeights, UnsupportedBackbone, WeightsMissing
from diffwright.weights.verify import check_shipped

POCKET = Path(__file__).resolve().parent.parent / "pocket"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")


def is_pocket(source: str | PathLike[str]) -> bool:
    """Tell whether a source is a pocket name: ``pocket`` or ``pocket-...``."""
    return isinstance(source, str) and re.fullmatch(r"pocket(-[a-z0-9]+)*", source) is not None


def is_hub_id(source: str | PathLike[str]) -> bool:
    """Tell whether a source is OWNER/NAME on the hub; an existing directory of that name comes first."""
    return isinstance(source, str) and HUB_ID.fullmatch(source) is not None and not Path(source).is_dir()


def resolve(source: str | PathLike[str]) -> Path:
    """Find the directory of a pocket name, verified, or of a path.

    Args:
        source: ``pocket``, ``pocket-judge`` and so on, or a directory; ``./pocket`` is a directory.

    Returns:
        The directory.

    Raises:
        WeightsMissing: there is none.
        WeightsCorrupt: a shipped file differs from the manifest.
        UnsafeWeights, UnsupportedBackbone: a single file was named.
    """
    if isinstance(source, str) and is_pocket(source):
        if not (POCKET / source).is_dir():
            shipped = ", ".join(shipped_names()) or "none"
            raise WeightsMissing(f"{source!r} is not shipped with this version; shipped models: {shipped}")
        check_shipped(POCKET, source)
        return POCKET / source
    if "\0" in str(source):
        raise WeightsMissing(
            f"{str(source)!r} holds a null byte; give a pocket name, a directory or a hub id"
        )
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    _refuse_file(path)
    raise WeightsMissing(
        f"{str(source)!r} was not found; give a pocket name, a directory or a hub id OWNER/NAME"
    )


def shipped_names() -> list[str]:
    """List the models that this installation holds."""
    return sorted(path.name for path in POCKET.iterdir() if is_pocket(path.name)) if POCKET.is_dir() else []


def _refuse_file(path: Path) -> None:
    if path.suffix in PICKLES:
        raise UnsafeWeights(
            f"{path} is a pickle, which could execute code; give a directory with safetensors files"
        )
    if path.suffix == ".safetensors":
        raise UnsupportedBackbone(
            f"{path} is a single file; give a diffusers directory with model_index.json"
        )
