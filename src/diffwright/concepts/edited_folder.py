"""A model on disk with an edit in its weights, and the way back that is exact to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from diffwright.concepts.concept_edit import FILE, ConceptEdit
from diffwright.core.atomic import directory, write_bytes
from diffwright.core.errors import InputError, WeightsCorrupt, WeightsError
from diffwright.diffusion.sites import find
from diffwright.weights.verify import read_tensors

NOTES = "concept_edit"
ORIGINALS = "originals.safetensors"


def save_edited(pipe: Any, edit: ConceptEdit, folder: str | Path) -> Path:
    """Write a pipeline with an edit in its weights, beside them the edit and the weights it replaced.

    Args:
        pipe: the base model; as before when this returns.
        edit: an edit of it that is not applied.
        folder: a new or empty folder.

    Returns:
        The folder, which ``load`` opens like any other model.

    Raises:
        WeightsError: the edit was made for another base model.
        InputError: the folder holds other files.
    """
    originals = {site: _weight(pipe, site).detach().cpu().clone() for site in _sites(edit)}
    with directory(folder) as temporary, edit.applied(pipe):
        pipe.save_pretrained(temporary)
        edit.save(temporary / NOTES / FILE)
        write_bytes(temporary / NOTES / ORIGINALS, save(originals))
    return Path(folder)


def save_reverted(pipe: Any, edited: str | Path, folder: str | Path) -> Path:
    """Write the base model again, bit by bit, from a folder that ``save_edited`` made.

    Args:
        pipe: the edited model as ``load`` gave it from that folder; reverted when this returns.
        edited: that folder.
        folder: a new or empty folder.

    Returns:
        The folder.

    Raises:
        InputError: the model's folder holds no edit, or the output folder holds other files.
        WeightsCorrupt: the kept weights do not fit the model.
    """
    path = Path(edited) / NOTES / ORIGINALS
    if not path.is_file():
        raise InputError(
            f"{edited} holds no applied edit ({NOTES}/{ORIGINALS}); name a folder of `fix apply`."
        )
    for site, weight in read_tensors(path).items():
        current = _weight(pipe, site)
        if current.shape != weight.shape:
            raise WeightsCorrupt(
                f"{path} keeps {site} in shape {tuple(weight.shape)}, not {tuple(current.shape)}."
            )
        with torch.no_grad():
            current.copy_(weight)
    with directory(folder) as temporary:
        pipe.save_pretrained(temporary)
    return Path(folder)


def _sites(edit: ConceptEdit) -> list[str]:
    return [patch.site for patch in edit.patches]


def _weight(pipe: Any, site: str) -> torch.Tensor:
    try:
        return find(pipe, site).linear.weight
    except InputError as error:
        raise WeightsError(f"The edit changes {site}, which this model lacks; use its base model.") from error
