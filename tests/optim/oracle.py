"""An independent statement of the rule, one number at a time in double precision, to test against."""

import math
from dataclasses import dataclass, field

import torch


@dataclass
class Oracle:
    """Steps flat float64 parameters with Python floats; takes the options of ``DiffGrad``."""

    theta: list[float]
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False
    amsgrad: bool = False
    friction: str = "abs"
    eps_mode: str = "paper"
    rectify: bool = False
    maximize: bool = False
    t: int = 0
    m: list[float] = field(default_factory=list)
    v: list[float] = field(default_factory=list)
    q: list[float] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)

    def __post_init__(self):
        for state in (self.m, self.v, self.q, self.largest):
            state.extend([0.0] * len(self.theta))

    def step(self, gradient):
        self.t += 1
        b1, b2 = self.betas
        g = [-x if self.maximize else x for x in gradient]
        if self.weight_decay and not self.decoupled_weight_decay:
            g = [x + self.weight_decay * theta for x, theta in zip(g, self.theta, strict=True)]
        mu = sum(abs(x) for x in g) / len(g)
        s = math.sqrt(sum((abs(x) - mu) ** 2 for x in g) / len(g))
        for i, x in enumerate(g):
            self.m[i] = b1 * self.m[i] + (1 - b1) * x
            self.v[i] = b2 * self.v[i] + (1 - b2) * x * x
            self.largest[i] = max(self.largest[i], self.v[i])
            second = self.largest[i] if self.amsgrad else self.v[i]
            m_hat, c2 = self.m[i] / (1 - b1**self.t), 1 - b2**self.t
            if self.eps_mode == "paper":
                denominator = math.sqrt(second / c2) + self.eps
            else:
                denominator = (math.sqrt(second) + self.eps) / math.sqrt(c2)
            xi = self._friction(self.q[i] - x, mu, s, denominator)
            scale, adaptive = self._rectification()
            update = scale * xi * m_hat / (denominator if adaptive else 1.0)
            if self.weight_decay and self.decoupled_weight_decay:
                self.theta[i] *= 1 - self.lr * self.weight_decay
            self.theta[i] -= self.lr * update
            self.q[i] = x

    def _friction(self, delta, mu, s, denominator):
        size = abs(delta)
        return {
            "abs": lambda: sigmoid(size),
            "signed": lambda: sigmoid(delta),
            "wide": lambda: 9 * sigmoid(0.5 * size) - 4,
            "mean_std": lambda: sigmoid(s * size - mu),
            "mean_variance": lambda: sigmoid(s * s * size - mu),
            "mean_root_std": lambda: sigmoid(math.sqrt(s) * size - mu),
            "scale_free": lambda: sigmoid(size / denominator) if denominator else 0.5,
        }[self.friction]()

    def _rectification(self):
        if not self.rectify:
            return 1.0, True
        b2 = self.betas[1]
        limit = 2 / (1 - b2) - 1
        rho = limit - 2 * self.t * b2**self.t / (1 - b2**self.t)
        if rho <= 5:
            return 1.0, False
        return math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)), True


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def random_gradients(count, size, seed, scale=1.0):
    """Gradients of many magnitudes, with zeros among them."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        magnitude = 10 ** (torch.rand(size, generator=generator, dtype=torch.float64) * 6 - 4)
        gradient = torch.randn(size, generator=generator, dtype=torch.float64) * magnitude * scale
        yield gradient * (torch.rand(size, generator=generator) > 0.1)
