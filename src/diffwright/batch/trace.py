"""``diffwright batch trace``: a causal trace for each prompt of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from diffwright.batch.job import Job, Prepared
from diffwright.batch.rows import Columns, Row
from diffwright.core.errors import InputError
from diffwright.core.results import Result


@dataclass(frozen=True, kw_only=True)
class TraceJob(Job):
    """Trace what a word of each prompt says.

    Args:
        loading: Of ``diffwright.load``: dtype, revision, variant.
        options: Of ``causal_trace``, the same for all prompts.
        sampling: Of ``tracing.unet.Sampling``.
        scorer: CLIP model that looks at the pictures, or ``none``.
        pictures: Whether anybody looks at them.
        seed: First seed of rows without one of their own.
        seeds: Samples a row, with consecutive seeds.
    """

    name: ClassVar[str] = "trace"
    columns: ClassVar[Columns] = Columns(("prompt", "subject"), ("seed",))

    model: str = "pocket"
    loading: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    scorer: str = "none"
    pictures: bool = True
    seed: int = 0
    seeds: int = 2

    def prepare(self) -> Prepared:
        """Load the model and who looks at its pictures."""
        from diffwright.tracing.panel import Panel
        from diffwright.tracing.trace import MAX_SEED, causal_trace
        from diffwright.tracing.unet import Sampling
        from diffwright.weights.fingerprint import fingerprint
        from diffwright.weights.load import load

        sampling = Sampling(**self.sampling)
        pipe = load(self.model, device=self.device, offline=self.offline, **self.loading)
        panel = Panel.load(pipe, self.scorer, offline=self.offline) if self.pictures else Panel()
        model = fingerprint(pipe)

        def trace(row: Row) -> Result:
            prompt, subject, first = row.text("prompt"), row.text("subject"), row.seed(self.seed)
            if first + self.seeds - 1 > MAX_SEED:
                raise InputError(
                    f"seed of row {row.id!r} is {first}, too large for {self.seeds} seeds; give a smaller one"
                )
            scorers, missed = panel.scorers(prompt, subject)
            seeds = range(first, first + self.seeds)
            same = {"scorers": scorers, "sampling": sampling, "model": model, **self.options}
            found = causal_trace(pipe, prompt, subject, seeds=seeds, **same)
            return replace(found, warnings=[*missed, *found.warnings])

        return Prepared(trace, model)
