import pytest
import torch

from diffwright.matching.confidence import fuse
from diffwright.training.pairs.calibration import calibrated, evidence_of
from diffwright.training.pairs.stream import Lesson
from tests.support import tiny_match


@pytest.fixture(scope="module")
def model():
    return tiny_match.model(stages=2).eval()


def lesson(model, seed, visible=True):
    size = model.config.size
    draw = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, size, size, generator=draw) * 2 - 1
    flow = torch.zeros(2, 2, size, size)
    return Lesson(image, image, None, flow, torch.full((2, size, size), visible))


def test_evidence_and_outcome_are_of_the_same_points(model):
    found, right = evidence_of(model, lesson(model, 0))
    assert found.shape == (len(right), 5)
    assert right.dtype == torch.bool
    assert not evidence_of(model, lesson(model, 0, visible=False))[1].any()


def test_fitted_confidence_is_as_often_right_as_it_says(model):
    mixed = lesson(model, 1)
    mixed.visible[:, :, : mixed.visible.shape[-1] // 2] = False
    found, right = evidence_of(model, mixed)
    sure = fuse(found.T[None, :, :, None], calibrated(model, {"": [mixed]}))
    assert float(sure.mean()) == pytest.approx(float(right.float().mean()), abs=0.02)


def test_without_right_and_wrong_matches_the_models_own_stay(model):
    assert calibrated(model, {"": [lesson(model, 2, visible=False)]}) == model.config.confidence
