"""Fail when the tracked files outgrow their limits: the whole tree, the shipped weights, one source file."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20
TREE_LIMIT, WEIGHTS_LIMIT, LINES_LIMIT = 55 * MIB, 45 * MIB, 500
POCKET = ROOT / "src/diffwright/pocket"
NOT_OURS = {"demo", "runs", "build", "dist", "__pycache__"}


def tracked() -> list[Path]:
    """Files that git tracks; in a tree without git, all but hidden and generated ones."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = [
            str(path.relative_to(ROOT))
            for path in ROOT.rglob("*")
            if not any(part in NOT_OURS or part.startswith(".") for part in path.relative_to(ROOT).parts)
        ]
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def complaints(files: list[Path]) -> list[str]:
    """Return one sentence for each limit that is broken."""
    found = []
    total = sum(path.stat().st_size for path in files)
    weights = sum(path.stat().st_size for path in files if POCKET in path.parents)
    if total > TREE_LIMIT:
        found.append(f"the tracked files take {total / MIB:.1f} MiB, the limit is {TREE_LIMIT // MIB}")
    if weights > WEIGHTS_LIMIT:
        found.append(f"the shipped weights take {weights / MIB:.1f} MiB, the limit is {WEIGHTS_LIMIT // MIB}")
    for path in files:
        if path.suffix == ".py":
            lines = path.read_text(encoding="utf-8").count("\n")
            if lines > LINES_LIMIT:
                found.append(f"{path.relative_to(ROOT)} has {lines} lines, the limit is {LINES_LIMIT}")
    print(f"tracked files {total / MIB:.1f} MiB, shipped weights {weights / MIB:.1f} MiB")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(complaints(tracked())) or None)
