"""Writes ``MANIFEST.json`` of the shipped models: ``python -m diffwright.weights.manifest [FOLDER]``."""

import sys
from pathlib import Path

from diffwright.core.atomic import write_json
from diffwright.weights.names import POCKET
from diffwright.weights.verify import MANIFEST, sha256, shipped_files


def write_manifest(root: Path = POCKET) -> Path:
    """Record the sha256 of every file of every shipped model.

    Args:
        root: the folder that holds the shipped models.

    Returns:
        Path of the manifest.
    """
    files = {}
    for model in sorted(
        entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    ):
        files |= {name: sha256(path) for name, path in shipped_files(root, model.name).items()}
    return write_json(root / MANIFEST, {"files": files})


if __name__ == "__main__":
    write_manifest(*map(Path, sys.argv[1:2]))
