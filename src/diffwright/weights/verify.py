"""Checks of weight files: the safetensors header, finite values, and sha256 for what the package ships."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffwright.core.errors import UnsafeWeights, WeightsCorrupt
from diffwright.core.strict_json import parse_object, read_object

if TYPE_CHECKING:
    import torch

MAX_HEADER = 4 * 2**20
FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
OTHER_BYTES = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
INDICES = ("position_ids", "num_batches_tracked")
MANIFEST = "MANIFEST.json"


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Read and check the header of a safetensors file without touching its tensors.

    Tensors must be floats, except index buffers; their byte ranges must follow each other without gap or
    overlap and fill the file exactly.

    Args:
        path: the file, whatever it really holds.

    Returns:
        For each tensor its ``dtype``, ``shape`` and ``data_offsets``.

    Raises:
        UnsafeWeights: the file is a pickle or an archive under the wrong name.
        WeightsCorrupt: the header is damaged or lies.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        _refuse_pickle(path, start)
        if len(start) < 8:
            raise _corrupt(path, "it is shorter than a header")
        (length,) = struct.unpack("<Q", start)
        if length > MAX_HEADER or length > size - 8:
            raise _corrupt(path, f"it announces a header of {length} bytes in a file of {size}")
        data = file.read(length)
    if not data.startswith(b"{"):
        raise _corrupt(path, "its header is not JSON")
    header = parse_object(data, f"the header of {path}")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _corrupt(path, "its metadata is not text")
    _check_layout(path, header, size - 8 - length)
    return header


def read_tensors(path: Path, keep: Callable[[str], bool] | None = None) -> dict[str, torch.Tensor]:
    """Read the tensors of a checked safetensors file into memory, on the CPU.

    Args:
        path: the file.
        keep: which names to read; all without it.

    Returns:
        Tensors by name, in the dtype of the file.

    Raises:
        UnsafeWeights, WeightsCorrupt: see ``read_header``; also NaN or infinite values.
    """
    from safetensors import SafetensorError, safe_open

    header = read_header(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name).clone() for name in header if keep is None or keep(name)}
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise _corrupt(path, str(error)[:120]) from error
    check_finite(tensors, str(path))
    return tensors


def check_finite(tensors: Mapping[str, torch.Tensor], name: str) -> None:
    """Check that no weight is NaN or infinite.

    The smallest and the largest value of a tensor are finite exactly when all are, and cost one quick pass.

    Raises:
        WeightsCorrupt: one is; the message names the tensor.
    """
    for key, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        low, high = tensor.aminmax()
        if not bool(low.isfinite() & high.isfinite()):
            raise WeightsCorrupt(
                f"{name} holds NaN or infinity in {key!r}; fetch it again, or load it in float32"
            )


def sha256(path: Path) -> str:
    """Give the sha256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_shipped(root: Path, name: str) -> None:
    """Compare the files of a shipped model with the committed manifest.

    Args:
        root: the folder that holds the shipped models and ``MANIFEST.json``.
        name: the model's folder in it.

    Raises:
        WeightsCorrupt: a file is missing, changed, or not in the manifest.
    """
    advice = "install the package again, or write the manifest with `python -m diffwright.weights.manifest`"
    if not (root / MANIFEST).is_file():
        raise WeightsCorrupt(f"{root / MANIFEST} is missing; {advice}")
    listed = {
        file: digest
        for file, digest in read_object(root / MANIFEST).get("files", {}).items()
        if file.startswith(f"{name}/")
    }
    found = shipped_files(root, name)
    for file in sorted(set(listed) | set(found)):
        if file not in found:
            raise WeightsCorrupt(f"{root / file} is missing; {advice}")
        if listed.get(file) != sha256(found[file]):
            raise WeightsCorrupt(f"{root / file} differs from the manifest; {advice}")


def shipped_files(root: Path, name: str) -> dict[str, Path]:
    """List the files of a shipped model by their path in the manifest; hidden files don't count."""
    files = {}
    for path in sorted((root / name).rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and not any(piece.startswith(".") for piece in relative.parts):
            files[relative.as_posix()] = path
    return files


def _check_layout(path: Path, header: dict[str, Any], space: int) -> None:
    ranges = []
    for name, entry in header.items():
        begin, end = _byte_range(path, name, entry)
        ranges.append((begin, end))
    position = 0
    for begin, end in sorted(ranges):
        if begin != position:
            raise _corrupt(
                path, f"byte ranges of its tensors overlap or leave a gap at {min(begin, position)}"
            )
        position = end
    if position != space:
        raise _corrupt(path, f"its tensors need {position} bytes and it holds {space}")


def _byte_range(path: Path, name: str, entry: Any) -> tuple[int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _corrupt(path, f"the entry of tensor {name[:80]!r} is incomplete")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    width = FLOAT_BYTES.get(dtype) if isinstance(dtype, str) else None
    if width is None and name.endswith(INDICES) and isinstance(dtype, str):
        width = OTHER_BYTES.get(dtype)
    if width is None:
        raise _corrupt(path, f"tensor {name[:80]!r} has type {str(dtype)[:20]!r} where floats are expected")
    if not _naturals(shape) or not _naturals(offsets) or len(shape) > 8 or len(offsets) != 2:
        raise _corrupt(path, f"tensor {name[:80]!r} has no sound shape or place")
    begin, end = offsets
    if end - begin != math.prod(shape) * width:
        raise _corrupt(path, f"tensor {name[:80]!r} has a shape that does not fit its bytes")
    return begin, end


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**48 for value in values)


def _refuse_pickle(path: Path, start: bytes) -> None:
    if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") or start[:2] in (b"PK", b"\x1f\x8b"):
        raise UnsafeWeights(
            f"{path} is a pickle or an archive, not safetensors; it could run code, so get safetensors"
        )


def _corrupt(path: Path, reason: str) -> WeightsCorrupt:
    return WeightsCorrupt(f"{path} is not a sound safetensors file: {reason}; fetch it again")
