"""Progress with the time left, on a terminal; silence elsewhere."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from diffwright.core.progress import Progress


@contextmanager
def shown() -> Iterator[Progress | None]:
    """Give a progress callback that draws one bar for each step of the work.

    Yields:
        The callback, or None when standard error is not a terminal, or in all but the first of several
        training processes.
    """
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield None
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TextColumn("left"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as display:
        bars: dict[str, rich.TaskID] = {}

        def update(what: str, done: int, total: int) -> None:
            """Draw; a total of 0 is one that is not known yet."""
            if what not in bars:
                bars[what] = display.add_task(what, total=total or None)
            display.update(bars[what], completed=done, total=total or None)

        yield update
