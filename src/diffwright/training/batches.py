"""Batches built ahead of the step that needs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from accelerate.utils import recursively_apply


@contextmanager
def batches(build: Callable[[int], Any], first: int, ahead: int) -> Iterator[Iterator[Any]]:
    """Give the batches from step `first` on, in order.

    Args:
        build: makes the batch of a step; it runs in one background thread.
        first: number of the first step.
        ahead: batches built ahead; 0 builds each when it is asked for, in the caller's thread.

    Yields:
        An endless iterator over the batches; an error in `build` is raised where its batch is asked for.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")

    def stream() -> Iterator[Any]:
        step, waiting = first, deque[Future[Any]]()
        while True:
            while len(waiting) < ahead:
                waiting.append(pool.submit(build, step + len(waiting)))
            yield waiting.popleft().result() if waiting else build(step)
            step += 1

    try:
        yield stream()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def pinned(batch: Any) -> Any:
    """Move the CPU tensors of a batch (in tuples, lists and dicts) to pinned memory for faster copies."""
    return recursively_apply(lambda t: t.pin_memory() if t.device.type == "cpu" else t, batch)
