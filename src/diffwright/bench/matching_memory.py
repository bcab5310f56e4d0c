"""Peak memory of one training step: features and matching diffusion together, against one after the other.

On a GPU it is what torch allocated at most; on a CPU it is the largest resident memory of a fresh process for each
case, less what it held before the step.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffwright.core.checks import whole
from diffwright.core.errors import JobFailed
from diffwright.matching.model import MatchConfig, MatchModel
from diffwright.matching.stages import condition_stage1, initial_field, predict, to_variable, volume

CASES = ("joint", "features", "stage1")


def peaks(config: MatchConfig, batch: int, device: str = "cpu") -> dict[str, float]:
    """Measure the peak of one step of each case.

    Args:
        config: Sizes of the networks; their weights are random.
        batch: Pairs a step.
        device: ``cpu`` or a CUDA device.

    Returns:
        MiB for ``joint`` (features and stage 1 in one graph), ``features`` alone, and ``stage1`` over frozen
        features; nothing on the CPU of a system other than Linux.
    """
    whole("batch", batch, 1, 4096)
    settings = asdict(replace(config, stages=1))
    if device != "cpu":
        return {case: _allocated(settings, case, batch, device) for case in CASES}
    if not Path("/proc/self/status").is_file():
        return {}
    return {case: _in_fresh_process(settings, case, batch) for case in CASES}


def ratio(found: dict[str, float]) -> float:
    """Give the peak of joint training over the larger peak of the two stages."""
    return found["joint"] / max(found["features"], found["stage1"])


def _in_fresh_process(settings: dict[str, Any], case: str, batch: int) -> float:
    job = json.dumps({"settings": settings, "case": case, "batch": batch})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", __name__, job], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise JobFailed(
            f"the memory of training ({case}, batch {batch}) could not be measured: {done.stderr[-300:]}"
        )
    return float(done.stdout)


def _resident(settings: dict[str, Any], case: str, batch: int) -> float:
    prepared = _prepared(settings, case, batch, "cpu")
    before = _memory_mib("VmRSS")
    step(*prepared, case)
    return _memory_mib("VmHWM") - before


def _allocated(settings: dict[str, Any], case: str, batch: int, device: str) -> float:
    prepared = _prepared(settings, case, batch, device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step(*prepared, case)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def _memory_mib(field: str) -> float:
    """Resident memory of this process from Linux' own books; ``getrusage`` would count the parent's peak too."""
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) / 2**10


def _prepared(
    settings: dict[str, Any], case: str, batch: int, device: str
) -> tuple[MatchModel, torch.optim.Optimizer, tuple[Tensor, Tensor], Tensor]:
    torch.manual_seed(0)
    model = MatchModel(**settings).to(device)
    size, grid = model.config.size, model.config.grid(1)
    images = torch.rand(2, batch, 3, size, size, device=device) * 2 - 1
    truth = torch.randn(batch, 2, grid, grid, device=device)
    return model, torch.optim.AdamW(trained(model, case).parameters()), (images[0], images[1]), truth


def trained(model: MatchModel, case: str) -> nn.Module:
    """Give the part of a model that a case trains."""
    return {"joint": model, "features": model.features}.get(case) or model.denoiser(1)


def step(
    model: MatchModel,
    optimizer: torch.optim.Optimizer,
    images: tuple[Tensor, Tensor],
    truth: Tensor,
    case: str,
) -> None:
    """Do one training step of a case.

    Args:
        model: With stage 1.
        optimizer: Over ``trained(model, case)``.
        images: Pictures A and B.
        truth: Target field, in coarse cells.
        case: One of ``CASES``.

    Shapes:
        images (B, 3, S, S) each, truth (B, 2, S / 8, S / 8)
    """
    with torch.set_grad_enabled(case != "stage1"):
        a, b = (model.features(image, fine=False) for image in images)
        pair = volume(model, a, b)
    loss = torch.zeros((), device=truth.device)
    if case != "stage1":
        own = pair.chance.flatten(3).flatten(1, 2).diagonal(dim1=1, dim2=2)
        loss = loss - own.clamp(min=1e-9).log().mean()
    if case != "features":
        start = initial_field(pair).detach()
        encoded = model.denoiser(1).encode(condition_stage1(model.config, pair, start))
        x = to_variable(model.config, 1, truth, start)
        x0, _ = predict(model, 1, x, x.new_full((len(x),), 0.5), encoded, start)
        loss = loss + (x0 - x).square().mean()
    loss.backward()
    optimizer.step()


if __name__ == "__main__":
    print(_resident(**json.loads(sys.argv[1])))
