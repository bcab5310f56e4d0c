"""The learning rate as a function of the samples seen."""

from __future__ import annotations

from dataclasses import dataclass

from diffwright.training.settings import Settings


@dataclass(frozen=True)
class Decay:
    """The sample numbers between which the rate falls from its height to zero; the run ends at `end`."""

    start: int
    end: int


def learning_rate(settings: Settings, samples: int, decay: Decay | None) -> float:
    """Rate of the step that begins after `samples` samples.

    Args:
        settings: height of the rate and length of its linear rise.
        samples: samples seen before this step.
        decay: where the linear fall is, or None while that is not known yet.

    Returns:
        The rate, above zero before the end.
    """
    rate = settings.lr
    if samples < settings.warmup_samples:
        rate *= (samples + 1) / settings.warmup_samples
    if decay is not None and samples > decay.start:
        rate *= max(0.0, (decay.end - samples) / (decay.end - decay.start))
    return rate


def decide(settings: Settings, samples: int, seconds: float) -> Decay | None:
    """Fix the decay once it can be known.

    A budget in samples fixes it at once. A budget in minutes fixes it when its first part is used up: the
    fall then takes as many samples as the speed so far promises for the minutes that are left.

    Args:
        settings: the budget and the share of it that decays.
        samples: samples seen so far.
        seconds: seconds trained so far, over all resumes.

    Returns:
        The decay, or None while the first part of a budget in minutes lasts, and before its first sample.
    """
    if settings.samples is not None:
        return Decay(round(settings.samples * (1 - settings.decay_share)), settings.samples)
    assert settings.minutes is not None
    budget = settings.minutes * 60
    if not samples or seconds <= 0 or seconds < budget * (1 - settings.decay_share):
        return None
    left = max(0.0, budget - seconds)
    return Decay(samples, samples + round(samples / seconds * left))


def expected_end(settings: Settings, samples: int, seconds: float, decay: Decay | None) -> int:
    """Sample number at which the run will end, as far as it can be told now (for the time left)."""
    if decay is not None:
        return decay.end
    assert settings.minutes is not None
    return round(samples * settings.minutes * 60 / seconds) if samples and seconds > 0 else 0
