"""The cases of torch's own optimizer suite (``TestOptimRenewed``), run on DiffGrad and DiffGradW.

The cases are written anew after upstream's list, driven by the ``OptimizerInfo`` and the input functions of
the installed ``torch.testing._internal.common_optimizers``. ``optim_cases.json`` holds the list with the
outcome of each case; a case that cannot run here says why.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffwright.bench.optim_case import Case, common_optimizers
from diffwright.bench.optim_cases_state import STATE_CASES
from diffwright.bench.optim_cases_step import STEP_CASES
from diffwright.optim.diffgrad import DiffGrad, DiffGradW

LIST = Path(__file__).with_name("optim_cases.json")


@dataclass(frozen=True)
class Outcome:
    """How a case ended: ``passed``, ``failed`` or ``inapplicable``, and why."""

    name: str
    status: str
    reason: str = ""


def optimizer_infos() -> list[Any]:
    """Return torch's ``OptimizerInfo`` for our two classes, with the inputs of Adam and AdamW and our own.

    Returns:
        The infos.

    Raises:
        MissingExtra: The test extra (expecttest) is not installed.
    """
    common = common_optimizers()

    def inputs(base: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        def with_ours(device: str, dtype: torch.dtype | None = None) -> list[Any]:
            ours = [
                {"friction": "scale_free", "eps_mode": "reference"},
                {"friction": "mean_std", "rectify": True},
                {"friction": "signed", "amsgrad": True, "weight_decay": 0.1},
            ]
            if dtype == torch.float16:
                ours = [{**kwargs, "eps": 0.1} for kwargs in ours]
            made = [common.OptimizerInput(params=None, kwargs=kwargs, desc=str(kwargs)) for kwargs in ours]
            return base(device, dtype) + made

        return with_ours

    flags = (
        "foreach",
        "maximize",
        "capturable",
        "differentiable",
        "fused",
        "friction",
        "eps_mode",
        "rectify",
    )
    kept = {
        "supported_impls": ("foreach", "differentiable", "fused"),
        "supports_fused_on": ("cpu", "cuda"),
        "has_capturable_arg": True,
        "not_og_supported_flags": flags,
    }
    adam, adamw = common.optim_inputs_func_adam, common.optim_inputs_func_adamw
    errors = common.optim_error_inputs_func_adam
    return [
        common.OptimizerInfo(
            DiffGrad, optim_inputs_func=inputs(adam), optim_error_inputs_func=errors, **kept
        ),
        common.OptimizerInfo(
            DiffGradW, optim_inputs_func=inputs(adamw), optim_error_inputs_func=errors, **kept
        ),
    ]


def cases() -> dict[str, Case]:
    """Return every case of upstream's suite by name, in upstream's order of topics."""
    return {case.name: case for case in [*STEP_CASES, *STATE_CASES]}


def run_case(case: Case, infos: list[Any] | None = None) -> Outcome:
    """Run a case on both classes.

    Args:
        case: The case.
        infos: Other ``OptimizerInfo`` than :func:`optimizer_infos` gives.

    Returns:
        The outcome; a failure carries the message of the assertion.
    """
    missing = _missing(case)
    if missing:
        return Outcome(case.name, "inapplicable", missing)
    assert case.run is not None
    device = "cuda" if case.needs.endswith(("cuda", "cuda devices")) else "cpu"
    for info in infos or optimizer_infos():
        torch.manual_seed(0)
        try:
            case.run(info, device)
        except Exception as error:  # a crash is a failure of the case, reported with its text
            return Outcome(case.name, "failed", f"{info.name}: {type(error).__name__}: {error}")
    return Outcome(case.name, "passed")


def run_cases(progress: Callable[[str, int, int], Any] | None = None) -> list[Outcome]:
    """Run every case.

    Args:
        progress: Called with (name, done, total).

    Returns:
        The outcomes, in the order of :func:`cases`.
    """
    every, infos, outcomes = cases(), optimizer_infos(), []
    for number, case in enumerate(every.values()):
        if progress is not None:
            progress(f"torch case {case.name}", number, len(every))
        outcomes.append(run_case(case, infos))
    return outcomes


def listed() -> dict[str, Any]:
    """Return the committed list: torch's version, the upstream file, and the outcome of every case."""
    return json.loads(LIST.read_text())


def as_list(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return outcomes in the layout of the committed list."""
    return {
        "upstream": "pytorch/test/test_optim.py, class TestOptimRenewed",
        "torch": torch.__version__.split("+")[0],
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "cases": {outcome.name: [outcome.status, outcome.reason] for outcome in outcomes},
    }


def _missing(case: Case) -> str:
    """Say why a case cannot run here, or nothing."""
    if case.run is None:
        return case.reason
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    memory = torch.cuda.get_device_properties(0).total_memory if cuda else 0
    lacks = {
        "": False,
        "cuda": cuda < 1,
        "two cuda devices": cuda < 2,
        "72 GB on cuda": memory < 72e9,
        "64 GB": _host_memory() < 64e9,
    }[case.needs]
    return f"needs {case.needs}" if lacks else ""


def _host_memory() -> int:
    info = Path("/proc/meminfo")
    if not info.exists():
        return 0
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024
