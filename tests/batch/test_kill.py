"""Processes are killed for good, at any moment; what was finished stays, what was in flight is done again."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.batch.fake import GO, marks, table

ROOT = Path(__file__).parents[2]
ROWS, WORKERS = 80, 2


@contextmanager
def driving(file, out, *ray, **environment):
    words = [sys.executable, "-m", "tests.batch.fake", file, out, WORKERS, *ray]
    given = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    driver = subprocess.Popen(list(map(str, words)), cwd=ROOT, env=given, **pipes)
    try:
        yield driver
    finally:
        driver.kill()
        driver.communicate()


def results(out):
    return {path.parent.name: path.read_text() for path in out.glob("results/[0-9]*/row.json")}


def wait_until(true, seconds=240):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def workers_of(driver):
    below = psutil.Process(driver.pid).children()
    return [process for process in below if "spawn_main" in _command(process)]


def _command(process):
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def gone(pids):
    alive = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return not psutil.wait_procs(alive, timeout=60)[1]


def check_whole(out, rows, kills):
    """Every row has one result and one line, and none but those in flight was started twice."""
    assert len(results(out)) == rows
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert sorted(line["id"] for line in lines) == sorted(results(out))
    assert {path.name for path in (out / "results").iterdir()} == set(results(out)), "nothing half-written"
    starts = Counter(name for name, _ in marks(out) if name != "load")
    assert sum(starts.values()) - rows <= kills


@pytest.mark.timeout(600)
def test_killed_drivers_and_workers_lose_and_repeat_only_rows_in_flight(tmp_path):
    file = table(tmp_path / "t.csv", ["duck,0.03"] * (ROWS - 1) + ["hold"])
    out, moments, kept = tmp_path / "out", random.Random(5), {}
    (tmp_path / "marks").mkdir()
    for _ in range(3):
        with driving(file, out) as driver:
            wait_until(lambda: len(results(out)) > min(len(kept), ROWS - 2))  # noqa: B023
            time.sleep(moments.uniform(0, 0.2))
            assert driver.poll() is None
            driver.kill()
            driver.wait()
        workers = {pid for name, pid in marks(out, "load")}
        assert gone(workers), "workers end with their driver"
        before, kept = kept, results(out)
        assert before.items() <= kept.items(), "no finished row was touched"
    with driving(file, out) as driver:
        for _ in range(2):
            seen = len(results(out))
            wait_until(lambda: len(results(out)) > min(seen, ROWS - 2) and workers_of(driver))  # noqa: B023
            moments.choice(workers_of(driver)).kill()
        (tmp_path / "marks" / GO).touch()
        said, problems = driver.communicate(timeout=240)
    assert (driver.returncode, problems) == (0, "")
    assert said == f"{ROWS} 0 {len(kept)}\n"
    assert kept.items() <= results(out).items()
    check_whole(out, ROWS, kills=3 * WORKERS + 2)
