"""One callback for progress and cancelling, shared by every long call."""

from collections.abc import Callable

from diffwright.core.errors import Cancelled

Progress = Callable[[str, int, int], bool | None]
"""Called as ``progress(what, done, total)``; returning True, or raising Cancelled, stops the run."""


def report(progress: Progress | None, what: str, done: int, total: int) -> None:
    """Tell the caller how far the work is, and stop if the caller asks for it.

    Args:
        progress: the caller's callback, or None for silence.
        what: name of the step, such as ``"denoising"``.
        done: finished units, 0 to ``total``.
        total: all units of this step.

    Raises:
        Cancelled: the callback returned True.
    """
    if progress is not None and progress(what, done, total) is True:
        raise Cancelled(f"stopped by the caller during {what}, after {done} of {total}")
