"""A real Ray with two workers on loopback; one is killed."""

import shutil
import tempfile

import psutil
import pytest

from diffwright.batch.ray_crew import check_address
from diffwright.core.errors import ConfigError
from tests.batch.fake import marks, table
from tests.batch.test_kill import check_whole, driving, wait_until


@pytest.fixture
def short_folder():
    """Ray's sockets need a short path."""
    folder = tempfile.mkdtemp(prefix="dwray")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_killed_ray_worker_is_replaced_and_only_its_row_done_again(tmp_path, short_folder):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'diffwright[batch]'")
    file, out = table(tmp_path / "t.csv", ["duck,0.05"] * 24), tmp_path / "out"
    (tmp_path / "marks").mkdir()
    with driving(file, out, "local", RAY_TMPDIR=short_folder) as driver:
        wait_until(lambda: len({pid for name, pid in marks(out) if name != "load"}) == 2)
        below = psutil.Process(driver.pid).children(recursive=True)
        victim = marks(out)[-1][1]
        psutil.Process(victim).kill()
        said, problems = driver.communicate(timeout=200)
    assert driver.returncode == 0, problems
    assert said == "24 0 0\n"
    check_whole(out, 24, kills=1)
    assert len(marks(out, "load")) == 3, "two workers and the successor of the killed one"
    assert not psutil.wait_procs(below, timeout=30)[1], "Ray ends with the batch"


@pytest.mark.parametrize("address", ["", "everywhere", "ray://127.0.0.1:10001", "127.0.0.1", "host:port"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match="expected local, auto or HOST:PORT"):
        check_address(address)


def test_another_machine_needs_a_choice_about_strangers(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    for address in ("local", "auto", "127.0.0.1:6379", "localhost:6379", "[::1]:6379"):
        check_address(address)
    with pytest.raises(ConfigError, match=r"10\.0\.0\.5:6379, another machine"):
        check_address("10.0.0.5:6379")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    check_address("10.0.0.5:6379")
