"""What the ``fix`` verbs read from flags and files: concepts, prompts to hold, and a trace's effects."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from diffwright.core.errors import InputError

if TYPE_CHECKING:
    from diffwright.concepts.rewrite import Rewrite


def asked(
    sources: Sequence[str], targets: Sequence[str], kind: str, erased: Sequence[str], file: Path | None
) -> list[Rewrite]:
    """Gather what is to be rewritten.

    Args:
        sources: of ``--from``.
        targets: of ``--to``, as many.
        kind: what these pairs mean.
        erased: of ``--erase``.
        file: a table of source, target and, if given, kind.

    Raises:
        InputError: they don't fit together, or nothing was asked for.
    """
    if len(sources) != len(targets):
        raise InputError(f"Got {len(sources)} --from and {len(targets)} --to; give them in pairs.")
    found = [rewrite(source, target, kind) for source, target in zip(sources, targets, strict=True)]
    found += [rewrite(source, "", "erase") for source in erased]
    if file is not None:
        found += _read_table(file)
    if not found:
        raise InputError(
            "No concept was given; write --from mug --to duck, --erase mug, or --pairs FILE.csv for a pair a row."
        )
    return found


def rewrite(source: str, target: str, kind: str) -> Rewrite:
    """Read one request; the targets of ``debias`` are separated by ``|``."""
    from diffwright.concepts.rewrite import Rewrite

    if kind == "erase":
        return Rewrite.erase(source, target)
    if kind == "fact":
        return Rewrite.fact(source, target)
    if kind == "debias":
        return Rewrite.debias(source, [word.strip() for word in target.split("|")])
    return Rewrite.replace(source, target)


def _read_table(file: Path) -> list[Rewrite]:
    from diffwright.concepts.rewrite import KINDS

    found = []
    try:
        rows = [
            row for row in csv.reader(file.read_text("utf-8-sig").splitlines()) if any(map(str.strip, row))
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{file} cannot be read as a table of pairs ({error}); give a UTF-8 CSV file."
        ) from error
    for number, row in enumerate(rows, 1):
        source, target, kind, *rest = [*map(str.strip, row), *([""] * max(0, 3 - len(row)))]
        kind = kind or "replace"
        if not source or rest or kind not in KINDS or not (target or kind == "erase"):
            raise InputError(
                f"Row {number} of {file} is {row}; each row needs a source, a target and, if it is no replacement, "
                f"a kind of the pair ({', '.join(KINDS)})."
            )
        found.append(rewrite(source, target, kind))
    return found


def lines(file: Path | None) -> list[str] | None:
    """Read prompts, one a line; None without a file.

    Raises:
        InputError: it is no text file, or empty.
    """
    if file is None:
        return None
    try:
        found = [line.strip() for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} cannot be read ({error}); give a UTF-8 text file, one prompt a line."
        ) from error
    if not found:
        raise InputError(f"{file} holds no prompt; write one a line.")
    return found


class Effects(NamedTuple):
    """Effects by site, and the fingerprint of the traced model; empty where a file of numbers names none."""

    by_site: dict[str, float]
    model: str = ""

    def of(self, model: str) -> dict[str, float]:
        """Give them for the model with this fingerprint.

        Raises:
            InputError: another one was traced.
        """
        if self.model and self.model != model:
            raise InputError(
                f"The effects are those of another model ({self.model[:12]}); trace this one ({model[:12]})."
            )
        return self.by_site


def effects(path: Path | None) -> Effects | None:
    """Read the effects of a trace.

    Args:
        path: a folder that ``diffwright trace`` wrote, or a JSON object from sites to numbers; None gives None.

    Returns:
        Of a trace the recovery of each site, at the token where it is largest.

    Raises:
        InputError: it holds no effects, or those of windows of layers.
    """
    if path is None:
        return None
    try:
        found = _of_trace(path) if path.is_dir() else _of_object(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f'{path} holds no effects ({error}); give a folder of "diffwright trace", or a JSON object such as '
            '{"te.0.attn": 0.4}.'
        ) from error
    if not found.by_site or not all(map(math.isfinite, found.by_site.values())):
        raise InputError(f"{path} must hold the effect of at least one site, and finite effects only.")
    return found


def _of_object(content: Mapping[str, Any]) -> Effects:
    return Effects({str(site): float(effect) for site, effect in content.items()})


def _of_trace(folder: Path) -> Effects:
    from diffwright.tracing.result import TraceResult

    found = TraceResult.load(folder)
    if any(state.window > 1 for trace in found.traces.values() for state in trace.states):
        raise InputError(
            f"{folder} restored windows of layers, which name no single site; trace with --window 1"
        )
    return Effects(found.by_site(), found.model)
