"""How a training runs: budget, batch, optimizer, averages, intervals."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
        seed: seed of the noise of all steps.
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
        if self.optimizer not in ("adamw", "diffgrad"):
            raise ConfigError(f"optimizer is {self.optimizer!r}; use 'adamw' or 'diffgrad'")
        if self.precision not in ("fp32", "bf16"):
            raise ConfigError(f"precision is {self.precision!r}; use 'fp32' or 'bf16'")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not (low <= value <= high):
                raise ConfigError(f"{name} is {value}, expected a number from {low} to {high}; change it")

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

_TINY = 1e-12
_RANGES: tuple[tuple[str, float, float], ...] = (
    ("minutes", _TINY, math.inf),
    ("samples", 1, math.inf),
    ("batch_size", 1, math.inf),
    ("lr", _TINY, math.inf),
    ("warmup_samples", 0, math.inf),
    ("decay_share", 0, 1),
    ("weight_decay", 0, math.inf),
    ("ema", 0, math.inf),
    ("clip", _TINY, math.inf),
    ("seed", 0, 2**63 - 1),
    ("checkpoint_minutes", 0, math.inf),
    ("evaluate_minutes", 0, math.inf),
    ("log_seconds", 0, math.inf),
    ("threads", 1, 4096),
    ("prefetch", 0, 64),
)
