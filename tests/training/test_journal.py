import json

import torch

from diffwright.training.journal import Log, Means


def test_means_of_figures_that_are_not_always_there():
    means = Means()
    means.add({"loss": torch.tensor(1.0, requires_grad=True), "often": 2})
    means.add({"loss": torch.tensor(2.0), "often": 4, "seldom": 7.0})
    assert means.take() == {"loss": 1.5, "often": 3.0, "seldom": 7.0}
    assert means.take() == {}


def test_a_line_cut_off_by_a_crash_does_not_swallow_the_next(tmp_path):
    path = tmp_path / "log.jsonl"
    Log(path).write("step", loss=1 / 3)
    with path.open("a") as file:
        file.write('{"event": "st')
    Log(path).write("start", samples=3)
    first, cut, second = path.read_text().splitlines()
    assert json.loads(first)["loss"] == 0.333333
    assert cut == '{"event": "st'
    assert json.loads(second)["samples"] == 3
