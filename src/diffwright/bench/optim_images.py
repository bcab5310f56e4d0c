"""The pre-registered image classification experiment; `docs/optim.md` holds the registration.

A finished run is a line of a JSON Lines file, so an interrupted experiment goes on where it stopped.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffwright.bench.harness import Figure
from diffwright.bench.optim_nets import resnet8, resnet20, resnet50
from diffwright.bench.optim_pictures import Pictures, read_cifar100, read_jpeg_scans, rotated
from diffwright.bench.optim_synthetic import aliased_friction
from diffwright.core.errors import InputError
from diffwright.core.progress import Progress, report
from diffwright.metrics.statistics import paired_bootstrap, permutation_test
from diffwright.optim.diffgrad import DiffGrad

ARMS: dict[str, tuple[int, Callable[[Any], torch.optim.Optimizer]]] = {
    "adam": (5, lambda params: torch.optim.Adam(params, lr=1e-3)),
    "adam_half": (5, lambda params: torch.optim.Adam(params, lr=5e-4)),
    "diffgrad": (5, lambda params: DiffGrad(params, lr=1e-3)),
    "aliased": (5, lambda params: DiffGrad(params, lr=1e-3, friction=aliased_friction)),
    "scale_free": (5, lambda params: DiffGrad(params, lr=1e-3, friction="scale_free")),
    "adamw": (2, lambda params: torch.optim.AdamW(params, lr=1e-3)),
    "sgdm": (2, lambda params: torch.optim.SGD(params, lr=1e-3, momentum=0.9)),
    "amsgrad": (2, lambda params: torch.optim.Adam(params, lr=1e-3, amsgrad=True)),
    "rmsprop": (2, lambda params: torch.optim.RMSprop(params, lr=1e-3)),
    "adagrad": (2, lambda params: torch.optim.Adagrad(params, lr=1e-3)),
    "adadelta": (2, lambda params: torch.optim.Adadelta(params, lr=1e-3)),
}
"""Arm -> number of seeds (0, 1, ...), optimizer. One learning rate for all, as in the paper."""

COMPARISONS = (("diffgrad", "adam"), ("diffgrad", "adam_half"), ("aliased", "adam_half"))
NETS: dict[str, Callable[..., nn.Module]] = {"resnet8": resnet8, "resnet20": resnet20, "resnet50": resnet50}


@dataclass(frozen=True)
class Trial:
    """What one training is.

    Attributes:
        data: Name of the data.
        arm: A key of ``ARMS``.
        seed: Of weights, order and augmentation; paired over arms.
        net: A key of ``NETS``.
        epochs: Passes over the data, the same for every arm.
        batch: Pictures a step.
        limit: Pictures used of each set, None for all.
        bf16: Forward and backward passes under bfloat16 autocast; weights and steps stay float32.
    """

    data: str
    arm: str
    seed: int
    net: str
    epochs: int
    batch: int
    limit: int | None
    bf16: bool


def train(
    trial: Trial, pictures: Pictures, width: int | None = None, device: str = "cpu"
) -> dict[str, float]:
    """Train once and test after the last epoch.

    The learning rate falls to a tenth after 80 % of the epochs. Pictures are padded by 4, cropped and flipped.

    Args:
        trial: What to train.
        pictures: The data.
        width: Channels of the first stage, None for the net's own.
        device: Where.

    Returns:
        ``accuracy`` in percent after the last epoch, ``loss`` of its training, ``seconds``.
    """
    torch.manual_seed(trial.seed)
    net = NETS[trial.net](pictures.classes, **({} if width is None else {"width": width})).to(device)
    net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = ARMS[trial.arm][1](net.parameters())
    drop = max(1, round(0.8 * trial.epochs))
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [drop], gamma=0.1)
    generator = torch.Generator().manual_seed(trial.seed)
    start, losses = perf_counter(), []
    for _ in range(trial.epochs):
        losses = _epoch(net, optimizer, pictures, trial, generator)
        scheduler.step()
    return {
        "accuracy": accuracy_of(net, pictures),
        "loss": float(np.mean(losses)),
        "seconds": round(perf_counter() - start, 1),
    }


def _epoch(
    net: nn.Module, optimizer: Any, pictures: Pictures, trial: Trial, generator: torch.Generator
) -> list[float]:
    net.train()
    losses, device = [], next(net.parameters()).device
    for chosen in torch.randperm(len(pictures.train), generator=generator).split(trial.batch):
        images = augment(pictures.train[chosen], generator).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=trial.bf16):
            logits = net(images)
        loss = nn.functional.cross_entropy(logits.float(), pictures.train_labels[chosen].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pad by 4, crop at random and flip with probability 1/2, picture by picture.

    Args:
        images: Normalised pictures.
        generator: Of the crops and flips.

    Shapes:
        (B, 3, H, W) -> (B, 3, H, W).
    """
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, (4, 4, 4, 4))
    left, top = torch.randint(9, (2, count, 1), generator=generator)
    columns = left + torch.arange(width)
    flipped = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    rows = top + torch.arange(height)
    index = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def accuracy_of(net: nn.Module, pictures: Pictures) -> float:
    """Return the share of test pictures that a net classifies rightly, in percent."""
    net.eval()
    device, right = next(net.parameters()).device, 0
    for images, labels in zip(pictures.test.split(500), pictures.test_labels.split(500), strict=True):
        right += int((net(images.to(device)).argmax(1).cpu() == labels).sum())
    return 100 * right / len(pictures.test)


def plan(data: str, arms: Sequence[str], **how: Any) -> list[Trial]:
    """Return the trials in the order they run: seed by seed, so that pairs are complete early.

    Args:
        data: Name of the data.
        arms: Keys of ``ARMS``.
        **how: The other fields of ``Trial``, the same for all.
    """
    seeds = range(max(ARMS[arm][0] for arm in arms))
    return [
        Trial(data=data, arm=arm, seed=seed, **how) for seed in seeds for arm in arms if seed < ARMS[arm][0]
    ]


def figures(
    quick: bool,
    progress: Progress | None = None,
    *,
    cifar: str | Path | None = None,
    cifar100: str | Path | None = None,
    epochs: int = 4,
    batch: int = 128,
    net: str = "resnet8",
    bf16: bool = True,
    results: str | Path = "optim_images.jsonl",
    arms: Sequence[str] = tuple(ARMS),
    limit: int | None = None,
    device: str = "cpu",
) -> dict[str, Figure]:
    """Run what is left of the experiment and compare the arms.

    Args:
        quick: One epoch of 64 pictures on a net of width 4; proves that it works and nothing else.
        progress: Is told the trials done; may cancel between two.
        cifar: CIFAR-10 as JPEG scans; its four-rotation stand-in for CIFAR-100 runs too, unless ``cifar100``.
        cifar100: The official archive.
        epochs: For every arm.
        batch: Pictures a step.
        net: ``resnet8`` as registered, ``resnet20``, or ``resnet50`` as in the paper.
        bf16: Passes under bfloat16 autocast, as registered.
        results: JSON Lines file of finished trials; read first, added to.
        arms: Which arms.
        limit: Pictures used of each set.
        device: Where to train.

    Returns:
        For each data set DATA the mean accuracies ``DATA_ARM`` and, with ``_low``, ``_high`` and ``_p``,
        the paired differences ``cifar_diffgrad_minus_adam``, ``cifar_diffgrad_minus_adam_half`` and
        ``cifar_aliased_minus_adam_half`` (prefix ``cifar`` for CIFAR-10, else the data set).
    """
    if quick:
        epochs, limit, batch = 1, 64, 32
    found: dict[str, Figure] = {}
    for pictures in _data(cifar, cifar100, limit):
        trials = plan(pictures.name, arms, net=net, epochs=epochs, batch=batch, limit=limit, bf16=bf16)
        done = _finished(Path(results))
        for number, trial in enumerate(trials):
            report(progress, f"{trial.data} {trial.arm} seed {trial.seed}", number, len(trials))
            if trial not in done:
                done[trial] = train(trial, pictures, 4 if quick else None, device)
                _append(Path(results), {**asdict(trial), **done[trial]})
        found |= compare(pictures.name, {trial: done[trial]["accuracy"] for trial in trials})
    return found


def compare(data: str, accuracies: dict[Trial, float]) -> dict[str, Figure]:
    """Return mean accuracies, and the registered paired differences with intervals and a permutation test.

    Args:
        data: Name of the data set.
        accuracies: Last-epoch accuracy of each trial, in percent.
    """
    by_arm: dict[str, dict[int, float]] = {}
    for trial, accuracy in accuracies.items():
        by_arm.setdefault(trial.arm, {})[trial.seed] = accuracy
    found = {}
    for arm, values in by_arm.items():
        spread = (
            f"last epoch, {len(values)} seeds, sd {np.std(list(values.values()), ddof=len(values) > 1):.2f}"
        )
        found[f"{data}_{arm}"] = Figure(float(np.mean(list(values.values()))), "%", "higher", spread)
    prefix = "cifar" if data == "cifar10" else data
    for ours, theirs in COMPARISONS:
        pairs = sorted(set(by_arm.get(ours, {})) & set(by_arm.get(theirs, {})))
        if not pairs:
            continue
        first, second = ([by_arm[arm][seed] for seed in pairs] for arm in (ours, theirs))
        interval, p = paired_bootstrap(first, second), permutation_test(first, second)
        name, note = f"{prefix}_{ours}_minus_{theirs}", f"points, {len(pairs)} paired seeds"
        found[name] = Figure(interval.value, "points", "higher", note)
        found[f"{name}_low"] = Figure(interval.low, "points", "higher", "lower end of the 95 % interval")
        found[f"{name}_high"] = Figure(interval.high, "points", "higher", "upper end of the 95 % interval")
        found[f"{name}_p"] = Figure(p, "", "lower", "two-sided sign-flip permutation test")
    return found


def _data(cifar: str | Path | None, cifar100: str | Path | None, limit: int | None) -> list[Pictures]:
    for file in (cifar, cifar100):
        if file is not None and not Path(file).is_file():
            raise InputError(f"there is no file {file}; give the pictures' file.")
    chosen = []
    if cifar is not None:
        chosen.append(read_jpeg_scans(cifar, limit))
    if cifar100 is not None:
        chosen.append(read_cifar100(cifar100, limit))
    elif chosen:
        chosen.append(rotated(chosen[0]))
    return chosen


def _append(file: Path, row: dict[str, Any]) -> None:
    """Add a line; one that a killed run left half-written is closed first."""
    torn = file.exists() and file.read_bytes()[-1:] not in (b"", b"\n")
    with file.open("a") as stream:
        stream.write("\n" * torn + json.dumps(row) + "\n")


def _finished(file: Path) -> dict[Trial, dict[str, float]]:
    if not file.exists():
        return {}
    names = list(Trial.__dataclass_fields__)
    found = {}
    for line in file.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the run was killed while it wrote this one
            continue
        found[Trial(**{name: row.pop(name) for name in names})] = row
    return found
