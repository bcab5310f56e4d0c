"""How a training runs: budget, batch, optimizer, averages, intervals."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from diffwright.core import checks
from diffwright.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one training run; exactly one of `minutes` and `samples` is the budget.

    Args:
        out: folder of checkpoints, log, result and the finished model.
        minutes: budget in minutes of training, evaluations included; kept across resumes.
        samples: budget in samples over all processes.
        batch_size: samples of one step in each process.
        lr: highest learning rate.
        warmup_samples: samples over which the rate rises linearly from near zero.
        decay_share: last share of the budget, in [0, 1], over which the rate falls linearly to zero.
        optimizer: "adamw" or "diffgrad" (with decoupled decay).
        weight_decay: decay of weights with two or more dimensions; others are not decayed.
        betas: decay rates of the two moments.
        ema: half-life of the averaged weights in samples, shorter early on; 0 turns averaging off.
        clip: largest norm of the gradient over all modules; None leaves it as it is.
        precision: "fp32", or "bf16" for autocast with fp32 weights.
        seed: seed of the noise of all steps, and of the first weights of a recipe.
        checkpoint_minutes: time between checkpoints; 0 saves after every step.
        evaluate_minutes: time between evaluations; None evaluates at the end only.
        log_seconds: time between lines of the log.
        threads: CPU threads of torch; None leaves them as they are.
        prefetch: batches built ahead in a background thread; 0 builds each in turn.

    Raises:
        ConfigError: a value is out of its range, or not exactly one budget is given.
    """

    out: Path
    minutes: float | None = None
    samples: int | None = None
    batch_size: int = 64
    lr: float = 3e-4
    warmup_samples: int = 0
    decay_share: float = 0.2
    optimizer: Literal["adamw", "diffgrad"] = "adamw"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    ema: int = 5000
    clip: float | None = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0
    checkpoint_minutes: float = 5.0
    evaluate_minutes: float | None = 10.0
    log_seconds: float = 10.0
    threads: int | None = None
    prefetch: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        object.__setattr__(self, "betas", tuple(self.betas))
        if (self.minutes is None) == (self.samples is None):
            raise ConfigError(
                f"the budget is minutes={self.minutes} and samples={self.samples}; give exactly one of them"
            )
        checks.one_of("optimizer", self.optimizer, ("adamw", "diffgrad"))
        checks.one_of("precision", self.precision, ("fp32", "bf16"))
        for name, low, high in _RANGES:
            if getattr(self, name) is not None or name in _REQUIRED:
                checks.in_range(name, getattr(self, name), low, high)
        for name, least in _COUNTS:
            if getattr(self, name) is not None or name in _REQUIRED:
                checks.whole(name, getattr(self, name), least, 2**62)

    def course(self) -> dict[str, Any]:
        """Values that decide the weights beside the budget; a resume must find them unchanged."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if name not in _FREE
        }

    def budget(self) -> dict[str, float | int | None]:
        """The budget; it may change at a resume until the decay of the rate has begun."""
        return {"minutes": self.minutes, "samples": self.samples, "decay_share": self.decay_share}


_FREE = frozenset(
    {"out", "minutes", "samples", "decay_share"}
    | {"checkpoint_minutes", "evaluate_minutes", "log_seconds", "threads", "prefetch"}
)

_RANGES = (
    ("minutes", 1e-12, math.inf),
    ("lr", 1e-12, math.inf),
    ("decay_share", 0, 1),
    ("weight_decay", 0, math.inf),
    ("clip", 1e-12, math.inf),
    ("checkpoint_minutes", 0, math.inf),
    ("evaluate_minutes", 0, math.inf),
    ("log_seconds", 0, math.inf),
)
_COUNTS = (
    ("samples", 1),
    ("batch_size", 1),
    ("warmup_samples", 0),
    ("ema", 0),
    ("seed", 0),
    ("threads", 1),
    ("prefetch", 0),
)
_REQUIRED = {name for name, *_ in (*_RANGES, *_COUNTS)} - {
    *("minutes", "samples", "clip", "evaluate_minutes", "threads")
}
