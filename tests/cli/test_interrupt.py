import os
import signal
import subprocess
import sys
import time

import psutil


def test_a_terminated_command_takes_its_render_workers_along(tmp_path):
    words = ["world", "cache", "--count", 50_000, "--workers", 2, "--out", tmp_path / "renders"]
    command = [sys.executable, "-m", "diffwright.cli.main", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as driver:
        try:
            below = _workers(driver.pid)
            driver.send_signal(signal.SIGTERM)
            said = driver.communicate(timeout=60)[1]
        finally:
            driver.kill()
    _, left = psutil.wait_procs(below, timeout=60)
    for process in left:
        process.kill()
    assert not left
    assert (driver.returncode, said) == (130, "diffwright: interrupted\n")


def _workers(pid):
    """The two rendering processes, once both compute."""
    for _ in range(1200):
        below = [p for p in psutil.Process(pid).children() if "spawn_main" in " ".join(p.cmdline())]
        if len(below) == 2 and all(sum(p.cpu_times()[:2]) > 0.2 for p in below):
            return below
        time.sleep(0.05)
    raise AssertionError("the workers did not start")
