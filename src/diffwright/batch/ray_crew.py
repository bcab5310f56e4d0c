"""Workers as Ray's actors: Ray places them on machines and tells when one is gone, and does nothing else.

Ray's own data pipelines keep finished rows in memory until a block is written, and drop a whole block for one bad
row; so rows are written by the same worker as without Ray, and the same engine keeps account.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from diffwright.batch.crew import Said
from diffwright.batch.job import Job, Worker, portable
from diffwright.batch.rows import Row
from diffwright.core.errors import ConfigError, JobFailed, MissingExtra

LOCAL, AUTO = "local", "auto"
LOOPBACK = "127.0.0.2"  # Ray takes 127.0.0.1 for this machine's outer address
STORE_BYTES = 10**8  # of Ray's object store, through which only rows and lines pass


class RayCrew:
    """Actors of a Ray cluster, one CPU each, and one GPU each if the job's device is ``cuda``.

    Args:
        job: What is done.
        out: Folder of the batch, which all machines of the cluster share.
        workers: How many there will be at a time.
        address: ``local`` starts Ray on this machine's loopback, ``auto`` joins the cluster that runs here, and
            HOST:PORT another one.

    Raises:
        ConfigError: The address is none, no cluster answers there, it has no GPU where one is needed, or it is
            another machine and anybody may use it.
        JobFailed: Ray does not start on this machine.
        MissingExtra: Ray is not installed.
    """

    def __init__(self, job: Job, out: Path, workers: int, address: str) -> None:
        check_address(address)
        self.job, self.out = job, out
        self.threads = max(1, (os.cpu_count() or 1) // workers) if address == LOCAL else 1
        self.gpus = int((job.device or "").startswith("cuda"))
        self.actors: dict[int, Any] = {}
        self.awaited: dict[Any, int] = {}
        with ExitStack() as opened:
            opened.enter_context(redirect_stdout(sys.stderr))  # Ray prints when a worker dies
            self.ray, ours = _connected(address, workers)
            if ours:
                opened.callback(self.ray.shutdown)
            if self.gpus and not self.ray.cluster_resources().get("GPU"):
                raise ConfigError(
                    f"device is {job.device!r}, but no machine of the cluster has a GPU; use cpu"
                )
            self.opened = opened.pop_all()

    def start(self, worker: int) -> None:
        """Start an actor."""
        kind = self.ray.remote(num_cpus=1, num_gpus=self.gpus, max_restarts=0)(_Actor)
        self.actors[worker] = kind.remote(self.job, self.out, self.threads)
        self.awaited[self.actors[worker].load.remote()] = worker

    def give(self, worker: int, row: Row) -> None:
        """Send a row."""
        self.awaited[self.actors[worker].finish.remote(row)] = worker

    def listen(self) -> list[Said]:
        """Wait for answers."""
        ready, _ = self.ray.wait([*self.awaited], num_returns=1)
        return [self._heard(answer) for answer in ready]

    def close(self) -> None:
        """End all actors, and Ray where it was started or joined here."""
        for actor in self.actors.values():
            self.ray.kill(actor)
        self.actors.clear()
        self.awaited.clear()
        self.opened.close()

    def _heard(self, answer: Any) -> Said:
        worker = self.awaited.pop(answer)
        try:
            what, content = self.ray.get(answer)
        except self.ray.exceptions.RayError as error:
            del self.actors[worker]
            return Said(worker, "died", str(error).splitlines()[0])
        return Said(worker, what, content)


class _Actor:
    """What Ray runs: loads the job, then finishes one row a call."""

    def __init__(self, job: Job, out: Path, threads: int) -> None:
        self.given = job, out, threads

    def load(self) -> tuple[str, Any]:
        try:
            self.worker = Worker.start(*self.given)
        except Exception as error:
            return "stop", portable(error)
        return "ready", self.worker.prepared.model

    def finish(self, row: Row) -> tuple[str, Any]:
        try:
            return "line", self.worker.finish(row)
        except Exception as error:
            return "stop", portable(error)


def check_address(address: str) -> None:
    """Check where a cluster is, and that it is not open to strangers.

    Raises:
        ConfigError: It is no address, or another machine and Ray's authentication was not chosen.
    """
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS", AUTO)
    host, colon, port = address.rpartition(":")
    if address in (LOCAL, AUTO):
        return
    if not (colon and host and port.isdecimal() and "/" not in host):
        raise ConfigError(f"--ray is {address!r}, expected local, auto or HOST:PORT")
    if not _is_loopback(host) and "RAY_AUTH_MODE" not in os.environ:
        raise ConfigError(
            f"--ray is {address}, another machine, and Ray lets everyone who reaches it run programs there; set"
            " RAY_AUTH_MODE=token and a token, or RAY_AUTH_MODE=disabled if nobody else reaches it"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _connected(address: str, workers: int) -> tuple[Any, bool]:
    """Give the module, connected, and whether that was done here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    if address == LOCAL and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        with _own_sigterm():
            import ray
            import ray.exceptions

            if ray.is_initialized():
                return ray, False
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            if address == LOCAL:
                quiet |= {"include_dashboard": False, "_node_ip_address": LOOPBACK}
                ray.init(num_cpus=workers, object_store_memory=STORE_BYTES, **quiet)
            else:
                ray.init(address=address, **quiet)
    except ImportError as error:
        raise MissingExtra("--ray needs Ray: pip install 'diffwright[batch]', or leave --ray out") from error
    except Exception as error:  # Ray raises plain ones
        reason = str(error).partition("\n")[0]
        if address == LOCAL:
            raise JobFailed(
                f"Ray did not start on this machine ({reason}); try again, or leave --ray out"
            ) from error
        raise ConfigError(
            f"no Ray cluster answers at {address!r} ({reason}); start one with `ray start --head`, or use --ray local"
        ) from error
    return ray, True


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep our handler, which Ray replaces when it is imported and when it starts."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)
