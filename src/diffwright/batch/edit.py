"""``diffwright batch edit``: an edit of the picture of each row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from diffwright.batch.job import Job, Prepared
from diffwright.batch.rows import Columns, Row
from diffwright.core.checks import one_of
from diffwright.core.errors import ConfigError, InputError
from diffwright.core.results import Result

if TYPE_CHECKING:
    import numpy as np

    from diffwright.editing.editor import ImageEditor
    from diffwright.editing.operations import Operation

REGION = ("mask", "box", "point")
REFERENCE = ("reference", "reference_mask", "reference_box", "reference_point")
CELLS = {
    "move": (*REGION, "by", "scale"),
    "resize": (*REGION, "scale"),
    "drag": (*REGION, "start", "end"),
    "replace": (*REGION, *REFERENCE),
    "paste": (*REFERENCE, "at", "scale"),
    "remove": REGION,
}
"""Columns that each edit reads, apart from image, prompt and seed."""


@dataclass(frozen=True, kw_only=True)
class EditJob(Job):
    """Do the edit that each row names.

    Args:
        loading: Of ``diffwright.load``: dtype, revision, variant.
        image_prompt: As for ``ImageEditor.from_pretrained``.
        image_encoder: Likewise.
        preset: Name of the preset.
        steps: Other steps than the preset's.
        keep_outside: Whether pixels away from the edit keep their bytes.
        seed: First seed of rows without one of their own.
        count: Pictures a row, with consecutive seeds.
    """

    name: ClassVar[str] = "edit"
    columns: ClassVar[Columns] = Columns(
        ("image", "edit"), ("prompt", "seed", *REGION, "by", "scale", "start", "end", *REFERENCE, "at")
    )

    model: str = "pocket"
    loading: Mapping[str, Any] = field(default_factory=dict)
    image_prompt: str | None = None
    image_encoder: str | None = None
    preset: str = "balanced"
    steps: int | None = None
    keep_outside: bool = True
    seed: int = 0
    count: int = 1

    def prepare(self) -> Prepared:
        """Load the editor."""
        from diffwright.editing.editor import ImageEditor
        from diffwright.editing.presets import preset
        from diffwright.weights.fingerprint import fingerprint

        settings = preset(self.preset)
        if self.steps is not None:
            settings = replace(settings, steps=self.steps)
        where = {"device": self.device, "offline": self.offline}
        editor = ImageEditor.from_pretrained(
            self.model,
            preset=settings,
            image_prompt=self.image_prompt,
            image_encoder=self.image_encoder,
            **where,
            **self.loading,
        )
        shown: list[Any] = []  # the picture whose inversion the editor holds

        def edit(row: Row) -> Result:
            first = row.seed(self.seed)
            seeds = range(first, first + self.count)
            try:
                picture = [row.path("image"), row.text("prompt", "")]
                if picture != shown:
                    shown.clear()
                    editor.set_image(*picture)
                    shown.extend(picture)
                return editor.edit([operation(row, editor)], seed=seeds, keep_outside=self.keep_outside)
            except ConfigError as error:  # the row's numbers, for the options were checked above
                raise InputError(str(error)) from error

        return Prepared(edit, fingerprint(editor.pipe))


def operation(row: Row, editor: ImageEditor) -> Operation:
    """Read what a row asks for.

    Args:
        row: With the cells of ``CELLS``.
        editor: Finds objects in its picture.

    Raises:
        InputError: A cell is missing, of another kind, or of another edit.
        ConfigError: There is no such edit.
    """
    from diffwright.editing.operations import Drag, Move, Paste, Remove, Replace, Resize

    kind = row.text("edit")
    one_of(f"edit of row {row.id!r}", kind, CELLS)
    foreign = set(row.values) - {"image", "edit", "prompt", "seed", *CELLS[kind]}
    if foreign:
        raise InputError(f"row {row.id!r} is a {kind}, which has no {min(foreign)}; empty the cell")
    scale = row.numbers("scale", 1)[0] if "scale" in row.values else 1.0
    if kind == "drag":
        region = _region(row, needed=False)
        mask = None if region is None else editor.select(region)
        return Drag(tuple(row.points("start")), tuple(row.points("end")), mask)
    if kind == "paste":
        return Paste(*_reference(row), _two(row, "at"), scale)
    mask = editor.select(_region(row))
    if kind == "move":
        return Move(mask, _two(row, "by"), scale)
    if kind == "resize":
        return Resize(mask, row.numbers("scale", 1)[0])
    if kind == "replace":
        return Replace(mask, *_reference(row))
    return Remove(mask)


def _region(row: Row, before: str = "", needed: bool = True) -> Any:
    """The mask's file, the box or the point that says which object is meant."""
    given = row.one([before + name for name in REGION], needed)
    if not given:
        return None
    if given.endswith("mask"):
        return row.path(given)
    return row.numbers(given, 4 if given.endswith("box") else 2)


def _reference(row: Row) -> tuple[np.ndarray, np.ndarray]:
    from diffwright.core.images import load_image
    from diffwright.editing.masks import choose

    picture = load_image(row.path("reference"))
    return picture, choose(picture, _region(row, "reference_"))


def _two(row: Row, column: str) -> tuple[float, float]:
    x, y = row.numbers(column, 2)
    return x, y
