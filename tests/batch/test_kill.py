"""Processes are killed for good, at any moment; what was finished stays, what was in flight is done again."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.batch.fake import marks, table

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


def wait_until(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


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


def test_killed_drivers_and_workers_lose_and_repeat_only_rows_in_flight(tmp_path):
    file = table(tmp_path / "t.csv", ["duck,0.03"] * ROWS)
    out, moments, kept = tmp_path / "out", random.Random(5), {}
    (tmp_path / "marks").mkdir()
    for number in range(3):
        with driving(file, out) as driver:
            wait_until(lambda: len(results(out)) > len(kept))  # noqa: B023
            time.sleep(moments.uniform(0, 0.2))
            driver.kill()
            driver.wait()
        workers = {pid for name, pid in marks(out, "load")}
        assert gone(workers), "workers end with their driver"
        before, kept = kept, results(out)
        assert before.items() <= kept.items(), "no finished row was touched"
        assert len(kept) < ROWS, f"the batch ended before kill {number}; make its rows slower"
    with driving(file, out) as driver:
        for _ in range(3):
            seen = len(results(out))
            wait_until(lambda: len(results(out)) > seen)  # noqa: B023
            last = [pid for name, pid in marks(out) if name != "load" and psutil.pid_exists(pid)]
            psutil.Process(moments.choice(last)).kill()
        said, problems = driver.communicate(timeout=120)
    assert (driver.returncode, problems) == (0, "")
    assert said == f"{ROWS} 0 {len(kept)}\n"
    assert kept.items() <= results(out).items()
    check_whole(out, ROWS, kills=3 * WORKERS + 3)
