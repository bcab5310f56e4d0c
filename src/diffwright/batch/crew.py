"""What the engine and those who schedule workers say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from diffwright.batch.rows import Row


@dataclass(frozen=True)
class Said:
    """What was heard of a worker.

    Args:
        worker: Its number.
        what: ``ready`` with the fingerprint of its weights, ``line`` of a finished row, ``stop`` with the error
            that ends the batch, or ``died`` with how.
        content: As above.
    """

    worker: int
    what: Literal["ready", "line", "stop", "died"]
    content: Any = None


class Crew(Protocol):
    """Starts workers and carries rows to them: processes of this machine, or Ray's actors."""

    def start(self, worker: int) -> None:
        """Start a worker that loads the job and then is ready."""
        ...

    def give(self, worker: int, row: Row) -> None:
        """Give a row to a worker that is ready."""
        ...

    def listen(self) -> list[Said]:
        """Wait until something is heard."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...
