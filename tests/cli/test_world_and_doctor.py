import json

import pytest
from PIL import Image

from diffwright.cli import main as cli
from diffwright.world import cache


def run(*words):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*map(str, words)])
    return stopped.value.code


def test_a_contact_sheet_of_the_world(tmp_path, capsys):
    out, record = tmp_path / "s.png", tmp_path / "r.json"
    assert run("world", "--count", 3, "--seed", 4, "--size", 32, "--out", out, "--json", record) == 0
    with Image.open(out) as sheet:
        assert sheet.width > 3 * 256
    assert json.loads(record.read_text())["seeds"] == [4, 5, 6]


@pytest.mark.parametrize("flags", [["--count", 0], ["--out", "sheet.jpg"], ["--columns", 0]])
def test_unusable_sheets_are_usage_errors(flags, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("world", *flags) == 2
    assert not list(tmp_path.iterdir())


def test_the_cache_is_rendered_by_its_one_command(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SHARD", 3)
    monkeypatch.setattr(cache, "SEEDS_A_SHARD", 9)
    out, record = tmp_path / "c", tmp_path / "r.json"
    flags = ("--count", 4, "--size", 16, "--seed", 50, "--workers", 1, "--out", out)
    assert run("world", "cache", *flags, "--json", record) == 0
    assert json.loads(record.read_text())["scenes"] == len(cache.load(out)) == 6
    assert cache.load(out).scene(0).seed in range(50, 59)
    assert not hasattr(cache, "main")


def test_the_cache_refuses_a_folder_of_the_user(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    assert run("world", "cache", "--count", 1, "--out", tmp_path) == 3


def test_doctor_names_versions_devices_and_supported_models(capsys):
    assert run("doctor", "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert {"python", "torch", "diffusers"} <= set(found["versions"])
    assert "cores" in found["devices"]["cpu"]
    assert found["memory"]["Stable Diffusion XL"].startswith("weights take 12.9 GiB in float32, 6.5 GiB in")
    assert run("doctor") == 0
    assert "| sdxl |" in capsys.readouterr().out


def test_doctor_finds_a_damaged_model(tmp_path, monkeypatch, capsys):
    from diffwright.weights import names
    from diffwright.weights.manifest import write_manifest

    for name in ("pocket-a", "pocket-b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    write_manifest(tmp_path)
    (tmp_path / "pocket-b" / "config.json").write_text("[]")
    monkeypatch.setattr(names, "POCKET", tmp_path)
    assert run("doctor") == 4
    shown = capsys.readouterr()
    assert "pocket-b cannot be used" in shown.err
    assert "whole" in next(line for line in shown.out.splitlines() if line.startswith("pocket-a"))
