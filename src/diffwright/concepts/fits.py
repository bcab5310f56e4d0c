"""How well each concept of an edit was fitted, for programs and for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

SHOWN = 40
"""Rows of a table; the worst ones, where there are more."""


@dataclass(frozen=True)
class Fit:
    """How well a site was brought to give the target's value at the source.

    Attributes:
        source: concept that was rewritten.
        target: what it became.
        site: the layer.
        before: distance of the source's value from the target's, relative to its length, unedited.
        after: the same distance with the edit: the fit residual.
    """

    source: str
    target: str
    site: str
    before: float
    after: float

    @property
    def left(self) -> float:
        """The part of the distance that is left: 0 for a perfect fit, 1 for none."""
        return self.after / max(self.before, 1e-30)


def complaints(fits: Sequence[Fit]) -> list[str]:
    """Say which concepts are unchanged at every site, and which are less than half fitted at the best of them."""
    own: dict[tuple[str, str], list[Fit]] = {}
    for fit in fits:
        own.setdefault((fit.source, fit.target), []).append(fit)
    found, weak = [], []
    for (source, target), each in own.items():
        if max(fit.before for fit in each) < 1e-6:
            found.append(f"{source!r} -> {target!r} changes nothing: the model reads both words alike.")
        elif min(fit.left for fit in each) > 0.5:
            weak.append(f"{source!r} -> {target!r} is less than half fitted; lower lam or use fewer pairs.")
    found += weak[:3]
    if len(weak) > 3:
        found.append(f"{len(weak) - 3} more of {len(own)} concepts are less than half fitted.")
    return found


def fit_table(fits: Sequence[Fit]) -> str:
    """Write one row a fit; of more than ``SHOWN`` the worst, and the median."""
    lines = [f"{'source':<16} {'target':<16} {'site':<20} {'distance':>9} {'residual':>9}"]
    shown = fits if len(fits) <= SHOWN else sorted(fits, key=lambda fit: -fit.left)[:SHOWN]
    lines += [f"{f.source:<16} {f.target:<16} {f.site:<20} {f.before:>9.2e} {f.after:>9.2e}" for f in shown]
    if len(fits) > len(shown):
        after, left = median(fit.after for fit in fits), median(fit.left for fit in fits)
        lines.append(
            f"the worst {len(shown)} of {len(fits)}; median residual {after:.2e}, {left:.1%} of the distance"
        )
    return "\n".join(lines)
