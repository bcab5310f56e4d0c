"""A real Ray with two workers on loopback; one is killed."""

import shutil
import sys
import tempfile

import psutil
import pytest

from diffwright.batch.ray_crew import RayCrew, check_address
from diffwright.core.errors import ConfigError, MissingExtra
from tests.batch.fake import GO, job, marks, table
from tests.batch.test_kill import check_whole, driving, wait_until


@pytest.fixture
def short_folder():
    """Ray's sockets need a short path."""
    folder = tempfile.mkdtemp(prefix="dwray")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_ray_worker_is_replaced_and_only_its_row_done_again(tmp_path, short_folder):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'diffwright[batch]'")
    file, out = table(tmp_path / "t.csv", ["hold"] * 2 + ["duck"] * 22), tmp_path / "out"
    (tmp_path / "marks").mkdir()
    with driving(file, out, "local", RAY_TMPDIR=short_folder) as driver:
        wait_until(lambda: len(marks(out, "0*")) == 2 or driver.poll() is not None)
        if driver.poll() is not None:
            problems = driver.communicate()[1]
            assert "timed out during startup" in problems, problems
            pytest.skip("Ray gives itself 30 seconds to start, which this machine did not keep")
        below = psutil.Process(driver.pid).children(recursive=True)
        victim = marks(out, "0*")[0][1]
        next(process for process in below if process.pid == victim).kill()
        wait_until(lambda: len(marks(out, "load")) == 3)
        (tmp_path / "marks" / GO).touch()
        said, problems = driver.communicate(timeout=300)
    assert driver.returncode == 0, problems
    assert said == "24 0 0\n"
    check_whole(out, 24, kills=1)
    assert len(marks(out, "load")) == 3, "each worker loads once: two, and the successor of the killed one"
    assert not psutil.wait_procs(below, timeout=30)[1], "Ray ends with the batch"


@pytest.mark.parametrize("address", ["", "everywhere", "ray://127.0.0.1:10001", "127.0.0.1", "host:port"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match="expected local, auto or HOST:PORT"):
        check_address(address)


def test_another_machine_needs_a_choice_about_strangers(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for address in ("local", "auto", "127.0.0.1:6379", "localhost:6379", "[::1]:6379"):
        check_address(address)
    with pytest.raises(ConfigError, match=r"10\.0\.0\.5:6379, another machine"):
        check_address("10.0.0.5:6379")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.5:6379")
    with pytest.raises(ConfigError, match="another machine"):
        check_address("auto")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    check_address("10.0.0.5:6379")


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with pytest.raises(MissingExtra, match=r"diffwright\[batch\]"):
        RayCrew(job(tmp_path / "out"), tmp_path / "out", 1, "local")
