"""An edit as an object: put into a pipeline, taken out bit by bit, scaled, joined with others, saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from diffwright.concepts import edit_file
from diffwright.concepts.choice import Choice
from diffwright.concepts.crowding import Crowding
from diffwright.concepts.fits import Fit, complaints, fit_table
from diffwright.concepts.lora import write_lora
from diffwright.concepts.patch import Patch, fingerprint_of
from diffwright.concepts.rewrite import Rewrite, rewrites
from diffwright.concepts.solve import Factors
from diffwright.core.atomic import write_bytes
from diffwright.core.errors import InputError, WeightsError
from diffwright.diffusion.sites import find

FILE = "edit.safetensors"
_bases: WeakKeyDictionary[nn.Module, list[str]] = WeakKeyDictionary()
"""Fingerprints that a layer had below each edit now applied to it; edits of one base may be stacked."""


class ConceptEdit:
    """A closed-form edit that can be applied to a pipeline and taken off again.

    Attributes:
        patches: the changed weights.
        rewrites: what was asked for.
        preserve: concepts that were held.
        choice: the settings it was made with; of the first part, where several were composed.
        fits: one entry for each concept and site.
        crowding: how full each site is, and which concepts get in each other's way.
        parts: how many edits were composed into it; the fits are those of each alone.
    """

    def __init__(
        self,
        patches: Sequence[Patch],
        pairs: Sequence[Rewrite | tuple[str, str]],
        *,
        preserve: Sequence[str] = (),
        choice: Choice | None = None,
        fits: Sequence[Fit] = (),
        crowding: Sequence[Crowding] = (),
        parts: int = 1,
    ) -> None:
        self.patches = tuple(patches)
        self.rewrites = rewrites(pairs)
        self.preserve = tuple(preserve)
        self.choice = choice or Choice()
        self.fits = tuple(fits)
        self.crowding = tuple(crowding)
        self.parts = parts
        self._originals: WeakKeyDictionary[nn.Module, tuple[Tensor, Tensor]] = WeakKeyDictionary()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Source and target of each rewrite, in words."""
        return tuple((rewrite.source, rewrite.target) for rewrite in self.rewrites)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what this edit cannot do: concepts unchanged, badly fitted, or in each other's way."""
        crowded = (message for crowd in self.crowding for message in crowd.warnings)
        return (*complaints(self.fits), *crowded)

    def apply(self, pipe: Any, strength: float = 1.0, *, check: bool = True) -> None:
        """Change the pipeline's weights in place.

        Args:
            pipe: the pipeline that the edit was made for, or an equal copy.
            strength: 1 for the whole edit, 0 for none; the change is linear in it.
            check: refuse a weight that is not the one the edit was computed for. Edits of one base may be
                stacked, and are reverted in the opposite order.

        Raises:
            InputError: it is already applied to this pipeline.
            WeightsError: the pipeline has another base weight or no such site.
        """
        layers = [self._layer(pipe, patch, check) for patch in self.patches]
        for patch, linear in zip(self.patches, layers, strict=True):
            original = linear.weight.detach().clone()
            _bases.setdefault(linear, []).append(fingerprint_of(linear))
            changed = original.double() + strength * patch.factors.dense().to(original.device)
            _write(linear, changed.to(original.dtype))
            self._originals[linear] = (original, linear.weight.detach().clone())

    def _layer(self, pipe: Any, patch: Patch, check: bool) -> nn.Linear:
        try:
            linear = find(pipe, patch.site).linear
        except InputError as error:
            raise WeightsError(
                f"The edit changes {patch.site}, which this pipeline lacks; use its base model."
            ) from error
        if linear in self._originals:
            raise InputError("The edit is already applied to this pipeline; revert it first.")
        expected = (patch.factors.up.shape[0], patch.factors.down.shape[1])
        if tuple(linear.weight.shape) != expected:
            raise WeightsError(
                f"{patch.site} has shape {tuple(linear.weight.shape)} in this pipeline, but the edit was "
                f"made for {expected}; load the base model that it was made for."
            )
        found = fingerprint_of(linear) if check else patch.base
        if patch.base not in (found, *_bases.get(linear, ())):
            raise WeightsError(
                f"{patch.site} has the fingerprint {found[:12]} in this pipeline, but the edit was made "
                f"for {patch.base[:12]}; load that base model, in float32 or float16."
            )
        return linear

    def revert(self, pipe: Any) -> None:
        """Put the weights back that ``apply`` found, bit by bit.

        Args:
            pipe: a pipeline to which this object applied the edit, in this process.

        Raises:
            InputError: it is not applied here, or the weights were changed since.
        """
        layers = [find(pipe, patch.site).linear for patch in self.patches]
        for patch, linear in zip(self.patches, layers, strict=True):
            if linear not in self._originals:
                raise InputError("This edit is not applied to this pipeline, so there is nothing to revert.")
            if not torch.equal(linear.weight, self._originals[linear][1].to(linear.weight)):
                raise InputError(
                    f"{patch.site} was changed after this edit was applied; revert the later edit first."
                )
        for linear in layers:
            _write(linear, self._originals.pop(linear)[0])
            _bases[linear].pop()

    @contextmanager
    def applied(self, pipe: Any, strength: float = 1.0) -> Iterator[None]:
        """Apply the edit while the block runs."""
        self.apply(pipe, strength)
        try:
            yield
        finally:
            self.revert(pipe)

    def scaled(self, strength: float) -> ConceptEdit:
        """Give an edit of another strength: 1 changes nothing, 0.5 goes half the way, -1 goes backwards.

        Its fits stay those of full strength.
        """
        return self._with(
            [replace(p, factors=Factors(strength * p.factors.up, p.factors.down)) for p in self.patches]
        )

    def _with(self, patches: Sequence[Patch]) -> ConceptEdit:
        return ConceptEdit(patches, self.rewrites, **self._record())

    def _record(self) -> dict[str, Any]:
        names = ("preserve", "choice", "fits", "crowding", "parts")
        return {name: getattr(self, name) for name in names}

    @staticmethod
    def compose(edits: Sequence[ConceptEdit]) -> ConceptEdit:
        """Join edits of one base into one, the sum of their changes.

        Where their keys are orthogonal this is what solving all concepts together gives; elsewhere it is not,
        and solving together fits better.

        Args:
            edits: at least one; give ``edit.scaled(0.5)`` for a weaker part.

        Raises:
            InputError: there is no edit, or two send one source to different targets.
            WeightsError: two edits were made for different weights of one site.
        """
        if not edits:
            raise InputError("Got no edits to compose; give at least one.")
        joined: dict[str, Patch] = {}
        for patch in (patch for edit in edits for patch in edit.patches):
            known = joined.setdefault(patch.site, patch)
            if known is patch:
                continue
            if known.base != patch.base:
                raise WeightsError(
                    f"Two edits change {patch.site} of different base models ({known.base[:12]} and "
                    f"{patch.base[:12]}); compose edits of one model."
                )
            up = torch.cat([known.factors.up, patch.factors.up], dim=1)
            down = torch.cat([known.factors.down, patch.factors.down])
            joined[patch.site] = replace(known, factors=Factors(up, down))
        return ConceptEdit(
            list(joined.values()),
            [rewrite for edit in edits for rewrite in edit.rewrites],
            preserve=list(dict.fromkeys(concept for edit in edits for concept in edit.preserve)),
            choice=edits[0].choice,
            fits=[fit for edit in edits for fit in edit.fits],
            crowding=[crowd for edit in edits for crowd in edit.crowding],
            parts=sum(edit.parts for edit in edits),
        )

    def report(self) -> str:
        """Write the fit of each concept at each site as a table, how full the sites are, and warnings."""
        lines = [fit_table(self.fits)]
        lines += [
            f"{crowd.site}: {crowd.concepts} concepts take {crowd.used:.1f} of {crowd.free} free directions"
            for crowd in self.crowding
        ]
        if self.parts > 1:
            lines.append(f"composed of {self.parts} edits; each fit is that of its own edit alone")
        return "\n".join([*lines, *(f"warning: {message}" for message in self.warnings)])

    def save(self, path: str | Path) -> Path:
        """Write the edit as one safetensors file, a few KiB for each pair.

        Args:
            path: where it goes; its folder is made.

        Returns:
            The path.
        """
        return write_bytes(path, self._serialized())

    def size_bytes(self) -> int:
        """Give the size of the file that ``save`` writes."""
        return len(self._serialized())

    def _serialized(self) -> bytes:
        return edit_file.serialized(self.patches, self.rewrites, **self._record())

    def export_lora(self, path: str | Path, *, keys: str = "kohya", rank: int | None = None) -> Path:
        """Write the edit as a LoRA that other programs load; it does the same as ``apply`` within rounding.

        Args:
            path: the safetensors file; its folder is made.
            keys: ``kohya`` for the names that most interfaces read, ``diffusers`` for those of diffusers. Stock
                ``load_lora_weights`` reads both.
            rank: keep this many directions of each site at most; a warning says what is lost. All without it.

        Returns:
            The path.

        Raises:
            InputError: the edit changes nothing.
            ConfigError: unknown ``keys``, or a rank below 1.
        """
        return write_lora(self.patches, path, keys=keys, rank=rank)

    @classmethod
    def load(cls, path: str | Path) -> ConceptEdit:
        """Read an edit that ``save`` wrote.

        Args:
            path: the file, or a folder with ``edit.safetensors`` in it.

        Raises:
            WeightsMissing: there is no such file.
            WeightsCorrupt: it is damaged, or something else.
        """
        path = Path(path)
        return cls(**edit_file.read(path / FILE if path.is_dir() else path))


@torch.no_grad()
def _write(linear: nn.Linear, weight: Tensor) -> None:
    linear.weight.copy_(weight)
