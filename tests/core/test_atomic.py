import errno
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest

from diffwright.core.atomic import directory, refuse_foreign, write_bytes, write_json, write_text
from diffwright.core.errors import InputError, JobFailed

CALLS = [
    (Path, "open"),
    (Path, "replace"),
    (Path, "rename"),
    (Path, "mkdir"),
    (Path, "write_text"),
    (os, "fsync"),
    (os, "open"),
]


@contextmanager
def full_disk_at(monkeypatch, number):
    """Let the disk be full at the given call of a file function, counted over all of them."""
    count = iter(range(10**6))
    with monkeypatch.context() as patch:
        for owner, name in CALLS:
            real = getattr(owner, name)

            def faulty(*args, _real=real, _name=name, **kwargs):
                reads = _name == "open" and args[1:] in ((), ("r",), ("rb",))
                if not reads and next(count) == number:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return _real(*args, **kwargs)

            patch.setattr(owner, name, faulty)
        yield


@contextmanager
def files_of_at_most(size):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def leftovers(folder):
    return [path.name for path in folder.rglob("*") if path.name.endswith(".tmp")]


def test_file_is_old_or_new_whatever_call_fails(tmp_path, monkeypatch):
    target, failures = tmp_path / "file.bin", 0
    for number in range(100):
        write_bytes(target, b"old")
        try:
            with full_disk_at(monkeypatch, number):
                write_bytes(target, b"new" * 1000)
        except JobFailed:
            failures += 1
            assert target.read_bytes() in (b"old", b"new" * 1000)
            assert not leftovers(tmp_path)
        else:
            break
    assert failures >= 4
    assert target.read_bytes() == b"new" * 1000


@pytest.mark.parametrize("existed", [False, True])
def test_folder_is_old_or_new_whatever_call_fails(tmp_path, monkeypatch, existed):
    target, failures = tmp_path / "out", 0
    for number in range(200):
        if existed and not target.exists():
            with directory(target) as temporary:
                (temporary / "a.txt").write_text("old")
        try:
            with full_disk_at(monkeypatch, number), directory(target) as temporary:
                write_text(temporary / "a.txt", "new")
                write_json(temporary / "b.json", {"b": 1})
        except JobFailed:
            failures += 1
            names = sorted(path.name for path in target.iterdir()) if target.exists() else []
            assert names in ([".diffwright", "a.txt"] if existed else [], [".diffwright", "a.txt", "b.json"])
            assert not leftovers(tmp_path)
            assert not existed or target.exists()
        else:
            break
    assert failures >= 10
    assert (target / "a.txt").read_text() == "new"


def test_a_write_cut_short_by_the_system_leaves_the_old_file(tmp_path):
    target = write_bytes(tmp_path / "file.bin", b"old")
    for size in (0, 1, 4095, 4096, 65536):
        with files_of_at_most(size), pytest.raises(JobFailed, match=r"file\.bin could not be written"):
            write_bytes(target, b"x" * 70_000)
        assert target.read_bytes() == b"old"
        assert not leftovers(tmp_path)


def test_folder_whose_filling_fails_is_absent(tmp_path):
    def fill_half():
        with directory(tmp_path / "out") as temporary:
            (temporary / "half.txt").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fill_half()
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_output_is_replaced_whole(tmp_path):
    for name in ("first.txt", "second.txt"):
        with directory(tmp_path / "out") as temporary:
            (temporary / name).write_text(name)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".diffwright", "second.txt"]


def test_a_foreign_folder_is_refused_before_and_after(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    refuse_foreign(out)
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"thesis\.tex"), directory(out):
        pytest.fail("the block must not run")
    assert (out / "thesis.tex").read_text() == "mine"


def test_a_file_added_to_an_earlier_output_protects_it(tmp_path):
    with directory(tmp_path / "out") as temporary:
        (temporary / "a.txt").write_text("a")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"), directory(tmp_path / "out"):
        pytest.fail("the block must not run")


def test_a_file_or_link_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(InputError), directory(tmp_path / name):
            pytest.fail("the block must not run")


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_what_json_cannot_express_is_not_written(tmp_path, value):
    with pytest.raises(JobFailed):
        write_json(tmp_path / "a.json", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_a_parent_that_is_a_file_is_a_typed_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(JobFailed):
        write_text(tmp_path / "file" / "a.txt", "a")
