"""Photographs that the shipped matcher trains on: the desktop wallpapers of six Debian packages, under free licences.

``make wallpapers`` installs the packages and gathers their pictures; smooth ones, which teach nothing, are left out.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from diffwright.core.errors import InputError

PACKAGES = (
    "gnome-backgrounds", "mate-backgrounds", "plasma-workspace-wallpapers", "ukui-wallpapers",
    "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04",
)  # fmt: skip
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
LEAST_SIDE, SIDE = 600, 1024  # pixels of the shorter side: of a file, and of what is kept at most
LEAST_DETAIL = 4.0  # gray levels from each pixel to the next, both ways together, at 256 x 256


def gather(out: Path, files: Iterator[tuple[str, Path]] | None = None) -> list[Path]:
    """Write the wallpapers as JPEG files.

    Args:
        out: Folder, made if missing.
        files: Package and file of each picture; those that are installed without it.

    Returns:
        The files that were written.

    Raises:
        InputError: No package is installed.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for package, path in files or installed():
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        shorter = min(picture.size)
        if shorter < LEAST_SIDE:
            continue
        if shorter > SIDE:
            size = (round(picture.width * SIDE / shorter), round(picture.height * SIDE / shorter))
            picture = picture.resize(size, Image.Resampling.BOX)
        if detail(picture) < LEAST_DETAIL:
            continue
        theme = path.parts[-4] if "contents" in path.parts else path.parent.name
        target = out / f"{package}-{theme}-{path.stem}.jpg"
        picture.save(target, quality=95)
        written.append(target)
    if not written:
        raise InputError(f"no wallpaper was found; install {', '.join(PACKAGES)}, as make wallpapers does")
    return written


def detail(picture: Image.Image) -> float:
    """Mean step of gray from each pixel to its right and lower neighbours together, at 256 x 256 pixels."""
    gray = np.asarray(picture.convert("L").resize((256, 256), Image.Resampling.BOX), np.float32)
    return float(np.abs(np.diff(gray, axis=1)).mean() + np.abs(np.diff(gray, axis=0)).mean())


def installed() -> Iterator[tuple[str, Path]]:
    """Give the pictures of the installed packages, each once."""
    for package in PACKAGES:
        listed = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=False)
        for line in listed.stdout.splitlines():
            path = Path(line)
            wanted = path.suffix.lower() in ENDINGS and "screenshot" not in path.name.lower()
            if wanted and path.is_file() and not path.is_symlink() and path.stat().st_size > 20_000:
                yield package, path


if __name__ == "__main__":
    print(f"{len(gather(Path(sys.argv[1])))} wallpapers in {sys.argv[1]}")
