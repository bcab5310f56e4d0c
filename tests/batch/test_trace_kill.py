"""A kill as in test_kill, of causal traces of a tiny model by the command line."""

import json
import os
import subprocess
import sys

import psutil
import pytest

from tests.batch.fake import table
from tests.batch.test_kill import wait_until
from tests.support import tiny

ROWS = 40  # enough that a fast machine is killed before the last


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_traces_go_on_after_their_driver_was_killed(tmp_path):
    tiny.folder("sd1", tmp_path / "model")
    prompts = table(tmp_path / "t.csv", ["the red mug,mug", "the cat,cat"] * (ROWS // 2), "prompt,subject")
    out, record = tmp_path / "out", tmp_path / "r.json"
    words = ["batch", "trace", prompts, "--out", out, "--model", tmp_path / "model", "--json", record]
    words += ["--steps", 1, "--seeds", 1, "--text", "--metric", "embedding"]
    command = [sys.executable, "-m", "diffwright.cli.main", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

    def written():
        finished = out.glob("results/[!.]*/row.json")  # a folder with a dot was being written at the kill
        return {path: path.stat().st_ino for path in finished}

    with subprocess.Popen(command, env=environment) as driver:
        wait_until(lambda: written() or driver.poll() is not None, 300)
        below = psutil.Process(driver.pid).children()
        driver.kill()
    assert not psutil.wait_procs(below, timeout=60)[1], "the worker ends with its driver"
    first = written()
    assert 0 < len(first) < ROWS
    subprocess.run(command, env=environment, check=True)
    last = written()
    assert len(last) == ROWS
    assert first.items() <= last.items(), "what was finished was not written again"
    said = json.loads(record.read_text())
    assert (said["done"], said["errors"], said["earlier"]) == (ROWS, 0, len(first))
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines) == ROWS
    assert {path.name for path in (out / "results").iterdir()} == {path.parent.name for path in last}
