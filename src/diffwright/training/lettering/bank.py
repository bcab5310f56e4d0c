"""Strips of our own lettering on disk, and their latents: drawn once, learned from by all scene text recipes.

A shard is ``NNNNN.npy``, uint8 (S, 2, 32, 128, 3), the truth and the strip before; ``NNNNN.masks.npy``, packed bits;
and ``NNNNN.jsonl``, one strip's words a line. The pictures are written last, so a shard with them is complete.
"""

import hashlib
import io
import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffwright.core.atomic import write_bytes, write_json, write_text
from diffwright.core.checks import whole
from diffwright.core.errors import InputError
from diffwright.core.processes import end_with_parent
from diffwright.training.corpus import as_tensor
from diffwright.weights.fingerprint import fingerprint
from diffwright.world.lettering.faces import installed
from diffwright.world.lettering.grounds import photographs
from diffwright.world.lettering.instructions import Ask
from diffwright.world.lettering.strips import StripStream

SHARD = 1000
SETTINGS = "strips.json"
SIZE = (32, 128)


def draw_strips(
    out: Path, count: int, *, seed: int = 0, start: int = 0, photos: Path | None = None, workers: int = 2,
    shard: int = SHARD,
) -> None:  # fmt: skip
    """Draw strips of the training split into a folder; complete shards that are there are kept.

    Args:
        out: Folder; a new one, or one made with the same settings.
        count: Strips, rounded up to whole shards.
        seed: Of the stream.
        start: First strip of the stream.
        photos: Folder of photographs to write on.
        workers: Processes; 1 draws in this one.
        shard: Strips in a file.

    Raises:
        InputError: The folder was made with other settings.
    """
    whole("count", count, 1, 10**7)
    whole("workers", workers, 1, 256)
    settings = {"seed": seed, "start": start, "shard": shard, "drawn_from": _sources(photos)}
    made = out / SETTINGS
    if made.exists() and json.loads(made.read_text("utf-8")) != settings:
        raise InputError(
            f"{out} holds strips of other settings, fonts or photographs; give another folder, or remove that one"
        )
    if not made.exists():
        out.mkdir(parents=True, exist_ok=True)
        write_json(made, settings)
    missing = [i for i in range(-(-count // shard)) if not (out / f"{i:05}.npy").exists()]
    job = partial(_write_shard, out, seed, start, shard, photos)
    for _ in _run(job, missing, workers):
        pass


def _sources(photos: Path | None) -> str:
    """Hash the names of the faces and photographs that strips are drawn from: others give other strips."""
    faces = [face.id for face in installed("train")]
    files = [] if photos is None else [(path.name, path.stat().st_size) for path in photographs(photos)]
    return hashlib.sha256(json.dumps([faces, files]).encode()).hexdigest()[:16]


def _run(job: Any, shards: list[int], workers: int) -> Iterator[Any]:
    if workers == 1 or len(shards) < 2:
        yield from map(job, shards)
        return
    with multiprocessing.get_context("spawn").Pool(workers, end_with_parent) as pool:
        yield from pool.imap_unordered(job, shards)


def _write_shard(out: Path, seed: int, start: int, shard: int, photos: Path | None, number: int) -> None:
    stream = StripStream(seed, "train", 0, 1, photos)
    strips = [stream.strip(start + number * shard + i) for i in range(shard)]
    lines = [json.dumps({**asdict(s.ask), "boxes": np.round(s.boxes, 1).tolist()}) for s in strips]
    write_text(out / f"{number:05}.jsonl", "\n".join(lines) + "\n")
    _save(
        out / f"{number:05}.masks.npy",
        np.packbits(np.stack([s.mask for s in strips]).reshape(shard, -1), axis=1),
    )
    _save(out / f"{number:05}.npy", np.stack([np.stack([s.image, s.source]) for s in strips]))


def _save(path: Path, values: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


class Strips(nn.Module):
    """Drawn strips, shuffled anew in every pass; a module whose buffer says what a run was trained on.

    Args:
        folder: What :func:`draw_strips` wrote.
        seed: Of the shuffles.

    Raises:
        InputError: The folder holds no complete shard.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        super().__init__()
        self.folder, self.seed = folder, seed
        self.paths = sorted(folder.glob("[0-9][0-9][0-9][0-9][0-9].npy"))
        if not self.paths:
            raise InputError(f"{folder} holds no drawn strips; let a recipe draw some")
        self.images = [np.load(path, mmap_mode="r") for path in self.paths]
        self.masks = [np.load(path.with_suffix(".masks.npy")) for path in self.paths]
        self.lines = [
            line for path in self.paths for line in path.with_suffix(".jsonl").read_text("utf-8").splitlines()
        ]
        self.shard = len(self.images[0])
        digest = hashlib.sha256("\n".join(self.lines).encode())
        self.register_buffer("digest", torch.tensor(list(digest.digest()), dtype=torch.uint8))
        self._orders: dict[int, np.ndarray] = {}
        self._latents: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.lines)

    def numbers(self, indices: Tensor) -> list[int]:
        """Strip numbers of sample numbers; each pass has its own order."""
        n = len(self)
        return [int(self._order(i // n)[i % n]) for i in indices.tolist()]

    def pictures(self, numbers: list[int], which: int = 0) -> Tensor:
        """Strips (B, 3, 32, 128) in [-1, 1]: the truth, or with ``which`` 1 what stood there before."""
        return as_tensor(np.stack([self.images[n // self.shard][n % self.shard, which] for n in numbers]))

    def holes(self, numbers: list[int]) -> Tensor:
        """Masks, bool (B, 1, 32, 128)."""
        rows = np.stack([self.masks[n // self.shard][n % self.shard] for n in numbers])
        return torch.from_numpy(np.unpackbits(rows, axis=1).astype(bool)).view(-1, 1, *SIZE)

    def words(self, number: int) -> tuple[Ask, np.ndarray]:
        """What is asked of a strip, and the boxes (N, 4) of its letters."""
        values = json.loads(self.lines[number])
        boxes = np.array(values.pop("boxes"), np.float32).reshape(-1, 4)
        return Ask(**values), boxes

    def encode(self, vae: Any, batch: int = 50) -> None:
        """Compute the latents of truths and holed strips, or read those that lie beside the pictures.

        Args:
            vae: An ``AutoencoderKL``; its name is in the files'.
            batch: Strips encoded together.
        """
        name = f".latents-{fingerprint(vae)[:12]}.npy"
        for path in self.paths[len(self._latents) :]:
            kept = path.with_suffix(name)
            if not kept.exists():
                first = len(self._latents) * self.shard
                numbers = list(range(first, first + self.shard))
                _save(kept, torch.cat([self._encoded(vae, numbers[i : i + batch])
                                       for i in range(0, self.shard, batch)]).numpy())  # fmt: skip
            self._latents.append(np.load(kept, mmap_mode="r"))

    def latents(self, numbers: list[int]) -> Tensor:
        """Latents (B, 2, C, h, w) of truths and of the holed strips before; :meth:`encode` comes first."""
        found = [self._latents[n // self.shard][n % self.shard] for n in numbers]
        return torch.from_numpy(np.stack(found)).float()

    @torch.inference_mode()
    def _encoded(self, vae: Any, numbers: list[int]) -> Tensor:
        device = next(vae.parameters()).device
        holed = self.pictures(numbers, 1).masked_fill(self.holes(numbers), 0.0)
        with torch.autocast(device.type, torch.bfloat16):
            both = torch.cat([self.pictures(numbers), holed]).to(device)
            z = vae.encode(both).latent_dist.mean.float() * vae.config.scaling_factor
        return torch.stack(z.chunk(2), dim=1).half().cpu()

    def _order(self, turn: int) -> np.ndarray:
        if turn not in self._orders:
            if len(self._orders) > 1:
                del self._orders[min(self._orders)]
            self._orders[turn] = np.random.Generator(np.random.PCG64([self.seed, turn])).permutation(
                len(self)
            )
        return self._orders[turn]
