"""The paper's three functions of one variable, with the right derivatives and the control that the paper lacks."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffwright.bench.harness import Figure
from diffwright.optim.diffgrad import DiffGrad

START, UPDATES, LR, BETAS = -1.0, 299, 0.1, (0.95, 0.999)


def f1(x: float) -> float:
    """Two parabolas: global minimum at -0.3, local minimum at 0.2."""
    return (x + 0.3) ** 2 if x <= 0 else (x - 0.2) ** 2 + 0.05


def df1(x: float) -> float:
    """Derivative of :func:`f1`."""
    return 2 * (x + 0.3) if x <= 0 else 2 * (x - 0.2)


def f2(x: float) -> float:
    """A slope into waves: global minimum at -0.6429, local minima at 0 and 0.588."""
    return -40 * x - 35.15 if x <= -0.9 else x**3 + x * math.sin(8 * x) + 0.85


def df2(x: float) -> float:
    """Derivative of :func:`f2` (the authors' notebook has x cos 8x in place of the last two terms)."""
    return -40.0 if x <= -0.9 else 3 * x**2 + math.sin(8 * x) + 8 * x * math.cos(8 * x)


def f3(x: float) -> float:
    """A pit with a rim: global minimum at 0."""
    if abs(x) > 0.5 or x == -0.5:
        return x * x
    return 0.75 - abs(x) if abs(x) > 0.4 else 7 * abs(x) / 8


def df3(x: float) -> float:
    """Derivative of :func:`f3`, one-sided at the knots as in the authors' notebook."""
    knots = ((-0.5, 2 * x), (-0.4, 1.0), (0.0, -0.875), (0.4, 0.875), (0.5, -1.0))
    return next((slope for knot, slope in knots if x <= knot), 2 * x)


FUNCTIONS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "f1": (f1, df1),
    "f2": (f2, df2),
    "f3": (f3, df3),
}


def aliased_friction(previous: Tensor, grad: Tensor) -> Tensor:
    """Return what the published code computes when gradient memory is reused: 0.5 from the second step on.

    Args:
        previous: Previous gradient; all zero before the first step.
        grad: Gradient.

    Shapes:
        previous, grad and the result share one shape.
    """
    return torch.full_like(grad, 0.5) if previous.any() else torch.sigmoid(grad.abs())


ARMS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "adam": lambda params: torch.optim.Adam(params, lr=LR, betas=BETAS),
    "adam_half": lambda params: torch.optim.Adam(params, lr=LR / 2, betas=BETAS),
    "diffgrad": lambda params: DiffGrad(params, lr=LR, betas=BETAS),
    "aliased": lambda params: DiffGrad(params, lr=LR, betas=BETAS, friction=aliased_friction),
}

EXPECTED = {
    "f1": (0.2001149320, -0.3002998152, -0.3000711663, -0.3001676316),
    "f2": (0.0000901345, -0.6431234505, -0.6429626925, -0.6429090155),
    "f3": (0.0005101392, 0.0021333146, 0.0135651244, 0.0146669898),
}
"""Final x of each arm, in the order of ``ARMS``, from an independent implementation."""


def path(function: str, arm: str, updates: int = UPDATES, start: float = START) -> list[float]:
    """Run an optimizer on one function in float64.

    Args:
        function: ``f1``, ``f2`` or ``f3``.
        arm: A key of ``ARMS``.
        updates: Number of steps.
        start: First x.

    Returns:
        x before the first and after every step.
    """
    derivative = FUNCTIONS[function][1]
    param = torch.tensor([start], dtype=torch.float64, requires_grad=True)
    optimizer = ARMS[arm]([param])
    points = [start]
    for _ in range(updates):
        param.grad = torch.tensor([derivative(points[-1])], dtype=torch.float64)
        optimizer.step()
        points.append(param.item())
    return points


def figures() -> dict[str, Figure]:
    """Return the final x of every arm on every function, the late spread on f3, and the error against theory.

    Returns:
        Figures ``f1_adam`` to ``f3_aliased``, ``f3_spread_*``, ``synthetic_error``, and ``step_spread_unit`` and
        ``step_spread_small`` of ``step_shares``.
    """
    found, error = {}, 0.0
    for name, scale in (("unit", 1.0), ("small", 1e-3)):
        changes, shares = step_shares(scale)
        rank = float(np.corrcoef(changes.argsort().argsort(), shares.argsort().argsort())[0, 1])
        note = f"largest less smallest step over Adam's, gradients about {scale:g}; rank correlation with the change"
        found[f"step_spread_{name}"] = Figure(float(np.ptp(shares)), "", "higher", f"{note} {rank:.3f}")
    for function in FUNCTIONS:
        for arm, expected in zip(ARMS, EXPECTED[function], strict=True):
            points = path(function, arm)
            error = max(error, abs(points[-1] - expected))
            distance = (
                "final x; the global minimum is at " + {"f1": "-0.3", "f2": "-0.642919", "f3": "0"}[function]
            )
            found[f"{function}_{arm}"] = Figure(points[-1], "", "lower", distance)
            if function == "f3":
                late = points[-50:]
                note = "range of x over the last 50 points"
                found[f"f3_spread_{arm}"] = Figure(max(late) - min(late), "", "lower", note)
    found["synthetic_error"] = Figure(error, "", "lower", "largest distance of a final x from the reference")
    return found


def step_shares(scale: float, count: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """Compare the second step of diffGrad with Adam's on the same random gradients, element by element.

    Args:
        scale: Standard deviation of the gradients.
        count: Number of elements.

    Shapes:
        two arrays (count,).

    Returns:
        |change of the gradient|, and diffGrad's step over Adam's.
    """
    gradients = scale * torch.randn(2, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    steps = []
    for rule in (DiffGrad, torch.optim.Adam):
        x = torch.zeros(count, dtype=torch.float64, requires_grad=True)
        optimizer = rule([x], lr=1.0, eps=0.0)
        for gradient in gradients:
            before, x.grad = x.detach().clone(), gradient.clone()
            optimizer.step()
        steps.append(x.detach() - before)
    return (gradients[1] - gradients[0]).abs().numpy(), (steps[0] / steps[1]).numpy()


def plot(file: str | Path) -> None:
    """Draw each function and the path of every arm, as in figure 4 of the paper.

    Args:
        file: Picture to write.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib.figure
    except ImportError as error:
        from diffwright.core.errors import MissingExtra

        raise MissingExtra("plots need matplotlib; pip install 'diffwright[viz]'.") from error
    figure = matplotlib.figure.Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 3)
    grid = torch.linspace(-1, 1, 801).tolist()
    for column, (name, (function, _)) in enumerate(FUNCTIONS.items()):
        axes[0, column].plot(grid, [function(x) for x in grid], color="black")
        axes[0, column].set_title(name)
        for arm in ARMS:
            axes[1, column].plot(path(name, arm), label=arm, linewidth=1)
        axes[1, column].set_xlabel("step")
        axes[1, column].set_ylabel("x")
    axes[1, 0].legend()
    figure.savefig(str(file), dpi=110)
