"""The file of an edit: low-rank factors as safetensors, everything else as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from diffwright.concepts.choice import Choice
from diffwright.concepts.crowding import Conflict, Crowding
from diffwright.concepts.fits import Fit
from diffwright.concepts.patch import Patch
from diffwright.concepts.rewrite import Rewrite
from diffwright.concepts.solve import Factors
from diffwright.core.errors import WeightsCorrupt, WeightsMissing
from diffwright.weights.verify import read_tensors

FORMAT = "diffwright-concept-edit-2"


def serialized(
    patches: Sequence[Patch],
    rewrites: Sequence[Rewrite],
    *,
    preserve: Sequence[str],
    choice: Choice,
    fits: Sequence[Fit],
    crowding: Sequence[Crowding],
    parts: int,
) -> bytes:
    """Give the content of an edit's file (see ``ConceptEdit`` for its parts)."""
    tensors = {}
    for patch in patches:
        tensors[f"{patch.site}.up"] = patch.factors.up.float().contiguous()
        tensors[f"{patch.site}.down"] = patch.factors.down.float().contiguous()
    header = {
        "format": FORMAT,
        "rewrites": [asdict(rewrite) for rewrite in rewrites],
        "preserve": list(preserve),
        "choice": asdict(choice),
        "fits": [asdict(fit) for fit in fits],
        "crowding": [asdict(crowd) for crowd in crowding],
        "parts": parts,
        "base": {patch.site: [patch.base, patch.path] for patch in patches},
    }
    return save(tensors, metadata={"diffwright": json.dumps(header)})


def read(path: Path) -> dict[str, Any]:
    """Read the arguments of ``ConceptEdit`` from its file.

    Raises:
        WeightsMissing: there is no such file.
        WeightsCorrupt: it is damaged, or something else.
    """
    if not path.is_file():
        raise WeightsMissing(f"No edit at {path}; name a file that ConceptEdit.save wrote.")
    tensors = read_tensors(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["diffwright"])
        return _parsed(header, tensors)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsCorrupt(f"{path} is not a concept edit ({error}); make it again.") from error


def _parsed(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    if header["format"] != FORMAT:
        raise ValueError(f"format {header['format']!r}")
    patches = []
    for site, (base, module) in header["base"].items():
        factors = Factors(tensors[f"{site}.up"], tensors[f"{site}.down"])
        if factors.up.ndim != 2 or factors.down.ndim != 2 or factors.up.shape[1] != factors.down.shape[0]:
            raise ValueError(f"the factors of {site} do not fit together")
        patches.append(Patch(site, factors, str(base), str(module)))
    return {
        "patches": patches,
        "pairs": [Rewrite.parsed(record) for record in header["rewrites"]],
        "preserve": header["preserve"],
        "choice": Choice.parsed(header["choice"]),
        "fits": [Fit(**fit) for fit in header["fits"]],
        "crowding": [
            Crowding(**{**crowd, "conflicts": tuple(Conflict(**c) for c in crowd["conflicts"])})
            for crowd in header["crowding"]
        ],
        "parts": int(header["parts"]),
    }
