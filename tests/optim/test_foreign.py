import copy

import pytest
import pytorch_optimizer
import torch
import torch_optimizer

from diffwright.optim.diffgrad import DiffGrad
from diffwright.optim.foreign import convert_state, load_foreign_state


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()


def train(net, optimizer, steps):
    for step in steps:
        optimizer.zero_grad()
        inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        net(inputs).square().sum().backward()
        optimizer.step()


def theirs_of(library, net, **options):
    if library == "torch_optimizer":
        return torch_optimizer.DiffGrad(net.parameters(), lr=1e-2, weight_decay=0.05, **options)
    return pytorch_optimizer.DiffGrad(net.parameters(), lr=1e-2, weight_decay=0.05, **options)


@pytest.mark.parametrize(
    ("library", "options"),
    [
        ("torch_optimizer", {}),
        ("pytorch_optimizer", {}),
        ("pytorch_optimizer", {"weight_decouple": False}),
        ("pytorch_optimizer", {"rectify": True}),
        ("pytorch_optimizer", {"ams_bound": True}),
    ],
)
def test_training_goes_on_where_the_other_library_stopped(library, options):
    net = model()
    theirs = theirs_of(library, net, **options)
    train(net, theirs, range(10))
    twin = copy.deepcopy(net)
    ours = DiffGrad(twin.parameters())
    load_foreign_state(ours, theirs.state_dict())
    train(net, theirs, range(10, 20))
    train(twin, ours, range(10, 20))
    for expected, found in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_a_checkpoint_in_the_layout_of_the_authors_v2_loads():
    """``diffGrad_v2.py`` keeps an int step, the two moments and the previous gradient in the state."""
    net = model()
    state = {
        i: {
            "step": 3,
            "exp_avg": torch.ones_like(param),
            "exp_avg_sq": torch.ones_like(param),
            "previous_grad": torch.full_like(param, 2.0),
        }
        for i, param in enumerate(net.parameters())
    }
    group = {"lr": 0.5, "betas": [0.8, 0.9], "eps": 1e-7, "weight_decay": 0.1, "params": list(state)}
    ours = DiffGrad(net.parameters())
    load_foreign_state(ours, {"state": state, "param_groups": [group]})
    loaded = ours.param_groups[0]
    assert (loaded["lr"], loaded["betas"], loaded["eps"]) == (0.5, (0.8, 0.9), 1e-7)
    assert loaded["eps_mode"] == "reference"
    assert not loaded["decoupled_weight_decay"]
    first = next(net.parameters())
    assert ours.state[first]["step"] == 3
    assert (ours.state[first]["previous_grad"] == 2).all()


def test_what_is_no_diffgrad_or_uses_more_is_refused():
    net = model()
    adam = torch.optim.Adam(net.parameters())
    train(net, adam, range(1))
    with pytest.raises(ValueError, match="previous_grad"):
        convert_state(DiffGrad(net.parameters()), adam.state_dict())
    norm = pytorch_optimizer.DiffGrad(net.parameters(), adanorm=True)
    with pytest.raises(ValueError, match="adanorm"):
        convert_state(DiffGrad(net.parameters()), norm.state_dict())
    apart = DiffGrad([{"params": [param]} for param in net.parameters()])
    with pytest.raises(ValueError, match="parameter groups"):
        convert_state(apart, adam.state_dict())
