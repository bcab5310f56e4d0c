from pathlib import Path

import pytest

from diffwright.core.errors import ConfigError
from diffwright.training.schedule import Decay, decide, expected_end, learning_rate
from diffwright.training.settings import Settings

OUT = Path("unused")


def test_rate_rises_stays_and_falls():
    settings = Settings(out=OUT, samples=1000, lr=0.1, warmup_samples=100)
    decay = decide(settings, 0, 0.0)
    assert decay == Decay(800, 1000)
    rates = [learning_rate(settings, seen, decay) for seen in range(0, 1000, 10)]
    assert 0 < rates[0] < 0.01
    assert rates[10:81] == [0.1] * 71
    assert rates[:11] == sorted(rates[:11])
    assert rates[90] == pytest.approx(0.05)
    assert learning_rate(settings, 1000, decay) == 0


def test_minutes_fix_the_decay_once_their_first_part_is_used():
    settings = Settings(out=OUT, minutes=10, decay_share=0.25)
    assert decide(settings, 0, 0.0) is None
    assert decide(settings, 4000, 449.0) is None
    assert decide(settings, 4500, 450.0) == Decay(4500, 6000)
    assert expected_end(settings, 1000, 100.0, None) == 6000
    assert decide(settings, 4500, 9000.0) == Decay(4500, 4500)


def test_minutes_that_decay_from_the_start_wait_for_the_first_step():
    settings = Settings(out=OUT, minutes=10, decay_share=1)
    assert decide(settings, 0, 0.5) is None
    assert decide(settings, 8, 1.0) == Decay(8, 8 + 8 * 599)


def test_without_decay_the_rate_stays():
    settings = Settings(out=OUT, samples=50, lr=0.1, decay_share=0)
    decay = decide(settings, 0, 0.0)
    assert learning_rate(settings, 49, decay) == 0.1


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"minutes": 1, "samples": 1},
        {"minutes": 0},
        {"minutes": float("nan")},
        {"samples": 1.5},
        {"samples": 10, "batch_size": 0},
        {"samples": 10, "lr": -1},
        {"samples": 10, "lr": None},
        {"samples": 10, "decay_share": 1.5},
        {"samples": 10, "optimizer": "adam"},
        {"samples": 10, "precision": "fp16"},
        {"samples": 10, "prefetch": -1},
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ConfigError):
        Settings(out=OUT, **bad)
