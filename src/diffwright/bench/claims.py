"""The pages `docs/claims.md` and `docs/benchmarks.md`, generated from `docs/bench/*.json`.

`python -m diffwright.bench.claims` writes both. A verdict is computed from measured figures, never typed in.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffwright.bench.harness import BENCHES, Figure, number
from diffwright.bench.papers import GOALS, PAPERS, Bound, Claim
from diffwright.core import atomic
from diffwright.core.errors import InputError

Measured = Mapping[str, Mapping[str, Any]]
"""What the JSON files hold, by the name of their bench."""

_GENERATED = "Generated from `bench/*.json` by `python -m diffwright.bench.claims`; not edited by hand.\n"


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Read all measured figures.

    Args:
        folder: with a `NAME.json` a bench, as `diffwright bench NAME --json` writes it, or a `NAME.PART.json` for
            each run of some of its parts.

    Returns:
        The contents by the files' stems, in the order of `BENCHES`.

    Raises:
        InputError: a file is not such a JSON, or belongs to no bench.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        if _bench_of(path.stem) not in BENCHES:
            raise InputError(f"{path} belongs to no bench ({', '.join(BENCHES)}); rename or remove it")
        try:
            content = json.loads(path.read_text("utf-8"))
            for figure in content["figures"].values():
                Figure(float(figure["value"]), figure["unit"], figure["better"])
            dict(content["environment"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} holds no bench figures ({error!r}); write it with diffwright bench"
            ) from error
        found[path.stem] = content
    order = list(BENCHES)
    return {
        stem: found[stem] for stem in sorted(found, key=lambda stem: (order.index(_bench_of(stem)), stem))
    }


def _bench_of(stem: str) -> str:
    return stem.partition(".")[0]


def _figures(bench: str, measured: Measured) -> dict[str, tuple[Mapping[str, Any], str]]:
    """Give every figure of a bench with the stem of the record that it comes from."""
    return {
        name: (figure, stem)
        for stem, content in measured.items()
        if _bench_of(stem) == bench
        for name, figure in content["figures"].items()
    }


def verdict(claim: Claim, measured: Measured) -> str:
    """Decide a claim: "confirmed", "refuted", or "not run here" when a figure is missing or a premise fails."""
    if _unfit(claim, measured):
        return "not run here"
    figures = _figures(claim.bench, measured)
    if not claim.bounds or any(bound.figure not in figures for bound in claim.bounds):
        return "not run here"
    kept = all(bound.holds(figures[bound.figure][0]["value"]) for bound in claim.bounds)
    return "confirmed" if kept else "refuted"


def _unfit(claim: Claim, measured: Measured) -> str:
    """Say which measured premise of a claim fails, or nothing."""
    if claim.premise is None:
        return ""
    bench, bound = claim.premise
    figure, _ = _figures(bench, measured).get(bound.figure, (None, ""))
    if figure is None or bound.holds(figure["value"]):
        return ""
    value = number(figure["value"])
    return f"the model is not fit for it yet: {bound.figure} = {value} ({bound}), by bench {bench}"


def claims_page(measured: Measured) -> str:
    """Write the page of claims.

    Args:
        measured: as `load` gives it.

    Returns:
        Markdown.
    """
    counts = Counter(verdict(claim, measured) for paper in PAPERS for claim in paper.claims)
    parts = ["# What the papers claim, and what was measured here\n", _GENERATED]
    parts.append(
        ", ".join(f"{counts[word]} {word}" for word in ("confirmed", "refuted", "not run here")) + ".\n"
    )
    for paper in PAPERS:
        parts.append(f"## {paper.title}\n\n{paper.source}\n")
        rows = [_claim_row(claim, measured) for claim in paper.claims]
        parts.append(_table(("claim", "verdict", "figure", "control", "command"), rows))
    return "\n".join(parts)


def _claim_row(claim: Claim, measured: Measured) -> tuple[str, ...]:
    word = verdict(claim, measured)
    if word == "not run here":
        return claim.text, word, _unfit(claim, measured), "", ""
    figures = _figures(claim.bench, measured)
    found = [f"{_shown(b.figure, figures[b.figure][0])} ({b})" for b in claim.bounds]
    control = claim.control
    if claim.control_figure in figures:
        control += f": {_shown(claim.control_figure, figures[claim.control_figure][0])}"
    commands = {figures[b.figure][1]: _command(figures[b.figure][1], measured) for b in claim.bounds}
    scope = [claim.scope] if claim.scope else []
    return (
        claim.text,
        f"**{word}**",
        "; ".join(found + scope),
        control,
        "; ".join(f"`{command}`" for command in commands.values()),
    )


def benchmarks_page(measured: Measured) -> str:
    """Write the page of all figures, each beside its goal.

    Args:
        measured: as `load` gives it.

    Returns:
        Markdown.
    """
    parts = ["# Benchmarks\n", _GENERATED]
    if not measured:
        parts.append("No bench has been run yet.\n")
    for name, content in measured.items():
        goals = {bound.figure: bound for bound in GOALS.get(_bench_of(name), ())}
        rows = [_figure_row(key, figure, goals.get(key)) for key, figure in content["figures"].items()]
        parts.append(
            f"## {name}\n\n`{_command(name, measured)}`\n\n{_surroundings(content['environment'])}\n"
        )
        parts.append(_table(("figure", "value", "better", "goal", "note"), rows))
    return "\n".join(parts)


def _figure_row(name: str, figure: Mapping[str, Any], goal: Bound | None) -> tuple[str, ...]:
    reached = "" if goal is None else f"{goal}: {'reached' if goal.holds(figure['value']) else '**missed**'}"
    value = f"{number(figure['value'])} {figure['unit']}".strip()
    return name, value, figure["better"], reached, figure.get("note", "")


def _surroundings(environment: Mapping[str, Any]) -> str:
    commit = f"commit {environment['commit'][:10]}" if environment.get("commit") else "no commit known"
    dirty = " with uncommitted changes" if environment.get("dirty") else ""
    versions = ", ".join(
        f"{key} {environment[key]}" for key in ("torch", "diffusers") if environment.get(key)
    )
    words = [
        "a quick run" if environment.get("quick") else "",
        commit + dirty,
        str(environment.get("date", "")),
        str(environment.get("machine", "")),
        f"{environment['cores']} cores" if "cores" in environment else "",
        versions,
        str(environment.get("busy", "")),
    ]
    return "Measured: " + "; ".join(word for word in words if word) + "."


def _shown(name: str, figure: Mapping[str, Any]) -> str:
    return f"{name} = {number(figure['value'])} {figure['unit']}".strip()


def _command(stem: str, measured: Measured) -> str:
    recorded = measured[stem]["environment"].get("command")
    return recorded or f"diffwright bench {_bench_of(stem)} --json docs/bench/{stem}.json"


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def write_pages(docs: Path) -> None:
    """Write both pages from the figures in `docs/bench`.

    Args:
        docs: the documentation folder.

    Raises:
        InputError: a file there holds no figures.
        JobFailed: a page cannot be written.
    """
    measured = load(docs / "bench")
    atomic.write_text(docs / "claims.md", claims_page(measured))
    atomic.write_text(docs / "benchmarks.md", benchmarks_page(measured))


if __name__ == "__main__":
    write_pages(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
