import io
import json
import subprocess
import sys
import time

import pytest
from rich.console import Console

from diffwright.bench import harness
from diffwright.bench.harness import Figure
from diffwright.core.errors import ConfigError, JobFailed


def test_medians_ignore_an_outlier_and_take_turns():
    order = []

    def slow():
        order.append("slow")
        time.sleep(0.2 if len(order) == 3 else 0.004)

    def fast():
        order.append("fast")

    times = harness.interleaved({"slow": slow, "fast": fast}, 5)
    assert order == ["slow", "fast"] * 6
    assert 4 <= times["slow"] < 100
    assert times["fast"] < times["slow"]
    assert harness.median_ms(fast, 3) < 4


def test_no_rounds_are_refused():
    with pytest.raises(ConfigError):
        harness.median_ms(lambda: None, 0)


def test_environment_names_code_machine_and_versions():
    found = harness.environment()
    assert {"commit", "dirty", "date", "machine", "cores", "threads", "diffusers", "load", "busy"} <= set(
        found
    )
    assert found["cores"] >= 1
    assert found["torch"]


def test_a_busy_machine_is_told(monkeypatch):
    monkeypatch.setattr(harness.os, "getloadavg", lambda: (64.0, 1.0, 1.0))
    assert "busy" in harness.environment()["busy"]
    monkeypatch.setattr(harness.os, "getloadavg", lambda: (0.0, 1.0, 1.0))
    assert harness.environment()["busy"] == ""


def test_another_checkout_around_the_package_is_not_its_commit(monkeypatch):
    monkeypatch.setattr(harness, "_git", lambda folder, *words: None if words[0] == "ls-files" else "abc")
    assert harness.environment()["commit"] is None


def test_json_and_table_hold_the_figures(tmp_path):
    figures = {"time": Figure(1.23456, "ms", "lower", "five runs"), "share": Figure(0.5, "", "higher")}
    harness.write_json(tmp_path / "b.json", figures, {"commit": "abc"})
    assert json.loads((tmp_path / "b.json").read_text()) == {
        "figures": {
            "time": {"value": 1.23456, "unit": "ms", "better": "lower", "note": "five runs"},
            "share": {"value": 0.5, "unit": "", "better": "higher"},
        },
        "environment": {"commit": "abc"},
    }
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(harness.table(figures, "bench"))
    text = console.export_text()
    assert all(word in text for word in ("time", "1.235", "ms", "lower", "five runs", "share", "0.5"))


def test_a_figure_that_is_no_number_is_not_written(tmp_path):
    with pytest.raises(JobFailed):
        harness.write_json(tmp_path / "b.json", {"x": Figure(float("nan"), "", "higher")}, {})
    assert not (tmp_path / "b.json").exists()


def test_numbers_are_readable():
    assert [harness.number(v) for v in (0.98765, 12345.6, 3.0, 1e-5)] == ["0.9877", "12346", "3", "1e-05"]


def test_an_unknown_bench_is_refused_with_a_hint():
    with pytest.raises(ConfigError, match="concepts"):
        harness.run("concept")


def test_it_loads_without_torch_and_rich():
    code = "import sys, diffwright.bench.harness as h; h.environment()\n"
    code += "print({'torch', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
