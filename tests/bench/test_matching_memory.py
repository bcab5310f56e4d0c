import pytest
import torch

from diffwright.bench import matching_memory as memory
from diffwright.core.errors import ConfigError
from diffwright.matching.model import MatchConfig, MatchModel

TINY = MatchConfig(
    size=64, stages=1, feature_widths=(16, 16, 16, 16), feature_blocks=(1, 1, 1, 1), coarse_channels=16,
    stage1_widths=(16, 16), stage1_blocks=1,
)  # fmt: skip


@pytest.mark.parametrize("case", memory.CASES)
def test_a_step_trains_the_parts_of_its_case_and_no_others(case):
    torch.manual_seed(0)
    model = MatchModel(TINY)
    torch.nn.init.normal_(model.denoiser(1).out.weight)
    optimizer = torch.optim.SGD(memory.trained(model, case).parameters(), lr=1e-2)
    images, truth = (torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)), torch.randn(1, 2, 8, 8)
    memory.step(model, optimizer, images, truth, case)
    moved = {
        name: any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())
        for name, part in (("features", model.features), ("stage1", model.denoiser(1)))
    }
    assert moved == {"features": case != "stage1", "stage1": case != "features"}


def test_joint_training_is_compared_with_the_larger_stage():
    assert memory.ratio({"joint": 300.0, "features": 100.0, "stage1": 150.0}) == 2


@pytest.mark.slow
def test_peaks_are_measured_in_processes_of_their_own():
    found = memory.peaks(TINY, 4)
    assert set(found) in ({*memory.CASES}, set())
    assert all(value > 0 for value in found.values())
    if found:
        assert found["joint"] > max(found["features"], found["stage1"])


def test_a_batch_of_none_is_refused():
    with pytest.raises(ConfigError, match="batch"):
        memory.peaks(TINY, 0)
