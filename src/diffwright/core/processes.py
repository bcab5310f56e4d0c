"""Worker processes that never outlive the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess


def end_with_parent() -> None:
    """Tie a worker process to its parent; call it first thing in the worker.

    The worker ends at once when its parent is gone, however that ended, even by SIGKILL. Ctrl-C reaches all
    processes of a terminal; the worker leaves it to the parent, which ends its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)  # sys.exit would only end this thread
