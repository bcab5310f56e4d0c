import runpy
from pathlib import Path

SIZES = runpy.run_path(str(Path(__file__).resolve().parents[1] / ".ci" / "sizes.py"))


def test_the_tree_is_within_its_limits():
    files = SIZES["tracked"]()
    assert SIZES["ROOT"] / "pyproject.toml" in files
    assert SIZES["complaints"](files) == []


def test_a_long_file_and_heavy_weights_are_told(tmp_path, monkeypatch):
    limits = SIZES["complaints"].__globals__
    pocket = tmp_path / "src/diffwright/pocket"
    pocket.mkdir(parents=True)
    (pocket / "model.safetensors").write_bytes(b"0" * 4000)
    (tmp_path / "long.py").write_text("x = 1\n" * 20)
    changes = {
        "ROOT": tmp_path,
        "POCKET": pocket,
        "WEIGHTS_LIMIT": 3000,
        "TREE_LIMIT": 4100,
        "LINES_LIMIT": 19,
    }
    for name, value in changes.items():
        monkeypatch.setitem(limits, name, value)
    told = SIZES["complaints"]([pocket / "model.safetensors", tmp_path / "long.py"])
    assert len(told) == 3
    assert "long.py has 20 lines" in told[2]
