"""``diffwright fix apply``, ``revert``, ``compose`` and ``export``: what is done with saved edits."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffwright.cli.flags import ModelFlags, OutputFlags
from diffwright.cli.places import apart
from diffwright.core.checks import in_range
from diffwright.core.errors import InputError

Repeated = tyro.conf.UseAppendAction


@dataclass(frozen=True, kw_only=True)
class Apply(ModelFlags, OutputFlags):
    """Write a copy of the model with an edit in its weights; "generate --with" needs no copy.

    diffwright fix apply --edit mug-to-duck --strength 0.7 --out edited-model
    """

    edit: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder or file of an edit."""
    strength: float = 1.0
    """1 for the whole edit, 0.5 for half of it, a negative number for the opposite."""
    out: Path
    """Folder for the edited model."""

    def run(self) -> None:
        """Apply and save."""
        in_range("strength", self.strength, -100, 100)

        from diffwright.concepts.concept_edit import ConceptEdit
        from diffwright.concepts.edited_folder import save_edited
        from diffwright.core.atomic import refuse_foreign

        apart((self.out, self.json), self.edit, self.model)
        refuse_foreign(self.out)
        edit = ConceptEdit.load(self.edit).scaled(self.strength)
        notes = _nothing(self.strength)
        save_edited(self.load(), edit, self.out)
        record = {"out": str(self.out), "pairs": list(edit.pairs), "warnings": notes}
        self.say(record, _with(f"edited model in {self.out}", notes))


@dataclass(frozen=True, kw_only=True)
class Revert(ModelFlags, OutputFlags):
    """Write the base model again from a folder that "fix apply" made, bit by bit.

    diffwright fix revert --model edited-model --out base-model
    """

    out: Path
    """Folder for the base model."""

    def run(self) -> None:
        """Put the kept weights back and save."""
        from diffwright.concepts.edited_folder import save_reverted
        from diffwright.core.atomic import refuse_foreign

        apart((self.out, self.json), self.model)
        refuse_foreign(self.out)
        save_reverted(self.load(), self.model, self.out)
        self.say({"out": str(self.out)}, f"base model in {self.out}")


@dataclass(frozen=True, kw_only=True)
class Compose(OutputFlags):
    """Join edits of one base model into one.

    diffwright fix compose --edit mug-to-duck --edit red-to-blue --strength 1 --strength 0.5 --out both.safetensors
    """

    edit: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR"), Repeated] = ()
    """Folder or file of an edit; repeat it."""
    strength: Annotated[tuple[float, ...], tyro.conf.arg(metavar="FLOAT"), Repeated] = ()
    """Strength of each edit, in their order; all 1 without it."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The file of the joined edit."""

    def run(self) -> None:
        """Join and save."""
        strengths = self.strength or (1.0,) * len(self.edit)
        if len(strengths) != len(self.edit):
            raise InputError(
                f"Got {len(self.edit)} --edit and {len(strengths)} --strength; give one for each or none."
            )
        for strength in strengths:
            in_range("strength", strength, -100, 100)

        from diffwright.concepts.concept_edit import ConceptEdit

        apart((self.out, self.json), *self.edit)
        _refuse_other(self.out)
        edits = [ConceptEdit.load(path).scaled(s) for path, s in zip(self.edit, strengths, strict=True)]
        joined = ConceptEdit.compose(edits)
        joined.save(self.out)
        notes = _nothing(*strengths)
        record = {"out": str(self.out), "pairs": list(joined.pairs), "warnings": notes}
        self.say(record, _with(f"{joined.report()}\njoined in {self.out}", notes))


@dataclass(frozen=True, kw_only=True)
class Export(OutputFlags):
    """Write an edit as a LoRA file for other programs.

    diffwright fix export --edit mug-to-duck --out mug-to-duck-lora.safetensors
    """

    edit: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder or file of an edit."""
    keys: Literal["kohya", "diffusers"] = "kohya"
    """How the layers are named: as most interfaces read them, or as diffusers does."""
    rank: int | None = None
    """Directions to keep at most; all without it."""
    strength: float = 1.0
    """Strength that the file has at scale 1."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The safetensors file."""

    def run(self) -> None:
        """Convert and save."""
        in_range("strength", self.strength, -100, 100)

        from diffwright.concepts.concept_edit import ConceptEdit

        apart((self.out, self.json), self.edit)
        _refuse_other(self.out)
        edit = ConceptEdit.load(self.edit).scaled(self.strength)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", UserWarning)
            edit.export_lora(self.out, keys=self.keys, rank=self.rank)
        notes = [*_nothing(self.strength), *(str(warning.message) for warning in told)]
        record = {"out": str(self.out), "keys": self.keys, "pairs": list(edit.pairs), "warnings": notes}
        size = self.out.stat().st_size / 1024
        self.say(record, _with(f"LoRA in {self.out}, {size:.1f} KiB", notes))


def _refuse_other(path: Path) -> None:
    """Refuse to write over a file that is no edit and no LoRA: whatever else it is, nobody asked to lose it."""
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        raise InputError(f"--out is {path}; edits and LoRA files are named FILE.safetensors")
    if path.is_dir():
        raise InputError(f"--out {path} is a folder; name a file in it, such as {path / 'edit.safetensors'}")
    if not path.exists():
        return
    try:
        with safe_open(path, framework="pt") as file:
            ours = "diffwright" in (file.metadata() or {}) or any("lora" in name for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError):
        ours = False
    if not ours:
        raise InputError(f"{path} exists and is neither an edit nor a LoRA; name another file")


def _nothing(*strengths: float) -> list[str]:
    return ["a strength of 0 changes nothing"] if 0 in strengths else []


def _with(text: str, notes: list[str]) -> str:
    return "\n".join([text, *(f"warning: {note}" for note in notes)])
