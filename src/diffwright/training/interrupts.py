"""SIGTERM and SIGINT as a wish to stop after the present step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from diffwright.core.errors import Cancelled


class Stop:
    """Whether somebody asked to stop; a second signal, or one where nothing can be lost, stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self.at_once = False

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Note the wish, or raise Cancelled when it is the second or the run said that it is safe."""
        if self.asked or self.at_once:
            raise Cancelled("stopped by a signal; start again to resume from the last checkpoint")
        self.asked = True

    @contextmanager
    def immediately(self) -> Iterator[None]:
        """Let a signal end the work inside at once, because a checkpoint has just been written."""
        self.at_once = True
        try:
            if self.asked:
                raise Cancelled("stopped by a signal; start again to resume from the last checkpoint")
            yield
        finally:
            self.at_once = False


@contextmanager
def watched() -> Iterator[Stop]:
    """Listen to SIGTERM and SIGINT while the block runs (only the main thread can)."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, stop.handle) for number in signals]
    try:
        yield stop
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
