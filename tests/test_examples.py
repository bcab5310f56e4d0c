"""The examples run, on tiny random models in place of the shipped ones."""

import runpy
from pathlib import Path

import pytest
import torch
from PIL import Image

from diffwright.diffusion import sampling
from diffwright.metrics.judge import Judge
from diffwright.weights import load
from diffwright.world.vocabulary import ATTRIBUTES
from tests.support import tiny

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def small(monkeypatch):
    torch.manual_seed(0)
    pipe = tiny.pipeline("pocket")
    judge = Judge(ATTRIBUTES, size=32, widths=(8, 8, 16), depths=(0, 0, 0)).eval()
    full = sampling.generate
    monkeypatch.setattr(load, "load", lambda *_, **__: pipe)
    monkeypatch.setattr(Judge, "from_pretrained", classmethod(lambda *_: judge))
    monkeypatch.setattr(sampling, "generate", lambda *a, **k: full(*a, **{**k, "steps": 2}))


def main(name):
    return runpy.run_path(str(EXAMPLES / name))["main"]


def test_fix_a_concept(small, tmp_path, capsys):
    main("fix_a_concept.py")(str(tmp_path / "new"))
    assert "without a trace: True" in capsys.readouterr().out
    with Image.open(tmp_path / "new" / "strip.png") as strip:
        assert strip.width > 4 * 256
    assert (tmp_path / "new" / "edit.safetensors").stat().st_size > 100


def test_paint_and_judge(small, capsys):
    main("paint_and_judge.py")()
    assert "kind as the prompt says: " in capsys.readouterr().out


def test_exact_edit(tmp_path, capsys):
    main("exact_edit.py")(str(tmp_path / "e.png"))
    assert "inf dB" in capsys.readouterr().out
    with Image.open(tmp_path / "e.png") as strip:
        assert strip.width > 2 * 256
