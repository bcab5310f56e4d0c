"""The training loop of all recipes: resumable, exact, on one process or several."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import broadcast, send_to_device
from torch import Tensor

from diffwright.core import atomic
from diffwright.core.errors import Cancelled, ConfigError, JobFailed
from diffwright.core.progress import Progress
from diffwright.training import optimizer as optimizers
from diffwright.training.batches import batches, pinned
from diffwright.training.ema import Average, named_tensors
from diffwright.training.interrupts import Stop, watched
from diffwright.training.journal import Log, Means
from diffwright.training.origin import origin
from diffwright.training.schedule import Decay, decide, expected_end, learning_rate
from diffwright.training.settings import Settings
from diffwright.training.store import Store
from diffwright.training.task import Task

__all__ = ["Settings", "Task", "run"]

_AGREE_EVERY = 8


def run(
    task: Task, settings: Settings, progress: Progress | None = None, options: Any = None
) -> dict[str, Any]:
    """Train a task, or go on from the newest checkpoint in `settings.out`.

    At the end the averaged weights are evaluated and exported to `out/model`; `out/result.json` holds what is
    returned, `out/log.jsonl` the course, `out/checkpoints` the last two checkpoints.

    Args:
        task: the recipe.
        settings: budget, batch, optimizer and intervals.
        progress: called as (what, samples, expected samples); returning True, or raising Cancelled,
            stops the run after a checkpoint.
        options: what the task was built from, a dataclass; a resume must find it unchanged.

    Returns:
        `samples`, `minutes` and the figures of the last evaluation.

    Raises:
        ConfigError: the checkpoint in `out` belongs to another task, other settings, options or data, or other
            frozen networks.
        InputError: `out/model` holds files that no run wrote.
        Cancelled: stopped by SIGTERM, SIGINT or the callback, with a checkpoint written.
        JobFailed: the loss is no longer finite, or a checkpoint cannot be written.
    """
    with _threads(settings.threads), watched() as stop:
        return _Run(task, settings, progress, stop, options).train()


class _Run:
    """State of one training: weights, average, optimizer and how far it is."""

    def __init__(
        self, task: Task, settings: Settings, progress: Progress | None, stop: Stop, options: Any
    ) -> None:
        self.task, self.settings, self.progress, self.stop = task, settings, progress, stop
        self.origin = origin(task, options)
        waits = InitProcessGroupKwargs(timeout=timedelta(hours=6))
        self.accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[waits])
        self.device, self.world = self.accelerator.device, self.accelerator.num_processes
        self.main = self.accelerator.is_main_process
        self.modules = {name: module.to(self.device).train() for name, module in task.modules().items()}
        self.tensors = named_tensors(self.modules)
        self.parameters = {
            k: v for k, v in self.tensors.items() if isinstance(v, torch.nn.Parameter) and v.requires_grad
        }
        self.generator = torch.Generator(self.device)
        self.store = Store(settings.out / "checkpoints")
        self.step, self.seconds, self.saved_step = 0, 0.0, -1
        self.decay: Decay | None = None
        self._begin()
        self.log = Log(settings.out / "log.jsonl") if self.main else None
        self.means = Means()
        self.clock = time.monotonic()
        self.logged = (self.samples, self.clock)
        self.due = {"log": self.clock, "save": self.clock, "evaluate": self.clock}

    @property
    def samples(self) -> int:
        """Samples seen over all processes."""
        return self.step * self.world * self.settings.batch_size

    def _begin(self) -> None:
        checkpoint = self.store.load()
        if checkpoint is None and self.world > 1:
            with torch.no_grad():
                for tensor in self.tensors.values():
                    tensor.copy_(broadcast(tensor.detach().clone()))
        self.average = Average(self.modules, self.settings.ema)
        self.optimizer = optimizers.build(self.settings, self.parameters)
        if checkpoint is None:
            return
        state = checkpoint.state
        _require_same(self._course(), state["course"])
        self._require_origin(state)
        _fill(self.tensors, checkpoint.tensors["model"])
        _fill(self.average.tensors, checkpoint.tensors["ema"])
        optimizers.restore(
            self.optimizer, self.parameters, checkpoint.tensors["optimizer"], state["optimizer_scalars"]
        )
        self.step, self.seconds, self.saved_step = checkpoint.step, state["seconds"], checkpoint.step
        self.decay = Decay(**state["decay"]) if state["decay"] else None
        self._adopt_budget(state["budget"])

    def _require_origin(self, state: dict[str, Any]) -> None:
        if "origin" in state:
            _require_same(self.origin, state["origin"])
        else:
            warnings.warn(
                "the checkpoint does not say from which options, data and frozen networks it comes, so these "
                "are not compared",
                stacklevel=2,
            )

    def _adopt_budget(self, saved: dict[str, Any]) -> None:
        if self.decay is None or saved == self.settings.budget():
            return
        if self.samples > self.decay.start:
            raise ConfigError(
                f"the rate of this run already falls towards its end at {self.decay.end} samples, so its "
                f"budget {saved} cannot become {self.settings.budget()}; give the old one or another folder"
            )
        self.decay = decide(self.settings, self.samples, self.seconds)

    def _course(self) -> dict[str, Any]:
        return {"task": self.task.name, "processes": self.world, **self.settings.course()}

    def train(self) -> dict[str, Any]:
        done = self._finished()
        if done is not None:
            return done
        atomic.refuse_foreign(self.settings.out / "model")
        self._write("start", samples=self.samples, minutes=self.seconds / 60, processes=self.world)
        with batches(self._batch, self.step, self.settings.prefetch) as stream:
            while not self._settle():
                self._advance(next(stream))
        if self.step != self.saved_step:
            self._save()
        with self.stop.immediately():
            return self._finish()

    def _batch(self, step: int) -> Any:
        size = self.settings.batch_size
        first = (step * self.world + self.accelerator.process_index) * size
        batch = self.task.batch(torch.arange(first, first + size))
        return pinned(batch) if self.device.type == "cuda" else batch

    def _advance(self, batch: Any) -> None:
        settings = self.settings
        rate = learning_rate(settings, self.samples, self.decay)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        ours, everywhere = np.random.SeedSequence(
            [settings.seed, self.step, self.accelerator.process_index]
        ).generate_state(2, np.uint64)
        self.generator.manual_seed(int(ours >> np.uint64(1)))
        torch.manual_seed(int(everywhere >> np.uint64(1)))
        batch = send_to_device(batch, self.device, non_blocking=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            loss, figures = self.task.loss(self.modules, batch, self.generator)
        loss.backward()
        if self.world > 1:
            self._mean_gradients()
        limit = settings.clip if settings.clip is not None else math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), limit)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.average.update(self.samples, self.world * settings.batch_size)
        self.means.add({"loss": loss, "gradient_norm": norm, **figures})

    def _mean_gradients(self) -> None:
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        flat = self.accelerator.reduce(torch.cat([g.reshape(-1) for g in gradients]), "mean")
        parts = flat.split([g.numel() for g in gradients])  # type: ignore[union-attr]
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])

    def _settle(self) -> bool:
        """Between two steps: look at clock and signals, save and evaluate when due; True ends the run."""
        if self.world > 1 and self.step % _AGREE_EVERY and not self._over():
            return False
        now = time.monotonic()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        settings = self.settings
        if self.decay is None:
            self.decay = decide(settings, self.samples, self.seconds)
        log, save, evaluate, stop = self._agree(
            self._is_due("log", settings.log_seconds / 60),
            self._is_due("save", settings.checkpoint_minutes),
            self._is_due("evaluate", settings.evaluate_minutes),
            self._wants_stop(),
        )
        over = self._over()
        if log or save or evaluate or stop or over:
            self._log(now)
        if (save or evaluate or stop) and self.step != self.saved_step:
            self._save()
        if stop:
            raise Cancelled(
                f"stopped after {self.samples} samples; start again with the same folder to resume"
            )
        if evaluate and not over:
            with self.stop.immediately():
                self._evaluate()
        return over

    def _over(self) -> bool:
        return self.decay is not None and self.samples >= self.decay.end

    def _is_due(self, what: str, minutes: float | None) -> bool:
        if minutes is None or self.clock - self.due[what] < minutes * 60 or not self.step:
            return False
        self.due[what] = self.clock
        return True

    def _wants_stop(self) -> bool:
        if self.stop.asked or self.progress is None or not self.main:
            return self.stop.asked
        total = expected_end(self.settings, self.samples, self.seconds, self.decay)
        try:
            return self.progress("training", self.samples, total) is True
        except Cancelled:
            return True

    def _agree(self, *wishes: bool) -> tuple[bool, ...]:
        """Let all processes do what the first one decided; a stop may come from any."""
        if self.world == 1:
            return wishes
        decay = (self.decay.start, self.decay.end) if self.decay else (-1, -1)
        ours = [*wishes[:-1], *decay] if self.main else [0] * (len(wishes) + 1)
        votes = torch.tensor([*ours, wishes[-1]], dtype=torch.int64, device=self.device)
        *decided, start, end, stop = self.accelerator.reduce(votes, "sum").tolist()  # type: ignore[union-attr]
        self.decay = Decay(start, end) if start >= 0 else None
        return (*(bool(wish) for wish in decided), stop > 0)

    def _log(self, now: float) -> None:
        figures = self.means.take()
        if not figures:
            return
        if not math.isfinite(figures["loss"] + figures["gradient_norm"]):
            raise JobFailed(
                f"the loss or the gradient is not finite at {self.samples} samples (mean loss "
                f"{figures['loss']}); train with a lower learning rate into another folder"
            )
        samples, then = self.logged
        self.logged = (self.samples, now)
        self._write(
            "step",
            samples=self.samples,
            minutes=self.seconds / 60,
            lr=learning_rate(self.settings, self.samples, self.decay),
            samples_per_second=(self.samples - samples) / max(now - then, 1e-9),
            **figures,
        )

    def _write(self, event: str, **figures: Any) -> None:
        if self.log is not None:
            self.log.write(event, **figures)

    def _save(self) -> None:
        if self.main:
            tensors, scalars = optimizers.state_tensors(self.optimizer, self.parameters)
            groups = {"model": self.tensors, "ema": self.average.tensors, "optimizer": tensors}
            state = {
                "course": self._course(),
                "origin": self.origin,
                "budget": self.settings.budget(),
                "samples": self.samples,
                "seconds": self.seconds,
                "decay": asdict(self.decay) if self.decay else None,
                "optimizer_scalars": scalars,
            }
            self.store.save(self.step, groups, state)
        self.saved_step = self.step
        self.accelerator.wait_for_everyone()

    def _evaluate(self, export: bool = False) -> dict[str, float]:
        figures: dict[str, float] = {}
        if self.main:
            with _evaluating(self.modules), self.average.applied(), torch.no_grad():
                figures = {name: float(value) for name, value in self.task.evaluate(self.modules).items()}
                if export:
                    self._export()
            self._write("evaluate", samples=self.samples, minutes=self.seconds / 60, **figures)
        self.accelerator.wait_for_everyone()
        return figures

    def _export(self) -> None:
        with atomic.directory(self.settings.out / "model") as directory:
            self.task.export(self.modules, directory)

    def _finish(self) -> dict[str, Any]:
        result = {"samples": self.samples, "minutes": self.seconds / 60, **self._evaluate(export=True)}
        if self.main:
            atomic.write_json(self.settings.out / "result.json", result)
        self.accelerator.wait_for_everyone()
        return result

    def _finished(self) -> dict[str, Any] | None:
        """Result of a run that ended before, when nothing is left to do."""
        path = self.settings.out / "result.json"
        if self.decay is None or self.samples < self.decay.end or not path.is_file():
            return None
        result = json.loads(path.read_text())
        complete = result["samples"] == self.samples and (self.settings.out / "model").is_dir()
        return result if complete else None


@contextmanager
def _evaluating(modules: dict[str, torch.nn.Module]) -> Iterator[None]:
    flags = [(part, part.training) for module in modules.values() for part in module.modules()]
    for part, _ in flags:
        part.training = False
    try:
        yield
    finally:
        for part, flag in flags:
            part.training = flag


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def _fill(live: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    if live.keys() != saved.keys() or any(live[k].shape != v.shape for k, v in saved.items()):
        odd = sorted(live.keys() ^ saved.keys()) or ["shapes differ"]
        raise ConfigError(
            f"the checkpoint holds a network of another form ({odd[0]}); train into another folder"
        )
    for name, tensor in saved.items():
        live[name].copy_(tensor)


def _require_same(ours: dict[str, Any], saved: dict[str, Any]) -> None:
    changed = [
        f"{k}={saved.get(k)!r} became {ours.get(k)!r}"
        for k in sorted(ours.keys() | saved.keys())
        if ours.get(k) != saved.get(k)
    ]
    if changed:
        raise ConfigError(
            f"the checkpoint was trained with something else: {', '.join(changed)}; give what it had or train "
            "into another folder"
        )
