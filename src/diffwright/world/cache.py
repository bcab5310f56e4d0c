"""Rendered scenes on disk, for training: shards of 1,000, made by several processes, resumed after a stop.

A shard is ``NNNNN.npy``, uint8 (1000, size, size, 3), and ``NNNNN.jsonl``, one scene a line. The text is
written first, so a shard with pictures is complete. A shard depends on its number and on the settings alone.
"""

import hashlib
import io
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from diffwright.core.atomic import write_bytes, write_json, write_text
from diffwright.core.checks import in_range, whole
from diffwright.core.errors import ConfigError, InputError, JobFailed
from diffwright.core.processes import end_with_parent
from diffwright.core.progress import Progress, report
from diffwright.world.scene import Scene
from diffwright.world.scene_json import scene_from_json, scene_to_json
from diffwright.world.splits import is_held_out, split_of

SHARD = 1000
SEEDS_A_SHARD = 1200  # the rest makes up for held-out pairs
CHUNK = 50  # scenes sampled and rendered together
SETTINGS = "cache.json"


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """What decides the pictures of a cache.

    Args:
        start_seed: First seed; shard ``i`` draws from the 1,200 seeds from ``start_seed + 1200 i`` on.
        core_share: Share of scenes from the core vocabulary, 0 to 1.
        size: Side of the pictures, pixels.
        supersample: Rays per pixel and axis.
        held_out: Keep scenes with held-out pairs too.
    """

    start_seed: int = 0
    core_share: float = 0.75
    size: int = 64
    supersample: int = 2
    held_out: bool = False

    def __post_init__(self) -> None:
        whole("start_seed", self.start_seed, 0, 2**31 - 1)
        whole("size", self.size, 8, 1024)
        whole("supersample", self.supersample, 1, 8)
        in_range("core_share", self.core_share, 0.0, 1.0)


def render_cache(out: str | Path, count: int, settings: CacheSettings | None = None, workers: int = 2,
                 progress: Progress | None = None) -> Path:  # fmt: skip
    """Render scenes into a folder; complete shards that are already there are kept.

    Args:
        out: Folder; a new one, or one that was made with the same settings.
        count: Scenes, rounded up to whole shards of 1,000.
        settings: What is rendered.
        workers: Processes, one thread each; 1 renders in this process.
        progress: Called after each shard.

    Returns:
        The folder.

    Raises:
        InputError: The folder was made with other settings or holds something else.
        ConfigError: The seeds lie in two splits.
        JobFailed: The disk refused, or a shard found too few scenes.
        Cancelled: ``progress`` asked to stop; finished shards stay.
    """
    whole("count", count, 1, 10**7)
    whole("workers", workers, 1, 256)
    settings, out = settings or CacheSettings(), Path(out)
    shards = -(-count // SHARD)
    last = settings.start_seed + shards * SEEDS_A_SHARD - 1
    if split_of(settings.start_seed) != split_of(last):
        raise ConfigError(
            f"seeds {settings.start_seed} to {last} cross from one split into another; start lower."
        )
    _claim(out, settings)
    missing = [i for i in range(shards) if not _paths(out, i)[0].exists()]
    done = shards - len(missing)
    report(progress, "rendering", done * SHARD, shards * SHARD)
    job = partial(_write_shard, out, settings, SHARD, SEEDS_A_SHARD)
    for _ in _run(job, missing, workers):
        done += 1
        report(progress, "rendering", done * SHARD, shards * SHARD)
    return out


def _run(job: Callable[[int], int], shards: list[int], workers: int) -> Iterator[int]:
    if workers == 1:
        yield from map(job, shards)
        return
    with multiprocessing.get_context("spawn").Pool(workers, _one_thread) as pool:
        yield from pool.imap_unordered(job, shards)


class Cache(Sequence[tuple[np.ndarray, Scene]]):
    """A folder of shards as a sequence of (picture, scene); pictures are memory-mapped.

    Args:
        folder: Made by :func:`render_cache`, perhaps still growing: shards complete now are seen.

    Raises:
        InputError: The folder holds no complete shard, or one is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        paths = sorted(folder.glob("[0-9]*.npy"))
        self.images = [_open_images(path) for path in paths]
        if not self.images:
            raise InputError(f"{folder} holds no rendered shard; make one with `diffwright world cache`.")
        self.lines: list[str] = []
        for path in paths:
            self.lines += path.with_suffix(".jsonl").read_text("utf-8").splitlines()
        if len(self.lines) != len(self.images) * SHARD:
            raise InputError(
                f"{folder} has {len(self.lines)} scenes for {len(self.images)} shards; render it again."
            )

    def __len__(self) -> int:
        return len(self.lines)

    def image(self, index: int) -> np.ndarray:
        """Picture number ``index``, uint8 (H, W, 3)."""
        return self.images[index // SHARD][index % SHARD]

    def scene(self, index: int) -> Scene:
        """Scene number ``index``."""
        return scene_from_json(json.loads(self.lines[index]))

    def gather(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Pictures of several numbers, uint8 (B, H, W, 3)."""
        return np.stack([self.image(int(i)) for i in indices])

    def fingerprint(self) -> str:
        """Hash all scenes and every hundredth picture, so that another or a grown cache has another name."""
        digest = hashlib.sha256("\n".join(self.lines).encode())
        for index in range(0, len(self), 100):
            picture = self.image(index)
            digest.update(f"{picture.shape}".encode() + picture.tobytes())
        return digest.hexdigest()

    def __getitem__(self, index: int) -> tuple[np.ndarray, Scene]:  # type: ignore[override]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return self.image(index), self.scene(index)

    def scenes(self) -> Iterator[Scene]:
        """All scenes in order."""
        return (self.scene(i) for i in range(len(self)))


def load(folder: str | Path) -> Cache:
    """Open a folder of rendered shards; see :class:`Cache`."""
    return Cache(folder)


def draw(seeds: list[int], settings: CacheSettings) -> list[Scene]:
    """Scenes of seeds, core or full vocabulary by the seed; held-out ones and failures are left out."""
    from diffwright.world.sample import sample

    by_seed: dict[int, Scene] = {}
    for core in (True, False):
        chosen = [s for s in seeds if is_core(s, settings.core_share) == core]
        try:
            found = sample(chosen, core)
        except JobFailed:
            found = [scene for s in chosen for scene in _attempt(s, core)]
        by_seed.update({scene.seed: scene for scene in found if scene.seed is not None})
    return [by_seed[s] for s in seeds if s in by_seed and (settings.held_out or not is_held_out(by_seed[s]))]


def is_core(seed: int, core_share: float) -> bool:
    """Whether a seed's scene comes from the core vocabulary."""
    return float(np.random.Generator(np.random.PCG64([seed, 7])).random()) < core_share


def _attempt(seed: int, core: bool) -> list[Scene]:
    from diffwright.world.sample import sample

    try:
        return sample([seed], core)
    except JobFailed:
        return []


def _paths(out: Path, shard: int) -> tuple[Path, Path]:
    return out / f"{shard:05d}.npy", out / f"{shard:05d}.jsonl"


def _claim(out: Path, settings: CacheSettings) -> None:
    """Take a folder that is new, or made with these settings; what a killed rendering left half-written goes."""
    mark = out / SETTINGS
    wanted = asdict(settings)
    if mark.exists():
        held = json.loads(mark.read_text("utf-8"))
        if held != wanted:
            raise InputError(f"{out} was rendered with {held}; choose another folder for {wanted}.")
        for leftover in out.glob(".*.tmp"):
            leftover.unlink()
    elif out.exists() and not all(entry.match(f".{SETTINGS}.*.tmp") for entry in out.iterdir()):
        raise InputError(f"{out} holds something else; name a new or empty folder for the pictures.")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(mark, wanted)


def _one_thread() -> None:
    end_with_parent()

    import torch

    torch.set_num_threads(1)


def _write_shard(out: Path, settings: CacheSettings, length: int, spare: int, shard: int) -> int:
    from diffwright.world.render import render

    first = settings.start_seed + shard * spare
    last = first + spare - 1
    scenes: list[Scene] = []
    images: list[np.ndarray] = []
    for begin in range(first, last + 1, CHUNK):
        drawn = draw(list(range(begin, min(begin + CHUNK, last + 1))), settings)[: length - len(scenes)]
        if drawn:
            scenes += drawn
            images.append(render(drawn, settings.size, settings.supersample).image_u8.numpy())
        if len(scenes) == length:
            break
    if len(scenes) < length:
        raise JobFailed(f"seeds {first} to {last} gave {len(scenes)} scenes where {length} were needed.")
    pictures, text = _paths(out, shard)
    write_text(text, "".join(json.dumps(scene_to_json(s), separators=(",", ":")) + "\n" for s in scenes))
    write_bytes(pictures, _npy(np.concatenate(images)))
    return shard


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _open_images(path: Path) -> np.ndarray:
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a rendered shard ({error}); delete it and render again.") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[0] != SHARD or images.shape[3] != 3:
        raise InputError(f"{path} holds {images.dtype}{images.shape}; delete it and render again.")
    return images
