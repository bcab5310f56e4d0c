"""What may be asked of a concept: another thing in its place, nothing, a new fact, or a fair mixture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffwright.concepts.phrase import Phrase, without
from diffwright.core.checks import one_of
from diffwright.core.errors import InputError

KINDS = ("replace", "erase", "fact", "debias")
NOTHING = "nothing"
EMPTY = "A concept is empty; give at least one word on each side of a pair."


@dataclass(frozen=True)
class Rewrite:
    """One concept and what it becomes; made by ``replace``, ``erase``, ``fact`` or ``debias``.

    Attributes:
        source: the concept to rewrite.
        targets: what it becomes; the empty word stands for nothing.
        shares: how much of each target the new meaning holds; they sum to 1.
        kind: one of ``KINDS``.
    """

    source: str
    targets: tuple[str, ...]
    shares: tuple[float, ...] = (1.0,)
    kind: str = "replace"

    @classmethod
    def replace(cls, source: str, target: str) -> Rewrite:
        """Make a concept show another thing; a pair ``(source, target)`` means this."""
        return cls(source, (_words(target),))

    @classmethod
    def erase(cls, source: str, anchor: str = "") -> Rewrite:
        """Remove a concept.

        Args:
            source: the concept.
            anchor: what is left of it, usually its class ("painting" for a painter). Without one the model reads
                the end of the text where the concept stood.
        """
        return cls(source, (anchor.strip(),), kind="erase")

    @classmethod
    def fact(cls, source: str, target: str) -> Rewrite:
        """Change who or what a whole phrase stands for, while its single words keep their meaning.

        Args:
            source: a phrase of several words, such as "president of the united states". In modes that hold
                something, every shorter run of its words is held.
            target: the new holder.
        """
        return cls(source, (_words(target),), kind="fact")

    @classmethod
    def debias(cls, source: str, targets: Sequence[str], shares: Sequence[float] | None = None) -> Rewrite:
        """Make a concept a mixture of several.

        Args:
            source: the concept, such as "doctor".
            targets: two or more, such as "female doctor" and "male doctor".
            shares: how much of each, above 0; equal without them.

        Raises:
            InputError: fewer than two targets, or shares that do not fit them.
        """
        if isinstance(targets, str):
            raise InputError(
                f"Debiasing {source!r} got the text {targets!r}; give a list of two or more targets."
            )
        targets = tuple(map(_words, targets))
        given = [1.0] * len(targets) if shares is None else list(shares)
        if len(targets) < 2 or len(given) != len(targets):
            raise InputError(
                f"Debiasing {source!r} got {len(targets)} targets and {len(given)} shares; give two or more of each."
            )
        if not all(math.isfinite(share) and share > 0 for share in given):
            raise InputError(f"The shares of {source!r} are {given}; each must be above 0.")
        total = sum(given)
        return cls(source, targets, tuple(share / total for share in given), "debias")

    @classmethod
    def parsed(cls, record: Mapping[str, Any]) -> Rewrite:
        """Read it back from JSON.

        Raises:
            KeyError, TypeError, ValueError: an entry is missing or of another kind.
        """
        one_of("kind", record["kind"], KINDS)
        shares = tuple(map(float, record["shares"]))
        targets = tuple(map(str, record["targets"]))
        if not targets or len(shares) != len(targets):
            raise ValueError(f"{len(targets)} targets with {len(shares)} shares")
        return cls(str(record["source"]), targets, shares, record["kind"])

    @property
    def target(self) -> str:
        """What the concept becomes, in words: "nothing" for a plain erasure, "a | b" for a mixture."""
        return " | ".join(self.targets) or NOTHING

    def wanted(self, template: str) -> list[Phrase]:
        """Give the phrase of each target in a template."""
        return [Phrase.of(template, word) if word else Phrase.ending(template) for word in self.targets]

    def said(self, template: str) -> list[str]:
        """Give the prompts that the edited prompt should read like, one for each target."""
        return [Phrase.of(template, word).prompt if word else without(template) for word in self.targets]

    def parts(self) -> list[str]:
        """List the shorter runs of words of a fact's phrase, which keep their meaning; none for other kinds."""
        words = self.source.split()
        if self.kind != "fact":
            return []
        runs = [
            " ".join(words[start:stop])
            for start in range(len(words))
            for stop in range(start + 1, len(words) + 1)
            if stop - start < len(words)
        ]
        return list(dict.fromkeys(runs))


def _words(target: str) -> str:
    if not isinstance(target, str) or not target.strip():
        raise InputError(EMPTY)
    return target.strip()


def rewrites(pairs: Sequence[Rewrite | tuple[str, str]]) -> tuple[Rewrite, ...]:
    """Read what the caller asks for: rewrites, or pairs that mean ``Rewrite.replace``.

    Raises:
        InputError: it is something else, empty, or one source is sent to two different targets.
    """
    if isinstance(pairs, str) or not all(map(_sound, pairs)):
        raise InputError(f"Got the pairs {pairs!r}; give a list of (source, target) like [('mug', 'duck')].")
    if not pairs:
        raise InputError("Got no pairs; give at least one (source, target).")
    found = tuple(pair if isinstance(pair, Rewrite) else Rewrite.replace(*pair) for pair in pairs)
    if not all(rewrite.source.strip() for rewrite in found):
        raise InputError(EMPTY)
    known: dict[str, Rewrite] = {}
    for rewrite in found:
        first = known.setdefault(" ".join(rewrite.source.lower().split()), rewrite)
        if (first.targets, first.shares) != (rewrite.targets, rewrite.shares):
            raise InputError(
                f"{rewrite.source!r} is sent to {first.target!r} and to {rewrite.target!r}; keep one."
            )
    return found


def _sound(pair: Any) -> bool:
    if isinstance(pair, Rewrite):
        return True
    pair_of_words = isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2
    return pair_of_words and all(isinstance(word, str) for word in pair)
