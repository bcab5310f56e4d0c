"""``diffwright batch text``: a word to write, change or erase in the picture of each row of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from diffwright.batch.job import Job, Prepared
from diffwright.batch.rows import Columns, Row
from diffwright.core.errors import ConfigError, InputError
from diffwright.core.results import Result
from diffwright.scenetext.json_edits import REGIONS, Edit


@dataclass(frozen=True, kw_only=True)
class TextJob(Job):
    """Write the word of each row, or erase where the cell is empty.

    Args:
        candidates: How many to draw for each row; the reader ranks them.
        guidance: As for ``SceneTextEditor.write``.
        steps: Likewise.
        seed: First seed of rows without one of their own.
    """

    name: ClassVar[str] = "text"
    columns: ClassVar[Columns] = Columns(
        ("image",),
        (*REGIONS, "font", "color", "bold", "italic", "mix", "instruction", "seed"),
        blank=("write",),
    )

    model: str = "pocket-text"
    base: str | None = None
    candidates: int = 4
    guidance: tuple[float, float] | None = None
    steps: int | None = None
    seed: int = 0

    def prepare(self) -> Prepared:
        """Load the editor."""
        from diffwright.scenetext.editor import SceneTextEditor
        from diffwright.weights.fingerprint import fingerprint

        editor = SceneTextEditor.from_pretrained(self.model, self.device, base=self.base)

        def write(row: Row) -> Result:
            edit = wished(row)
            return editor.write(
                row.path("image"), edit.region, edit.text, edit.font, edit.color, edit.instruction, self.candidates,
                bold=edit.bold, italic=edit.italic, mix=edit.mix, seed=row.seed(self.seed),
                guidance=self.guidance, steps=self.steps,
            )  # fmt: skip

        return Prepared(write, fingerprint(editor.model))


def wished(row: Row) -> Edit:
    """Read what a row asks for, and check its word and style, so that later only the options can be wrong.

    Args:
        row: With the columns of :class:`TextJob`.

    Raises:
        InputError: It has no region or several, a cell is of another kind, the word cannot be written, or the style is
            not known or contradicts itself.

    Example:
        >>> wished(Row(id="a", number=1, values={"write": "OPEN", "box": "4 4 60 20", "mix": "Open Sans 0.3",
        ...                                      "font": "Lato"})).mix
        ('Open Sans', 0.3)
    """
    from diffwright.scenetext.request import request

    cell = row.values.get
    edit = Edit(
        _region(row), row.text("write"), cell("font"), cell("color"), cell("instruction"),
        bold=row.truth("bold"), italic=row.truth("italic"), mix=_mix(row),
    )  # fmt: skip
    try:
        request(
            edit.text, edit.font, edit.color, edit.instruction, bold=edit.bold, italic=edit.italic, mix=edit.mix
        )  # fmt: skip
    except ConfigError as error:
        raise InputError(str(error)) from error
    return edit


def _region(row: Row) -> Any:
    """The box, the points of the polygon or the mask's file: where to write."""
    kind = row.one(REGIONS)
    if kind == "mask":
        return row.path(kind)
    return row.numbers(kind, 4) if kind == "box" else row.points(kind)


def _mix(row: Row) -> tuple[str, float] | None:
    """The other font, whose name may have several words, and its weight."""
    if "mix" not in row.values:
        return None
    *family, weight = row.text("mix").split()
    try:
        mix = " ".join(family), float(weight)
    except ValueError:
        mix = "", 0.0
    if not mix[0]:
        raise InputError(
            f"mix of row {row.id!r} is {row.text('mix')!r}; give another font and its weight, such as Karla 0.3"
        )
    return mix
