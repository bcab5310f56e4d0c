import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

from diffwright.core.errors import JobFailed, WeightsCorrupt
from diffwright.training.store import Store


def content(step):
    tensors = {"model": {"a.weight": torch.full((3, 2), float(step))}, "ema": {"scalar": torch.tensor(step)}}
    return tensors, {"step": step, "third": 1 / 3}


def filled(root, *steps):
    store = Store(root)
    for step in steps:
        store.save(step, *content(step))
    return store


def assert_is(checkpoint, step):
    tensors, state = content(step)
    assert checkpoint.step == step
    assert checkpoint.state == state
    for group, named in tensors.items():
        assert all(torch.equal(checkpoint.tensors[group][name], tensor) for name, tensor in named.items())


def test_newest_comes_back_and_two_are_kept(tmp_path):
    store = filled(tmp_path / "c", 1, 2, 30, 4)
    assert_is(store.load(), 30)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["step_000000004", "step_000000030"]


def test_nothing_there_is_none(tmp_path):
    assert Store(tmp_path / "none").load() is None


def test_no_pickle_and_layout_of_channels_last(tmp_path):
    tensor = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    store = Store(tmp_path)
    store.save(1, {"model": {"w": tensor}}, {})
    assert torch.equal(store.load().tensors["model"]["w"], tensor)
    suffixes = {p.suffix for p in tmp_path.rglob("*") if p.is_file()} - {""}
    assert suffixes == {".json", ".safetensors"}


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "empty"])
def test_a_damaged_file_means_the_checkpoint_before(tmp_path, name, damage):
    store = filled(tmp_path, 1, 2)
    path = tmp_path / "step_000000002" / name
    data = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        data[len(data) // 2] ^= 64
        path.write_bytes({"flip": data, "cut": data[: len(data) // 2], "empty": b""}[damage])
    with pytest.warns(UserWarning, match="damaged"):
        assert_is(store.load(), 1)


def test_all_damaged_is_an_error(tmp_path):
    store = filled(tmp_path, 1, 2)
    for path in tmp_path.glob("step_*/model.safetensors"):
        path.write_bytes(b"x")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(WeightsCorrupt):
        store.load()


def test_a_manifest_cannot_name_files_elsewhere(tmp_path):
    store = filled(tmp_path, 1, 2)
    manifest = tmp_path / "step_000000002" / "manifest.json"
    manifest.write_text(
        manifest.read_text().replace("model.safetensors", "../step_000000001/model.safetensors")
    )
    with pytest.warns(UserWarning, match="plain file name"):
        assert_is(store.load(), 1)


def test_leftovers_of_a_killed_save_are_ignored_and_swept(tmp_path):
    store = filled(tmp_path, 1)
    leftover = tmp_path / ".step_000000002.abc.tmp"
    shutil.copytree(tmp_path / "step_000000001", leftover)
    assert_is(store.load(), 1)
    store.save(2, *content(2))
    assert not leftover.exists()


def test_the_same_step_can_be_saved_again(tmp_path):
    store = filled(tmp_path, 1, 1)
    assert_is(store.load(), 1)


class Fault:
    """Fails at the given call of anything that changes the disk; a write leaves half of its bytes."""

    def __init__(self, at):
        self.at, self.calls = at, 0

    def around(self, real, half=False):
        def call(*args, **kwargs):
            self.calls += 1
            if self.calls - 1 == self.at:
                if half:
                    real(args[0], args[1][: len(args[1]) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

        return call

    def install(self, patch):
        patch.setattr(Path, "write_bytes", self.around(Path.write_bytes, half=True))
        for name in ("mkdir", "rename", "replace", "write_text"):
            patch.setattr(Path, name, self.around(getattr(Path, name)))
        patch.setattr(os, "fsync", self.around(os.fsync))


def saves_or_fails(store, step):
    """True when the save ended with the one error that it may raise."""
    try:
        store.save(step, *content(step))
    except JobFailed:
        return True
    return False


def test_a_full_disk_at_every_write_leaves_a_checkpoint(tmp_path):
    good = tmp_path / "good"
    filled(good, 1, 2)
    counter = Fault(-1)
    with pytest.MonkeyPatch.context() as patch:
        counter.install(patch)
        filled(tmp_path / "counted", 1)
    assert counter.calls >= 12
    failures = 0
    for at in range(counter.calls + 4):
        root = tmp_path / f"at{at}"
        shutil.copytree(good, root)
        with pytest.MonkeyPatch.context() as patch:
            Fault(at).install(patch)
            fails = saves_or_fails(Store(root), 3)
        failures += fails
        loaded = Store(root).load()
        assert loaded.step in (2, 3)
        assert_is(loaded, loaded.step)
        Store(root).save(4, *content(4))
        assert_is(Store(root).load(), 4)
        assert not list(root.glob(".*")), "leftovers were not swept"
    assert failures >= 12


def test_too_little_space_is_told_before_writing(tmp_path, monkeypatch):
    store = filled(tmp_path, 1)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(JobFailed, match="does not fit"):
        store.save(2, *content(2))
    assert_is(store.load(), 1)
