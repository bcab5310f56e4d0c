"""Square pictures to warp: procedural ones, renders, and photographs of a folder, each drawn from its number.

Pictures that measure the matcher must never train it. Their difference hashes are listed beside this file; a photograph
that looks like one of them, however it was encoded or resized, stops the training.
"""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffwright.core.errors import InputError
from diffwright.core.images import load_image
from diffwright.training.pairs.textures import silhouette, texture
from diffwright.world.cache import load

SIDE = 384  # of a canvas, pixels; half as much again as the pictures cut from it
SILHOUETTE = 96
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp"})
LARGEST = 1024  # shorter side of a photograph kept in memory
LOOKS_ALIKE = 40  # differing bits, of 256, up to which two pictures count as one
HELD_OUT = Path(__file__).with_name("held_out.txt")


class Bank:
    """An endless row of canvases; the same number is the same canvas on every machine.

    Args:
        renders: Folder that ``diffwright world cache`` wrote, or None.
        photos: Folder of PNG, JPEG or WebP pictures, or None; subfolders are not entered.
        render_share: Share of canvases that are mosaics of renders, when there are any.
        photo_share: Share of canvases cut from photographs, when there are any.
        held_out: Folder of more pictures that must not be among the photographs.

    Raises:
        InputError: A folder holds nothing to use, or a photograph looks like a picture that is held out.
    """

    def __init__(
        self, renders: Path | None = None, photos: Path | None = None, *, render_share: float = 0.15,
        photo_share: float = 0.55, held_out: Path | None = None,
    ) -> None:  # fmt: skip
        self.renders = load(renders) if renders else None
        self.photos = pictures_in(photos) if photos else []
        self.shares = (render_share if renders else 0.0, photo_share if photos else 0.0)
        if self.photos:
            refuse_held_out(self.photos, [*known_prints(), *prints_of(held_out)])

    def canvas(self, number: int) -> np.ndarray:
        """Picture number ``number``, uint8 (SIDE, SIDE, 3)."""
        rng = np.random.Generator(np.random.PCG64([21, number]))
        choice = rng.random()
        if choice < self.shares[1]:
            return self._cut(rng)
        if choice < sum(self.shares):
            return self._mosaic(rng)
        return texture(rng, SIDE)

    def canvases(self, count: int, first: int = 0) -> Tensor:
        """Canvases of the numbers from ``first`` on, uint8 (count, 3, SIDE, SIDE)."""
        out = torch.empty(count, 3, SIDE, SIDE, dtype=torch.uint8)
        for i in range(count):
            out[i] = torch.from_numpy(self.canvas(first + i)).permute(2, 0, 1)
        return out

    def _cut(self, rng: np.random.Generator) -> np.ndarray:
        photo = _photo(self.photos[int(rng.integers(len(self.photos)))])
        height, width = photo.shape[:2]
        side = int(min(height, width) * rng.uniform(0.5, 1.0))
        x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
        cut = Image.fromarray(photo[y : y + side, x : x + side])
        return np.array(cut.resize((SIDE, SIDE), Image.Resampling.BICUBIC))

    def _mosaic(self, rng: np.random.Generator) -> np.ndarray:
        """One to sixteen renders side by side."""
        assert self.renders is not None
        across = int(rng.integers(1, 5))
        out, step = Image.new("RGB", (SIDE, SIDE)), SIDE // across
        for i in range(across * across):
            render = Image.fromarray(self.renders.image(int(rng.integers(len(self.renders)))))
            place = (i % across * step, i // across * step)
            out.paste(render.resize((step, step), Image.Resampling.BICUBIC), place)
        return np.array(out)


def silhouettes(count: int, first: int = 0) -> Tensor:
    """Shapes of moving objects, uint8 (count, 1, SILHOUETTE, SILHOUETTE), 255 inside."""
    rngs = [np.random.Generator(np.random.PCG64([22, first + i])) for i in range(count)]
    return torch.from_numpy(np.stack([silhouette(rng, SILHOUETTE)[None] for rng in rngs]))


def pictures_in(folder: str | Path) -> list[Path]:
    """Pictures of a folder by name.

    Raises:
        InputError: It is no folder or holds none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a folder of PNG, JPEG or WebP pictures")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not found:
        raise InputError(f"{folder} holds no picture; put PNG, JPEG or WebP pictures into it")
    return found


def fingerprint(picture_u8: np.ndarray) -> int:
    """256-bit difference hash of a picture: whether it grows brighter from each cell of 16 x 16 to the next.

    It hardly changes when a picture is resized or encoded again.

    Args:
        picture_u8: (H, W, 3).
    """
    small = Image.fromarray(picture_u8).convert("L").resize((17, 16), Image.Resampling.BOX)
    levels = np.asarray(small, np.int16)
    return int.from_bytes(np.packbits(levels[:, 1:] > levels[:, :-1]).tobytes(), "big")


def refuse_held_out(photos: Iterable[Path], prints: Iterable[tuple[str, int]]) -> None:
    """Refuse photographs that look like pictures kept for measuring.

    Args:
        photos: Files of the bank.
        prints: Names and fingerprints of what is held out.

    Raises:
        InputError: One looks like one of them.
    """
    prints = list(prints)
    for path in photos:
        ours = fingerprint(_photo(path))
        for name, theirs in prints:
            if (ours ^ theirs).bit_count() <= LOOKS_ALIKE:
                raise InputError(
                    f"{path} looks like {name}, which measures the matcher and must not train it; "
                    "take it out of the folder"
                )


def known_prints() -> list[tuple[str, int]]:
    """Names and fingerprints of the pictures that the benches measure on."""
    rows = [line.split() for line in HELD_OUT.read_text("utf-8").splitlines() if not line.startswith("#")]
    return [(name, int(print_, 16)) for name, print_ in rows]


def prints_of(folder: Path | None) -> list[tuple[str, int]]:
    """Names and fingerprints of the pictures in a folder and below it; none without a folder."""
    files = sorted(folder.rglob("*")) if folder else []
    return [(path.name, fingerprint(load_image(path))) for path in files if path.suffix.lower() in ENDINGS]


@lru_cache(maxsize=256)
def _photo(path: Path) -> np.ndarray:
    """Decoded picture, shrunk to ``LARGEST``."""
    picture = Image.fromarray(load_image(path))
    factor = LARGEST / min(picture.size)
    if factor < 1:
        size = (round(picture.width * factor), round(picture.height * factor))
        picture = picture.resize(size, Image.Resampling.BOX)
    return np.asarray(picture)
