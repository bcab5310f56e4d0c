"""Flow files: Middlebury .flo, KITTI's 16-bit PNG and .npz, read with suspicion.

Flow arrays are float32 (H, W, 2) in pixels, channel 0 = x; ``known`` (H, W) says where a vector is given.
"""

from __future__ import annotations

import io
import struct
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffwright.core.atomic import write_bytes
from diffwright.core.errors import InputError
from diffwright.matching.png16 import decode, encode

MAGIC = b"PIEH"
UNKNOWN = 1e9
"""Larger components mean "unknown" in a .flo file."""
MAX_SIDE, MAX_PIXELS = 8192, 40_000_000
DIRECTION = "a_to_b"


class Flow(NamedTuple):
    """Flow from a file: ``flow`` (H, W, 2), 0 where unknown, and ``known`` bool (H, W)."""

    flow: np.ndarray
    known: np.ndarray


def read_flow(path: str | PathLike[str]) -> Flow:
    """Read a .flo, KITTI PNG or .npz file, told by its content.

    Raises:
        InputError: it is none of them, damaged, or too large.
    """
    data = _content(path)
    if data.startswith(MAGIC):
        return _parse_flo(data, str(path))
    if data.startswith(b"\x89PNG"):
        return _parse_kitti(data, str(path))
    if data.startswith(b"PK"):
        return _parse_npz(data, str(path))
    raise InputError(f"{path} is no flow file; expected .flo, a KITTI PNG, or .npz with 'flow'")


def write_flo(path: str | PathLike[str], flow: np.ndarray, known: np.ndarray | None = None) -> Path:
    """Write Middlebury's .flo.

    Args:
        path: Target.
        flow: float (H, W, 2) in pixels.
        known: Where it is known; everywhere without it.

    Raises:
        InputError: the array is no flow, or holds NaN at a known place.
    """
    flow, known = _checked(flow, known)
    flow = np.where(known[..., None], flow, 2 * UNKNOWN).astype("<f4")
    height, width = known.shape
    return write_bytes(path, MAGIC + struct.pack("<ii", width, height) + flow.tobytes())


def write_kitti(path: str | PathLike[str], flow: np.ndarray, known: np.ndarray | None = None) -> Path:
    """Write KITTI's flow PNG: 16-bit x, y as ``64 v + 32768``, and whether they are known.

    Vectors beyond 511 pixels do not fit the format and are marked unknown.

    Args:
        path: Target.
        flow: float (H, W, 2) in pixels.
        known: Where it is known; everywhere without it.

    Raises:
        InputError: the array is no flow, or holds NaN at a known place.
    """
    flow, known = _checked(flow, known)
    coded = np.rint(np.where(known[..., None], flow, 0).astype(np.float64) * 64 + 32768)
    fits = known & ((coded >= 0) & (coded <= 65535)).all(axis=2)
    pixels = np.concatenate([coded * fits[..., None], fits[..., None]], axis=2)
    return write_bytes(path, encode(pixels.astype(np.uint16)))


def write_npz(
    path: str | PathLike[str],
    flow: np.ndarray,
    confidence: np.ndarray,
    occlusion: np.ndarray,
    **more: np.ndarray,
) -> Path:
    """Write ``flow``, ``confidence``, ``occlusion``, ``direction`` and more arrays as compressed .npz."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        "flow": flow.astype(np.float32),
        "confidence": confidence.astype(np.float32),
        "occlusion": occlusion.astype(bool),
        "direction": np.array(DIRECTION),
    }
    np.savez_compressed(buffer, **arrays, **more)  # pyright: ignore[reportArgumentType]
    return write_bytes(path, buffer.getvalue())


def read_npz(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file; nothing in it can run code.

    Raises:
        InputError: it is damaged, holds objects, or more than 40 megapixels of flow would need.
    """
    return _arrays(_content(path), str(path))


def _content(path: str | PathLike[str]) -> bytes:
    try:
        if not Path(path).is_file():
            raise InputError(f"{path} is not a file; give the path of a flow file")
        size = Path(path).stat().st_size
        if size > 16 * MAX_PIXELS:
            raise InputError(f"{path} has {size} bytes, at most {16 * MAX_PIXELS} are accepted")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(path)!r} cannot be read ({error}); give the path of a flow file") from error


def _parse_flo(data: bytes, name: str) -> Flow:
    if len(data) < 12:
        raise InputError(f"{name} is cut off after {len(data)} bytes; fetch it again")
    width, height = struct.unpack("<ii", data[4:12])
    _check_size(width, height, name)
    if len(data) != 12 + 8 * width * height:
        raise InputError(
            f"{name} announces {width} x {height} vectors and holds {len(data) - 12} bytes of them;"
            f" expected {8 * width * height}, so fetch it again"
        )
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    with np.errstate(invalid="ignore"):
        known = np.asarray((np.abs(flow) <= UNKNOWN).all(axis=2))
    return Flow(np.where(known[..., None], flow, np.float32(0)), known)


def _parse_kitti(data: bytes, name: str) -> Flow:
    pixels = decode(data, name, MAX_PIXELS)
    known = pixels[..., 2] > 0
    flow = (pixels[..., :2].astype(np.float32) - 32768) / 64
    return Flow(np.where(known[..., None], flow, np.float32(0)), known)


def _parse_npz(data: bytes, name: str) -> Flow:
    arrays = _arrays(data, name)
    if "flow" not in arrays:
        raise InputError(f"{name} holds {sorted(arrays)[:5]}, expected an array named 'flow'")
    flow = arrays["flow"]
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.dtype.kind != "f" or not flow.size:
        raise InputError(f"{name} holds flow {flow.dtype}{flow.shape}, expected floats (H, W, 2)")
    _check_size(flow.shape[1], flow.shape[0], name)
    flow = flow.astype(np.float32)
    known = np.asarray(np.isfinite(flow).all(axis=2))
    return Flow(np.where(known[..., None], flow, np.float32(0)), known)


def _arrays(data: bytes, name: str) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
            if total > 32 * MAX_PIXELS:
                raise InputError(f"{name} would unpack to {total} bytes, too many; give a smaller flow")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name} is no sound .npz file ({str(error)[:100]}); save it again") from error


def _checked(flow: np.ndarray, known: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    flow = np.asarray(flow)
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.dtype.kind != "f" or not flow.size:
        raise InputError(f"an array {flow.dtype}{flow.shape} was given as flow; expected floats (H, W, 2)")
    known = np.ones(flow.shape[:2], bool) if known is None else np.asarray(known, bool)
    if known.shape != flow.shape[:2]:
        raise InputError(f"known has shape {known.shape}, flow {flow.shape}; give one value a pixel")
    if not np.isfinite(flow[known]).all():
        raise InputError("the flow holds NaN or infinity; mark such places as not known")
    return flow.astype(np.float32), known


def _check_size(width: int, height: int, name: str) -> None:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE) or width * height > MAX_PIXELS:
        raise InputError(
            f"{name} announces {width} x {height} vectors; sides of 1 to {MAX_SIDE} are accepted"
        )
