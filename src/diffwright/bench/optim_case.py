"""What a case of torch's optimizer suite is, and the inputs that all cases try."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from diffwright.core.errors import MissingExtra


@dataclass(frozen=True)
class Case:
    """One case of the upstream suite.

    Attributes:
        name: Upstream's name.
        run: Runs it on one ``OptimizerInfo`` and device, raising ``AssertionError`` where it fails; None
            where the case cannot concern this optimizer.
        needs: ``""``, ``cuda``, ``two cuda devices``, ``72 GB on cuda`` or ``64 GB``.
        reason: Why the case cannot concern this optimizer, where ``run`` is None.
    """

    name: str
    run: Callable[[Any, str], None] | None
    needs: str = ""
    reason: str = ""


def common_optimizers() -> Any:
    """Import torch's optimizer test module.

    Raises:
        MissingExtra: The test extra (expecttest) is not installed.
    """
    try:
        from torch.testing._internal import common_optimizers as module
    except ImportError as error:
        raise MissingExtra(
            f"torch's optimizer cases need torch's test modules ({error}); pip install 'diffwright[test]'."
        ) from error
    return module


def all_inputs(
    info: Any, device: str, *, skip: tuple[str, ...] = ("differentiable",)
) -> list[dict[str, Any]]:
    """Return the keyword arguments to try, each with every implementation on and off."""
    common = common_optimizers()
    made = common._get_optim_inputs_including_global_cliquey_kwargs(device, torch.float32, info, skip=skip)
    return [dict(each.kwargs) for each in made]
