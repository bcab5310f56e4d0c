"""What a trace found: scores of every restored state, as a table, a plot, a folder of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from diffwright.core.atomic import write_json, write_text
from diffwright.core.checks import one_of
from diffwright.core.errors import InputError
from diffwright.core.results import RECORD, Result
from diffwright.core.strict_json import read_object
from diffwright.metrics.statistics import spearman
from diffwright.tracing.effects import Effect, Scores, effective_number, strongest
from diffwright.tracing.states import State

FORMAT = "diffwright-trace-1"
FILE, TABLE, PLOT = "trace.json", "table.txt", "trace.png"
MAX_BYTES = 512 * 2**20
PREFERRED = ("judge", "clip", "latent", "denoiser", "embedding", "embedding_prompt")
"""The metric that a part is ranked by: the first of these that was measured."""


@dataclass(frozen=True)
class Trace:
    """The states of one part of the model and their scores.

    Attributes:
        states: N places.
        scores: by metric.
    """

    states: tuple[State, ...]
    scores: Mapping[str, Scores]

    @property
    def metric(self) -> str:
        """The metric that states are ranked by when none is named."""
        return next(name for name in PREFERRED if name in self.scores)


@dataclass(frozen=True, kw_only=True)
class TraceResult(Result):
    """Where a model keeps what the subject of a prompt says.

    Attributes:
        prompt: the text given to the model.
        subject: its words that were corrupted.
        tokens: by text encoder, what stands at the positions up to the end token.
        spans: by text encoder, positions of the subject's first and last token.
        traces: ``text`` and ``unet``, as far as they were traced.
        settings: how it was traced, plain JSON values.
        images: where pictures were painted, the clean, the corrupted and the best restored ones, and a strip.
    """

    prompt: str
    subject: str
    tokens: Mapping[str, tuple[str, ...]]
    spans: Mapping[str, tuple[int, int]]
    traces: Mapping[str, Trace]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def top(self, count: int = 1, part: str | None = None, metric: str | None = None) -> list[Effect]:
        """Give the states whose restoring helps most.

        Args:
            count: how many.
            part: ``text`` or ``unet``; the first traced one without it.
            metric: one of the part's metrics; its most telling one without it.

        Raises:
            ConfigError: part or metric was not traced.
        """
        trace, name = self._chosen(part, metric)
        return strongest(trace.states, trace.scores[name], count)

    def table(self, part: str | None = None, metric: str | None = None, count: int = 12) -> str:
        """Write the strongest states as a table, both parts where none is named.

        Args:
            part: ``text`` or ``unet``.
            metric: one of its metrics.
            count: states of each part.

        Raises:
            ConfigError: part or metric was not traced.
        """
        lines = [f"{self.prompt!r}, subject {self.subject!r}, {self._sampled()}"]
        for name in [part] if part else self.traces:
            trace, by = self._chosen(name, metric)
            scores = trace.scores[by]
            lines += [
                "",
                f"{name}: {len(trace.states)} states, by {by}: clean {scores.clean.mean():.3f}, "
                f"corrupted {scores.corrupted.mean():.3f}",
                f"{'state':<24} {'token':<12} {'restored':>9} {'effect':>9} {'95 % interval':>19} {'recovery':>9}",
            ]
            for found in strongest(trace.states, scores, count):
                low, high = f"{found.effect.low:.3f}", f"{found.effect.high:.3f}"
                interval = f"[{low}, {high}]" if len(scores.clean) > 1 else "one sample"
                lines.append(
                    f"{found.state.name:<24} {self.word(found.state):<12} {found.restored:>9.3f} "
                    f"{found.effect.value:>9.3f} {interval:>19} {found.recovery:>9.2f}"
                )
        return "\n".join(lines)

    def word(self, state: State) -> str:
        """Say what stands at the token of a text state; nothing for the UNet."""
        if state.token is None:
            return ""
        words = self.tokens[state.site.split(".")[0]]
        return words[state.token] if state.token < len(words) else "[padding]"

    def grid(self, prefix: str, kind: str, metric: str | None = None) -> np.ndarray:
        """Lay the effects of a text component out over tokens and layers, as recoveries where they exist.

        Args:
            prefix: ``te`` or ``te2``.
            kind: ``attn``, ``mlp`` or ``block``.
            metric: one of the part's metrics.

        Shapes:
            -> (T, L), NaN where nothing was traced; T tokens up to the last traced one, L layers

        Raises:
            ConfigError: the text encoders or the metric were not traced.
        """
        trace, name = self._chosen("text", metric)
        scores = trace.scores[name]
        values = scores.recovery if np.isfinite(scores.recovery).all() else scores.mean
        mine = [
            (state.token or 0, state.layer, value)
            for state, value in zip(trace.states, values, strict=True)
            if state.site.startswith(f"{prefix}.") and state.kind == kind
        ]
        grid = np.full([1 + max((row[axis] for row in mine), default=-1) for axis in (0, 1)], np.nan)
        for token, layer, value in mine:
            grid[token, layer] = value
        return grid

    def by_site(self, metric: str | None = None, *, recovery: bool = True) -> dict[str, float]:
        """Give what restoring each site does, at the token where it does most.

        Args:
            metric: one that all parts measured; the most telling one of each without it.
            recovery: as the share of what was lost, where that is known; else as the mean effect.

        Raises:
            ConfigError: the metric was not measured.
        """
        found: dict[str, float] = {}
        for part in self.traces:
            trace, name = self._chosen(part, metric)
            scores = trace.scores[name]
            for state, value in zip(trace.states, scores.recovery if recovery else scores.mean, strict=True):
                if np.isfinite(value):
                    found[state.site] = max(found.get(state.site, -np.inf), float(value))
        return found

    def plot(self, path: str | PathLike[str], metric: str | None = None) -> Path:
        """Draw heat maps of the text encoders, tokens by layers, and the UNet's layers as bars.

        Args:
            path: where the picture goes; its ending chooses PNG, SVG or PDF.
            metric: for all parts; the most telling one of each without it.

        Raises:
            MissingExtra: matplotlib is not installed.
            ConfigError: the metric was not measured.
        """
        from diffwright.tracing.plots import draw

        return draw(self, Path(path), metric)

    def record(self) -> dict[str, Any]:
        """Give what ``result.json`` holds."""
        return {
            **super().record(),
            "prompt": self.prompt,
            "subject": self.subject,
            "settings": dict(self.settings),
            "trace": FILE,
        }

    def write(self, folder: Path) -> None:
        """Write all files into a fresh folder; the plot where matplotlib is installed."""
        from importlib.util import find_spec

        super().write(folder)
        write_json(folder / FILE, self._content())
        write_text(folder / TABLE, self.table() + "\n")
        if find_spec("matplotlib") is not None:
            self.plot(folder / PLOT)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> TraceResult:
        """Read a trace that ``save`` wrote.

        Args:
            folder: its folder.

        Raises:
            InputError: there is no trace, or it is damaged.
        """
        from PIL import Image

        from diffwright.core.images import load_image

        folder = Path(folder)
        record = read_object(folder / RECORD, error=InputError)
        content = read_object(folder / FILE, MAX_BYTES, InputError)
        try:
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}")
            names = [str(name).removesuffix(".png") for name in record["images"]]
            return cls(
                prompt=str(record["prompt"]),
                subject=str(record["subject"]),
                settings=dict(record["settings"]),
                tokens={key: tuple(map(str, words)) for key, words in content["tokens"].items()},
                spans={key: (int(first), int(last)) for key, (first, last) in content["spans"].items()},
                traces={name: _parsed(part) for name, part in content["traces"].items()},
                images=[Image.fromarray(load_image(folder / f"{Path(name).name}.png")) for name in names],
                names=names,
                figures=dict(record["figures"]),
                warnings=list(record["warnings"]),
                timings=dict(record["timings_s"]),
                command=str(record["command"]),
                seeds=list(record["seeds"]),
                model=str(record["model"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{folder} holds no sound trace ({error}); trace again into it") from error

    def _chosen(self, part: str | None, metric: str | None) -> tuple[Trace, str]:
        part = part or next(iter(self.traces))
        one_of("part", part, self.traces)
        trace = self.traces[part]
        name = metric or trace.metric
        one_of("metric", name, trace.scores)
        return trace, name

    def _sampled(self) -> str:
        noise = self.settings.get("noise")
        return f"{len(self.seeds)} seeds" + (f", noise of {noise:g} standard deviations" if noise else "")

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "tokens": {key: list(words) for key, words in self.tokens.items()},
            "spans": {key: list(span) for key, span in self.spans.items()},
            "traces": {
                name: {
                    "states": [astuple(state) for state in trace.states],
                    "scores": {
                        metric: {
                            "clean": scores.clean.tolist(),
                            "corrupted": scores.corrupted.tolist(),
                            "restored": scores.restored.tolist(),
                        }
                        for metric, scores in trace.scores.items()
                    },
                }
                for name, trace in self.traces.items()
            },
        }


def _parsed(part: Mapping[str, Any]) -> Trace:
    states = tuple(
        State(str(site), str(kind), int(layer), None if token is None else int(token), int(window))
        for site, kind, layer, token, window in part["states"]
    )
    scores = {}
    for metric, saved in part["scores"].items():
        clean, corrupted, restored = (
            np.asarray(saved[key], dtype=np.float64) for key in ("clean", "corrupted", "restored")
        )
        if restored.shape != (len(states), len(clean)) or corrupted.shape != clean.shape:
            raise ValueError(f"the scores of {metric} do not fit its states")
        scores[str(metric)] = Scores(clean, corrupted, restored)
    return Trace(states, scores)


def figures_of(traces: Mapping[str, Trace]) -> dict[str, Any]:
    """Sum a trace up in plain JSON values: for each part the best state, and how many states carry the effect.

    The rank correlation of the cheap embedding recovery with the pictures' metric stands beside them.

    Args:
        traces: by part.
    """
    found: dict[str, Any] = {}
    for name, trace in traces.items():
        scores = trace.scores[trace.metric]
        best = strongest(trace.states, scores, 1)[0]
        figures = {
            "states": len(trace.states),
            "metric": trace.metric,
            "clean": float(scores.clean.mean()),
            "corrupted": float(scores.corrupted.mean()),
            "best": best.state.name,
            "best_effect": best.effect.value,
            "best_recovery": best.recovery if np.isfinite(best.recovery) else None,
            "effective_states": effective_number(scores.mean),
        }
        figures |= {
            f"{metric}_rank_correlation": value
            for metric, value in _correlations(trace).items()
            if np.isfinite(value)
        }
        found[name] = figures
    return found


def _correlations(trace: Trace) -> dict[str, float]:
    cheap: Sequence[str] = [m for m in ("embedding", "denoiser") if m in trace.scores and m != trace.metric]
    if len(trace.states) < 2:
        return {}
    by = trace.scores[trace.metric].mean
    return {metric: spearman(trace.scores[metric].mean, by) for metric in cheap}
