"""An edit as an object: put into a pipeline, taken out bit by bit, written to a small file and read again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from diffwright.concepts.choice import Choice
from diffwright.concepts.solve import Factors
from diffwright.core.atomic import write_bytes
from diffwright.core.errors import InputError, WeightsCorrupt, WeightsError, WeightsMissing
from diffwright.diffusion.sites import find
from diffwright.weights.fingerprint import fingerprint
from diffwright.weights.verify import read_tensors

FORMAT = "diffwright-concept-edit-1"
FILE = "edit.safetensors"
_bases: WeakKeyDictionary[nn.Module, list[str]] = WeakKeyDictionary()
"""Fingerprints that a layer had below each edit now applied to it; edits of one base may be stacked."""


@dataclass(frozen=True)
class Patch:
    """The change of one weight.

    Attributes:
        site: name of the linear layer.
        factors: the change as ``up @ down``, float32.
        base: fingerprint of the weight that the change was computed for.
    """

    site: str
    factors: Factors
    base: str


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


def fingerprint_of(linear: nn.Linear) -> str:
    """Fingerprint a weight, rounded to half precision so that a float16 copy of the model passes as well."""
    return fingerprint({"weight": linear.weight.detach().to("cpu", torch.float16)})


class ConceptEdit:
    """A closed-form edit that can be applied to a pipeline and taken off again.

    Attributes:
        patches: the changed weights.
        pairs: (source, target) concepts.
        preserve: concepts that were held.
        choice: the settings it was made with.
        fits: one entry for each pair and site.
    """

    def __init__(
        self,
        patches: Sequence[Patch],
        pairs: Sequence[tuple[str, str]],
        *,
        preserve: Sequence[str] = (),
        choice: Choice | None = None,
        fits: Sequence[Fit] = (),
    ) -> None:
        self.patches = tuple(patches)
        self.pairs = tuple(pairs)
        self.preserve = tuple(preserve)
        self.choice = choice or Choice()
        self.fits = tuple(fits)
        self._originals: WeakKeyDictionary[nn.Module, tuple[Tensor, Tensor]] = WeakKeyDictionary()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what this edit cannot do: pairs that it leaves unchanged or fits badly."""
        found = []
        for source, target in self.pairs:
            fits = [fit for fit in self.fits if (fit.source, fit.target) == (source, target)]
            if fits and max(fit.before for fit in fits) < 1e-6:
                found.append(f"{source!r} -> {target!r} changes nothing: the model reads both words alike.")
            elif fits and min(fit.after / max(fit.before, 1e-30) for fit in fits) > 0.5:
                found.append(
                    f"{source!r} -> {target!r} is less than half fitted; lower lam or use fewer pairs."
                )
        return tuple(found)

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
                f"for {patch.base[:12]}; load that base model, or pass check=False to apply it all the same."
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

    def report(self) -> str:
        """Write the fit of each pair at each site as a table, warnings below."""
        lines = [f"{'source':<16} {'target':<16} {'site':<20} {'distance':>9} {'residual':>9}"]
        for fit in self.fits:
            lines.append(
                f"{fit.source:<16} {fit.target:<16} {fit.site:<20} {fit.before:>9.2e} {fit.after:>9.2e}"
            )
        return "\n".join([*lines, *(f"warning: {message}" for message in self.warnings)])

    def save(self, path: str | Path) -> Path:
        """Write the edit as one safetensors file, a few KiB for each pair.

        Args:
            path: where it goes; its folder is made.

        Returns:
            The path.
        """
        return write_bytes(path, self._bytes())

    def size_bytes(self) -> int:
        """Give the size of the file that ``save`` writes."""
        return len(self._bytes())

    def _bytes(self) -> bytes:
        tensors = {}
        for patch in self.patches:
            tensors[f"{patch.site}.up"] = patch.factors.up.float().contiguous()
            tensors[f"{patch.site}.down"] = patch.factors.down.float().contiguous()
        header = {
            "format": FORMAT,
            "pairs": self.pairs,
            "preserve": self.preserve,
            "choice": asdict(self.choice),
            "fits": [asdict(fit) for fit in self.fits],
            "base": {patch.site: patch.base for patch in self.patches},
        }
        return save(tensors, metadata={"diffwright": json.dumps(header)})

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
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise WeightsMissing(f"No edit at {path}; name a file that ConceptEdit.save wrote.")
        tensors = read_tensors(path)
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads(file.metadata()["diffwright"])
            return cls._parsed(header, tensors)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsCorrupt(f"{path} is not a concept edit ({error}); make it again.") from error

    @classmethod
    def _parsed(cls, header: dict[str, Any], tensors: dict[str, Tensor]) -> ConceptEdit:
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}")
        patches = []
        for site, base in header["base"].items():
            factors = Factors(tensors[f"{site}.up"], tensors[f"{site}.down"])
            if factors.up.ndim != 2 or factors.down.ndim != 2 or factors.up.shape[1] != factors.down.shape[0]:
                raise ValueError(f"the factors of {site} do not fit together")
            patches.append(Patch(site, factors, base))
        return cls(
            patches,
            [(source, target) for source, target in header["pairs"]],
            preserve=header["preserve"],
            choice=Choice.parsed(header["choice"]),
            fits=[Fit(**fit) for fit in header["fits"]],
        )


@torch.no_grad()
def _write(linear: nn.Linear, weight: Tensor) -> None:
    linear.weight.copy_(weight)
