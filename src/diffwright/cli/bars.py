"""Progress with the time left, on a terminal; silence elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from diffwright.core.progress import Progress


@contextmanager
def shown() -> Iterator[Progress | None]:
    """Give a progress callback that draws one bar for each step of the work.

    Yields:
        The callback, or None when standard error is not a terminal.
    """
    if not sys.stderr.isatty():
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
            if what not in bars:
                bars[what] = display.add_task(what, total=total)
            display.update(bars[what], completed=done, total=total)

        yield update
