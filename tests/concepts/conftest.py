import pytest
import torch

from diffwright.concepts.judged import Gallery
from diffwright.metrics.judge import Judge
from diffwright.world.vocabulary import ATTRIBUTES
from tests.support.tiny import pipeline


@pytest.fixture
def judge():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Judge(ATTRIBUTES, size=32, widths=(8, 8, 8)).eval()


@pytest.fixture
def gallery(judge):
    return Gallery(pipeline("pocket"), judge, steps=2)


def pytest_collection_modifyitems(items):
    """Random models fit badly; tests about warnings ask for them with ``pytest.warns``."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore:.*half fitted:UserWarning"))
