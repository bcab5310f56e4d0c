"""The examples run, on tiny random models in place of the shipped ones."""

import re
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


def test_the_ten_lines_of_the_optimizer_guide_train():
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    import diffwright as dw

    AcceleratorState._reset_state(reset_partial_state=True)  # other tests began without mixed precision

    guide = (EXAMPLES.parent / "docs" / "optim.md").read_text("utf-8")
    (lines,) = re.findall(r"```python\n(accelerator = .*?)```", guide, re.S)
    assert lines.count("\n") <= 10
    torch.manual_seed(0)
    inputs = torch.randn(256, 4)
    data = torch.utils.data.TensorDataset(inputs, inputs.sum(1, keepdim=True))
    given = {
        "Accelerator": lambda **kwargs: Accelerator(cpu=not torch.cuda.is_available(), **kwargs),
        "dw": dw,
        "torch": torch,
        "model": torch.nn.Linear(4, 1),
        "loader": torch.utils.data.DataLoader(data, batch_size=8),
        "loss_of": torch.nn.functional.mse_loss,
        "steps": 32,
    }
    before = given["model"].weight.detach().clone()
    exec(lines, given)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert given["scheduler"].get_last_lr()[0] < 1e-5
    assert float((given["model"].weight - before).abs().min()) > 1e-3


def test_exact_edit(tmp_path, capsys):
    main("exact_edit.py")(str(tmp_path / "e.png"))
    assert "inf dB" in capsys.readouterr().out
    with Image.open(tmp_path / "e.png") as strip:
        assert strip.width > 2 * 256
