"""One run of the matching bench: how much is measured, the methods, and the scores so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diffwright.bench.matching_corruptions import CORRUPTIONS
from diffwright.bench.matching_pairs import Pair
from diffwright.bench.matching_tables import FlowOf, Row, chosen, mean, measure
from diffwright.bench.matching_world import world_pairs
from diffwright.core.progress import Progress
from diffwright.matching.matcher import Matcher


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        first: First of the pairs of each kind that is used, and every ``stride``-th after it.
        stride: 1 uses all.
        world: Pairs of each subset of rendered views.
        size: Their side, pixels.
        full_size: Whether sequences at their original resolution and flow pairs are measured too.
        corruptions: Which types.
        samples: Values of K on the path's grid.
        steps: Values of T.
        ablations: Whether all switches are tried.
        rounds: Of the timing.
        batch: Pairs a step of the memory measurement.
    """

    first: int = 0
    stride: int = 1
    world: int = 12
    size: int = 256
    full_size: bool = True
    corruptions: tuple[str, ...] = tuple(CORRUPTIONS)
    samples: tuple[int, ...] = (1, 2, 3, 5, 8)
    steps: tuple[int, ...] = (1, 2, 5, 10)
    ablations: bool = True
    rounds: int = 7
    batch: int = 8


QUICK = Plan(
    first=4,
    stride=5,
    world=1,
    size=128,
    full_size=False,
    corruptions=("gaussian_noise", "frost"),
    samples=(1, 5),
    steps=(2, 10),
    ablations=False,
    rounds=2,
    batch=2,
)
"""The level V pairs alone, and little of everything else."""


@dataclass
class Bench:
    """What a run has, and what it found so far.

    Args:
        matcher: Is measured.
        methods: Everything that is compared, by name.
        plan: How much.
        progress: Is told the pairs done; may cancel.
        views: Folder that keeps the rendered views; None renders them anew.
        rows: Scores of all pairs.
    """

    matcher: Matcher
    methods: dict[str, FlowOf]
    plan: Plan
    progress: Progress | None = None
    views: Path | None = None
    rows: list[Row] = field(default_factory=list)
    rendered: dict[str, list[Pair]] = field(default_factory=dict)

    def world(self, subset: str) -> list[Pair]:
        """Give the rendered views of a subset, made once a run."""
        if subset not in self.rendered:
            plan = self.plan
            self.rendered[subset] = world_pairs(subset, plan.world, plan.size, self.views, self.progress)
        return self.rendered[subset]

    def some(self, pairs: Sequence[Pair], kind: str) -> list[Pair]:
        """Pick the pairs of a kind that the plan uses."""
        return [pair for pair in pairs if pair.kind == kind][self.plan.first :: self.plan.stride]

    def measure(self, protocol: str, pairs: Sequence[Pair], names: Iterable[str]) -> None:
        """Score methods by name on pairs; unknown names, no pairs, and what is scored already are left out."""
        for name in names:
            if name in self.methods and pairs and not self.of(protocol, name):
                self.rows += measure(protocol, name, pairs, self.methods[name], self.progress)

    def score(self, protocol: str, method: str, pairs: Sequence[Pair], flow_of: FlowOf) -> float:
        """Score one more method on pairs and give its mean error."""
        self.rows += measure(protocol, method, pairs, flow_of, self.progress)
        return self.aepe(protocol, method)

    def of(self, protocol: str, method: str, level: str | None = None) -> list[Row]:
        """Give the rows of a method under a protocol, perhaps of one level."""
        return chosen(self.rows, protocol, method, level)

    def aepe(self, protocol: str, method: str) -> float:
        """Mean endpoint error of a method under a protocol, pixels."""
        return mean(self.of(protocol, method))

    def known(self, protocol: str) -> dict[str, float]:
        """Mean endpoint error of every method that was scored under a protocol."""
        names = dict.fromkeys(row.method for row in self.rows if row.protocol == protocol)
        return {name: self.aepe(protocol, name) for name in names}
