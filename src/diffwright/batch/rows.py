"""The table of a batch: a CSV file with a heading, one row for each result."""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from diffwright.core.errors import InputError

ID = "id"
_NAME = re.compile(r"[\w][\w.-]{0,99}", re.ASCII)
MAX_SEED = 2**62
_MAX_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table.

    Args:
        id: Names the result; letters, digits, ``_``, ``.`` and ``-``.
        number: Line of the row, from 1, the heading not counted.
        values: Cells that are not empty, by column; and empty ones of columns where that says something.
        folder: Absolute folder of the table, from which paths in cells are seen.
        problem: Why the row cannot be used, if its cells do not fit the heading.
    """

    id: str
    number: int
    values: Mapping[str, str]
    folder: str = ""
    problem: str = ""

    @property
    def key(self) -> str:
        """Content of the row, hashed: another content under the same id is another row."""
        content = json.dumps([dict(self.values), self.problem], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def text(self, column: str, default: str | None = None) -> str:
        """Give the content of a cell.

        Raises:
            InputError: It is empty and there is no default.
        """
        value = self.values.get(column, default)
        if value is None:
            raise InputError(f"row {self.id!r} has no {column}; fill the cell")
        return value

    def one(self, columns: Sequence[str], needed: bool = True) -> str:
        """Tell which one of several columns is filled; none is "" where none is needed.

        Raises:
            InputError: Several are filled, or none.
        """
        given = [name for name in columns if name in self.values]
        if len(given) > 1 or (needed and not given):
            raise InputError(
                f"row {self.id!r} has {len(given)} of {', '.join(columns)}; fill"
                f" {'exactly' if needed else 'at most'} one"
            )
        return given[0] if given else ""

    def truth(self, column: str) -> bool:
        """Read a cell of ``true`` or ``false``; an empty one is false.

        Raises:
            InputError: It holds something else.
        """
        value = self.values.get(column, "false")
        if value.lower() not in ("true", "false"):
            raise InputError(f"{column} of row {self.id!r} is {value!r}; give true or false")
        return value.lower() == "true"

    def path(self, column: str) -> Path:
        """Give the file that a cell names, seen from the table's folder.

        Raises:
            InputError: The cell is empty.
        """
        return Path(self.folder) / self.text(column)

    def numbers(self, column: str, count: int) -> tuple[float, ...]:
        """Read a cell of so many numbers, separated by spaces, such as ``40 0``.

        Raises:
            InputError: It holds something else.
        """
        words = self.text(column).split()
        try:
            values = tuple(float(word) for word in words)
        except ValueError:
            values = ()
        if len(values) != count or not all(map(math.isfinite, values)):
            raise InputError(
                f"{column} of row {self.id!r} is {self.text(column)!r}; give {count} number{'s' * (count > 1)}"
                f"{' separated by spaces' * (count > 1)}"
            )
        return values

    def points(self, column: str) -> list[tuple[float, float]]:
        """Read a cell of points such as ``30 12; 50 20``.

        Raises:
            InputError: It holds something else.
        """
        pairs = [Row(id=self.id, number=0, values={column: pair}) for pair in self.text(column).split(";")]
        return [(x, y) for x, y in (pair.numbers(column, 2) for pair in pairs)]

    def seed(self, default: int) -> int:
        """Read the cell ``seed``; an empty one has the default.

        Raises:
            InputError: It holds something else than a whole number from 0 to 2^62.
        """
        value = self.values.get("seed", str(default))
        if not re.fullmatch(r"\d{1,19}", value, re.ASCII) or int(value) > MAX_SEED:
            raise InputError(f"seed of row {self.id!r} is {value!r}; give a whole number from 0 to 2^62")
        return int(value)


@dataclass(frozen=True)
class Columns:
    """Which columns a table must and may have, apart from ``id``.

    Args:
        required: Must be there, and filled in each row.
        optional: May be left out or empty.
        blank: Must be there; an empty cell is a value of its own.
    """

    required: Sequence[str]
    optional: Sequence[str] = field(default=())
    blank: Sequence[str] = field(default=())

    def check(self, file: Path, heading: Sequence[str]) -> None:
        """Check a table's heading.

        Raises:
            InputError: A column is missing, unknown, or there twice.
        """
        needed = [*self.required, *self.blank]
        known = [*needed, *self.optional, ID]
        told = f"it needs {_listed(needed)} and may have {_listed([*self.optional, ID])}"
        missing = [name for name in needed if name not in heading]
        if missing:
            raise InputError(
                f"{file} has no column {_listed(missing)}; its first line reads {', '.join(heading)!r}, {told}"
            )
        for name in heading:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else f"; {told}"
                raise InputError(f"{file} has the unknown column {name!r}{hint}")
            if heading.count(name) > 1:
                raise InputError(f"{file} has the column {name!r} twice; rename or remove one")


def read_rows(file: str | PathLike[str], columns: Columns) -> list[Row]:
    """Read a table.

    Without a column ``id``, rows are named by their number: ``00001``, ``00002``. A row with too many cells, or
    without one that is required, is kept with its ``problem``, so that it does not stop the others.

    Args:
        file: UTF-8 CSV; the first line names the columns.
        columns: Which are needed.

    Returns:
        The rows, in order.

    Raises:
        InputError: The file is missing or no such table, a column is missing or unknown, an id is there twice or
            cannot name a folder.
    """
    file = Path(file)
    heading, *lines = [line for line in _lines(file) if any(line)] or [[]]
    if not lines:
        raise InputError(f"{file} holds no row; give a line of column names and a line for each job")
    columns.check(file, heading)
    folder = str(file.parent.absolute())
    rows = [_row(number, heading, cells, columns, folder) for number, cells in enumerate(lines, 1)]
    seen: dict[str, int] = {}
    for row in rows:
        if not _NAME.fullmatch(row.id):
            raise InputError(
                f"row {row.number} of {file} has the id {row.id[:120]!r}; an id names a folder, so give up to 100"
                " letters, digits, '_', '.' and '-', the first no '.' or '-'"
            )
        first = seen.setdefault(row.id.casefold(), row.number)
        if first != row.number:
            raise InputError(
                f"rows {first} and {row.number} of {file} have the same id {row.id!r}; rename one"
            )
    return rows


def _lines(file: Path) -> list[list[str]]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise InputError(f"{file} is larger than {_MAX_BYTES >> 30} GiB; split the table")
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return [[cell.strip() for cell in line] for line in csv.reader(stream, strict=True)]
    except FileNotFoundError as error:
        raise InputError(f"{file} is not there; name a CSV file") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} cannot be read as a table ({error}); give a UTF-8 CSV file") from error


def _row(number: int, heading: list[str], cells: list[str], columns: Columns, folder: str) -> Row:
    values = {name: cell for name, cell in zip(heading, cells, strict=False) if cell or name in columns.blank}
    missing = [name for name in columns.required if name not in values]
    problem = f"it has no {_listed(missing)}; fill the cell" if missing else ""
    cut = [name for name in columns.blank if name not in values]
    if cut:
        problem = f"it has {len(cells)} cells for {len(heading)} columns, none for {_listed(cut)}; add it, even empty"
    if len(cells) > len(heading):
        problem = f"it has {len(cells)} cells for {len(heading)} columns; quote cells that hold a comma, or remove some"
    name = values.pop(ID, "") if ID in heading else f"{number:05d}"
    return Row(id=name, number=number, values=values, folder=folder, problem=problem)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
