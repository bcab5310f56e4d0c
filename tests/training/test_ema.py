import pytest
import torch
from torch import nn

from diffwright.training.ema import Average, named_tensors


def test_half_of_a_step_change_is_forgotten_after_the_half_life():
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    average = Average({"m": module}, half_life=100)
    nn.init.ones_(module.weight)
    for step in range(10):
        average.update(samples=10**6 + step, added=10)
    assert float(average.tensors["m.weight"]) == pytest.approx(0.5, abs=1e-6)


def test_it_is_short_early_on_and_can_be_off():
    module = nn.Linear(1, 1, bias=False)
    average, off = Average({"m": module}, half_life=10**9), Average({"m": module}, half_life=0)
    nn.init.ones_(module.weight)
    average.update(samples=20, added=20)
    off.update(samples=10**9, added=1)
    assert float(average.tensors["m.weight"]) == pytest.approx(1, abs=1e-5)
    assert float(off.tensors["m.weight"]) == 1


def test_the_trained_weights_come_back_even_after_an_error():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average({"m": module}, half_life=100)
    nn.init.ones_(module[0].weight)
    before = {name: tensor.clone() for name, tensor in named_tensors({"m": module}).items()}
    inside = []

    def evaluate():
        with average.applied():
            inside.append(module[0].weight.clone())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        evaluate()
    assert not torch.equal(inside[0], before["m.0.weight"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in named_tensors({"m": module}).items())


def test_shared_tensors_come_once():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    assert list(named_tensors({"a": first, "b": second})) == ["a.weight", "a.bias", "b.bias"]
