"""Checkpoints that are complete or absent.

A checkpoint is a folder of safetensors and JSON files with a manifest of their sizes and sha256 sums. It is
written under a temporary name, synced and renamed, and only then are older ones removed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from diffwright.core import atomic
from diffwright.core.errors import JobFailed, WeightsCorrupt

_MANIFEST = "manifest.json"
_STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """What was saved at a step: groups of tensors (each a file) and a JSON state."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


class Store:
    """The checkpoints of one run in a folder.

    Args:
        root: folder of the checkpoints; made at the first save.
        keep: how many of the newest are kept, at least 2.
    """

    def __init__(self, root: Path, keep: int = 2) -> None:
        self.root = Path(root)
        self.keep = max(2, keep)

    def save(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
        """Write a checkpoint, then remove all but the newest `keep`.

        Args:
            step: number of the step; a checkpoint of the same step is replaced.
            tensors: groups of tensors, each written as `GROUP.safetensors`.
            state: everything else, as JSON.

        Returns:
            The folder of the checkpoint.

        Raises:
            JobFailed: the disk is full or the folder cannot be written; the checkpoints before it stay.
        """
        final = self.root / f"step_{step:09d}"
        files = {f"{group}.safetensors": _packed(named) for group, named in tensors.items()}
        files[_STATE] = json.dumps(state, indent=1).encode()
        manifest = {"format": 1, "step": step, "files": {k: _entry(v) for k, v in files.items()}}
        files[_MANIFEST] = json.dumps(manifest, indent=1).encode()
        try:
            self._make_room(sum(len(data) for data in files.values()))
            with atomic.directory(final) as folder:
                for name, data in files.items():
                    (folder / name).write_bytes(data)
            self._prune()
        except OSError as error:
            raise JobFailed(
                f"the checkpoints in {self.root} could not be renewed ({error.strerror or error}); earlier "
                "ones are kept, so make the folder writable and start again to resume"
            ) from error
        return final

    def load(self) -> Checkpoint | None:
        """Read the newest checkpoint that is complete and verifies.

        Returns:
            The checkpoint, or None when there is none at all.

        Raises:
            WeightsCorrupt: there are checkpoints, but none of them verifies.
        """
        folders = self._folders()
        for folder in reversed(folders):
            try:
                return _read(folder)
            except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
                message = f"{folder.name} is damaged ({error}); trying the checkpoint before it"
                warnings.warn(message, stacklevel=2)
        if folders:
            raise WeightsCorrupt(
                f"none of the {len(folders)} checkpoints in {self.root} verifies; remove them to start anew"
            )
        return None

    def _folders(self) -> list[Path]:
        names = self.root.glob("step_*") if self.root.is_dir() else ()
        return sorted(path for path in names if path.is_dir() and path.suffix == "")

    def _make_room(self, size: int) -> None:
        if self.root.is_dir():
            for leftover in self.root.glob(".*.tmp"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        self.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.root).free
        if free < 1.2 * size:
            raise JobFailed(
                f"a checkpoint of {size >> 20} MiB does not fit on the disk of {self.root} ({free >> 20} MiB "
                "free); earlier checkpoints are kept, so make room and start again to resume"
            )

    def _prune(self) -> None:
        for folder in self._folders()[: -self.keep]:
            hidden = folder.rename(self.root / f".{folder.name}.tmp")
            shutil.rmtree(hidden, ignore_errors=True)


def _packed(named: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in named.items()})


def _entry(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _read(folder: Path) -> Checkpoint:
    manifest = json.loads((folder / _MANIFEST).read_bytes())
    files: dict[str, bytes] = {}
    for name, entry in manifest["files"].items():
        if Path(name).name != name:
            raise ValueError(f"{name!r} is not a plain file name")
        files[name] = (folder / name).read_bytes()
        if _entry(files[name]) != entry:
            raise ValueError(f"{name} does not match its checksum")
    state = json.loads(files.pop(_STATE))
    tensors = {Path(name).stem: safetensors.torch.load(data) for name, data in files.items()}
    return Checkpoint(manifest["step"], tensors, state)
