"""``diffwright batch match``: flow between the two pictures of each row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from diffwright.batch.job import Job, Prepared
from diffwright.batch.rows import Columns, Row
from diffwright.core.results import Result


@dataclass(frozen=True, kw_only=True)
class MatchJob(Job):
    """Match the pictures ``a`` and ``b`` of each row.

    Args:
        faithful: Start from the paper's options.
        loading: How the matcher is loaded, as ``Matcher.from_pretrained`` takes it.
        options: Of ``matching.stages.MatchOptions``, on top of those.
        seed: Of rows without one of their own.
    """

    name: ClassVar[str] = "match"
    columns: ClassVar[Columns] = Columns(("a", "b"), ("seed",))

    model: str = "pocket-match"
    faithful: bool = False
    loading: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def prepare(self) -> Prepared:
        """Load the matcher."""
        from diffwright.matching.matcher import Matcher
        from diffwright.matching.stages import MatchOptions

        start = MatchOptions.faithful() if self.faithful else MatchOptions()
        options = replace(start, **self.options)
        matcher = Matcher.from_pretrained(self.model, **self.loading)

        def match(row: Row) -> Result:
            return matcher.match(row.path("a"), row.path("b"), options, seed=row.seed(self.seed))

        return Prepared(match, matcher.fingerprint())
