"""What the regret bound of the paper promises, measured: random convex online problems, and Adam's counter-example.

The losses are w_t |x - c_t| on [-1, 1] with random c_t and w_t, coordinate by coordinate; steps decay as α/√t and x
is projected back. The regret is against the best fixed x in hindsight, the weighted median of the c_t.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffwright.bench.harness import Figure
from diffwright.core.progress import Progress, report
from diffwright.optim.diffgrad import DiffGrad

Make = Callable[[list[Tensor]], torch.optim.Optimizer]


def regret_curve(make: Make, rounds: int, problems: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Play random convex online problems.

    Args:
        make: Makes the optimizer; its learning rate is divided by √t.
        rounds: T, number of rounds.
        problems: Independent one-dimensional problems.
        seed: Of the problems.

    Shapes:
        two arrays (K,), K about ten a decade of T.

    Returns:
        T, and the mean of R(T) / T over the problems.
    """
    rng = np.random.default_rng(seed)
    target = np.clip(rng.uniform(-0.5, 0.5, problems) + 0.5 * rng.standard_normal((rounds, problems)), -1, 1)
    weight = rng.uniform(0.2, 1.8, target.shape)
    targets, weights = torch.from_numpy(target), torch.from_numpy(weight)
    x = torch.ones(problems, dtype=torch.float64, requires_grad=True)
    optimizer = make([x])
    rate = optimizer.param_groups[0]["lr"]
    losses = torch.empty(rounds, problems, dtype=torch.float64)
    for t in range(rounds):
        difference = x.detach() - targets[t]
        losses[t] = weights[t] * difference.abs()
        x.grad = weights[t] * difference.sign()
        optimizer.param_groups[0]["lr"] = rate / math.sqrt(t + 1)
        optimizer.step()
        with torch.no_grad():
            x.clamp_(-1, 1)
    marks = np.unique(np.geomspace(100, rounds, 10 * max(1, int(math.log10(rounds / 100)))).astype(int))
    paid = losses.cumsum(0).numpy()
    means = []
    for mark in marks:
        best = weighted_median(target[:mark], weight[:mark])
        least = (weight[:mark] * np.abs(best - target[:mark])).sum(0)
        means.append((paid[mark - 1] - least).mean() / mark)
    return marks, np.array(means)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Give the x of each column that minimises the sum of weights * |x - values|.

    Shapes:
        values, weights (T, N) -> (N,)
    """
    order = np.argsort(values, axis=0)
    share = np.take_along_axis(weights, order, 0).cumsum(0)
    middle = (share < share[-1:] / 2).sum(0)
    return np.take_along_axis(values, order, 0)[middle, np.arange(values.shape[1])]


def slope(rounds: np.ndarray, means: np.ndarray) -> float:
    """Return the slope of log R(T)/T over log T by least squares."""
    return float(np.polyfit(np.log(rounds), np.log(np.maximum(means, 1e-12)), 1)[0])


def counter_example(make: Make, rounds: int, large: float = 4.0) -> tuple[float, float]:
    """Play the linear losses on which Adam fails: gradient C in every third round, else -1, x in [-1, 1].

    Args:
        make: Makes the optimizer, with β1 = 0 and β2 = 1 / (1 + C²).
        rounds: Number of rounds.
        large: C > 2, so that x = -1 is best.

    Returns:
        Final x, and the mean regret.

    Reference:
        Reddi et al., "On the Convergence of Adam and Beyond", theorem 1.
    """
    x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = make([x])
    rate, regret = optimizer.param_groups[0]["lr"], 0.0
    for t in range(rounds):
        gradient = large if t % 3 == 0 else -1.0
        regret += gradient * (x.item() + 1)
        x.grad = torch.full_like(x, gradient)
        optimizer.param_groups[0]["lr"] = rate / math.sqrt(t + 1)
        optimizer.step()
        with torch.no_grad():
            x.clamp_(-1, 1)
    return x.item(), regret / rounds


def figures(quick: bool, progress: Progress | None = None) -> dict[str, Figure]:
    """Measure slopes and the counter-example.

    Args:
        quick: T = 2,000 instead of 100,000.
        progress: Is told the parts done.

    Returns:
        ``regret_slope`` (diffGrad), ``regret_slope_amsgrad``, ``regret_slope_adam``, and for the counter-example
        ``counter_x_*`` and ``counter_regret_*``.
    """
    rounds = 2_000 if quick else 100_000
    makers: dict[str, Make] = {
        "": lambda params: DiffGrad(params, lr=0.5),
        "_amsgrad": lambda params: DiffGrad(params, lr=0.5, amsgrad=True),
        "_adam": lambda params: torch.optim.Adam(params, lr=0.5),
    }
    found = {}
    for number, (name, make) in enumerate(makers.items()):
        report(progress, "regret", number, len(makers) + 1)
        note = f"slope of log R(T)/T over log T, T to {rounds}; the theorem says -0.5"
        found[f"regret_slope{name}"] = Figure(slope(*regret_curve(make, rounds)), "", "lower", note)
    betas = (0.0, 1 / 17)
    report(progress, "regret", len(makers), len(makers) + 1)
    examples: dict[str, Make] = {
        "adam": lambda params: torch.optim.Adam(params, lr=0.5, betas=betas),
        "adam_amsgrad": lambda params: torch.optim.Adam(params, lr=0.5, betas=betas, amsgrad=True),
        "diffgrad": lambda params: DiffGrad(params, lr=0.5, betas=betas),
        "diffgrad_amsgrad": lambda params: DiffGrad(params, lr=0.5, betas=betas, amsgrad=True),
    }
    for name, make in examples.items():
        final, regret = counter_example(make, 1_000 if quick else 10_000)
        found[f"counter_x_{name}"] = Figure(final, "", "lower", "the best x is -1, the worst 1")
        found[f"counter_regret_{name}"] = Figure(regret, "", "lower", "mean regret; at x = 1 it is 1.33")
    return found
