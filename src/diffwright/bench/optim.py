"""`bench optim`: what diffGrad costs, whether it is right, and whether it helps.

Without `cifar` the image experiment is left out; it takes hours, and its code and pre-registration are in
`optim_images`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffwright.bench.harness import Figure
from diffwright.core.progress import Progress

PARTS = ("speed", "memory", "cases", "synthetic", "regret", "images")


def run(
    quick: bool,
    progress: Progress | None = None,
    *,
    parts: Sequence[str] = PARTS,
    cifar: str | Path | None = None,
    cifar100: str | Path | None = None,
    **images: Any,
) -> dict[str, Figure]:
    """Measure DiffGrad.

    Args:
        quick: Toy sizes, under two minutes.
        progress: Is told the steps done; may cancel.
        parts: Which of ``PARTS`` to measure; ``images`` only where its data are given.
        cifar: File of CIFAR-10 pictures for the image experiment.
        cifar100: The official ``cifar-100-binary.tar.gz``, likewise.
        **images: Further options of ``optim_images.figures``, such as ``epochs`` and ``results``.

    Returns:
        The figures by name.

    Raises:
        MissingExtra: A part needs an extra that is not installed.
    """
    found: dict[str, Figure] = {}
    if "speed" in parts:
        from diffwright.bench.optim_speed import cpu_figures, gpu_figures

        found |= cpu_figures(quick, progress) | gpu_figures(quick)
    if "memory" in parts:
        from diffwright.bench.optim_speed import memory_figures

        found |= memory_figures()
    if "cases" in parts:
        found |= _case_figures(progress)
    if "synthetic" in parts:
        from diffwright.bench import optim_synthetic

        found |= optim_synthetic.figures()
    if "regret" in parts:
        from diffwright.bench import optim_regret

        found |= optim_regret.figures(quick, progress)
    if "images" in parts and (cifar is not None or cifar100 is not None):
        from diffwright.bench import optim_images

        found |= optim_images.figures(quick, progress, cifar=cifar, cifar100=cifar100, **images)
    return found


def _case_figures(progress: Progress | None) -> dict[str, Figure]:
    from diffwright.bench.optim_cases import run_cases

    statuses = [outcome.status for outcome in run_cases(progress)]
    total = f"of {len(statuses)} cases of torch's TestOptimRenewed"
    return {
        "torch_cases_passed": Figure(statuses.count("passed"), "", "higher", total),
        "torch_cases_failed": Figure(statuses.count("failed"), "", "lower", f"{total}; goal 0"),
        "torch_cases_inapplicable": Figure(statuses.count("inapplicable"), "", "lower", total),
    }
