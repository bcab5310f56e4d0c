"""A numeric parity pack for any diffGrad: golden vectors and the gradient-aliasing harness.

From the tests of any library, in one line::

    from diffwright.optim.parity import check_diffgrad as check; check(lambda p: DiffGrad(p, lr=0.1))

It would have caught both bugs that published ports carried for years: the stored gradient that is the live
gradient, and a friction that is computed and then not used.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Make = Callable[[list[Tensor]], torch.optim.Optimizer]

GRADIENTS = ((1.0, -0.1, 0.0, 1e-9), (0.5, -0.1, 0.0, 1e-9), (-2.0, 0.3, 1.0, 2e-9))
"""Gradients of the three golden steps, from θ = 0 with lr 0.1, betas (0.9, 0.999) and ε 1e-8."""

PAPER_VECTORS = (
    (-0.073105857132, 0.052497913498, 0.0, -0.004545454548),
    (-0.131130247851, 0.102497908498, 0.0, -0.009090909093),
    (-0.112059932127, 0.087620509342, -0.046701015390, -0.015087648408),
)
"""θ after each step where ε is added to √v̂ (equation 20 of the paper)."""

REFERENCE_VECTORS = (
    (-0.073105834745, 0.052497752735, 0.0, -0.000157615459),
    (-0.131130209780, 0.102497640904, 0.0, -0.000380171297),
    (-0.112059896544, 0.087620255158, -0.046701001430, -0.000752021338),
)
"""θ after each step where ε is added to √v before the correction (the authors' code)."""


@dataclass(frozen=True)
class ParityReport:
    """What the pack measured.

    Attributes:
        eps_mode: ``paper`` or ``reference``, whichever vectors are nearer.
        vector_error: Largest distance from the golden vectors of that mode.
        ordinary_error: The same without the last element, whose gradients of 1e-9 show where ε stands.
        aliasing_errors: Way of handling gradients -> largest distance from the path with fresh gradients.
    """

    eps_mode: str
    vector_error: float
    ordinary_error: float
    aliasing_errors: dict[str, float]


def check_diffgrad(make: Make, *, tolerance: float = 1e-12, tiny_gradients: bool = True) -> ParityReport:
    """Check an implementation and raise with the reason where it is not diffGrad.

    Args:
        make: Makes the optimizer under test for a list of float64 parameters, with lr 0.1, betas
            (0.9, 0.999), ε 1e-8 and no weight decay.
        tolerance: Largest error allowed against the golden vectors of either placement of ε.
        tiny_gradients: Whether gradients of 1e-9 must agree too; they do not where ε stands in a third place.

    Returns:
        What was measured.

    Raises:
        AssertionError: It does not give the golden vectors, or its steps depend on who owns the gradient.
    """
    report = measure_diffgrad(make)
    error = report.vector_error if tiny_gradients else report.ordinary_error
    assert error <= tolerance, (
        f"not diffGrad: {error:.3g} from the golden vectors of the {report.eps_mode} form,"
        f" allowed {tolerance:.3g}"
    )
    wrong = {name: error for name, error in report.aliasing_errors.items() if not error <= 1e-12}
    assert not wrong, f"the step depends on how the gradient is stored: {wrong}"
    return report


def measure_diffgrad(make: Make) -> ParityReport:
    """Measure what :func:`check_diffgrad` judges.

    Args:
        make: As there.

    Returns:
        The errors.
    """
    path = _golden_path(make)
    vectors = {"paper": PAPER_VECTORS, "reference": REFERENCE_VECTORS}
    errors = {
        name: (path - torch.tensor(golden, dtype=torch.float64)).abs() for name, golden in vectors.items()
    }
    mode = min(errors, key=lambda name: errors[name].max().item())
    whole, ordinary = errors[mode].max().item(), errors[mode][:, :-1].max().item()
    return ParityReport(mode, whole, ordinary, aliasing_errors(make))


def aliasing_errors(make: Make, steps: int = 12) -> dict[str, float]:
    """Feed the same gradients in several ways and compare the trajectories.

    Args:
        make: Makes the optimizer for a list of float64 parameters.
        steps: Steps of each trajectory.

    Returns:
        Way -> largest distance from the path where every gradient is a new tensor that nobody touches.
    """
    expected = _trajectory(make, _fresh, steps)
    return {
        name: (_trajectory(make, way, steps) - expected).abs().max().nan_to_num(float("inf")).item()
        for name, way in WAYS.items()
    }


def _golden_path(make: Make) -> Tensor:
    param = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = make([param])
    path = []
    for gradient in GRADIENTS:
        param.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        path.append(param.detach().clone())
    return torch.stack(path)


def _gradients(steps: int) -> Iterator[list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        yield [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 4), (5,))]


def _trajectory(make: Make, way: Callable[..., None], steps: int) -> Tensor:
    params = [torch.ones(shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4), (5,))]
    optimizer = make(params)
    bucket = torch.zeros(17, dtype=torch.float64)
    path = []
    for gradients in _gradients(steps):
        way(params, gradients, bucket, optimizer.step)
        path.append(torch.cat([param.detach().flatten() for param in params]))
    return torch.stack(path)


def _fresh(params: list[Tensor], gradients: list[Tensor], bucket: Tensor, step: Callable[[], object]) -> None:
    for param, gradient in zip(params, gradients, strict=True):
        param.grad = gradient.clone()
    step()


def _zeroed(
    params: list[Tensor], gradients: list[Tensor], bucket: Tensor, step: Callable[[], object]
) -> None:
    """As ``zero_grad(set_to_none=False)``: one buffer, zeroed and filled again."""
    for param, gradient in zip(params, gradients, strict=True):
        if param.grad is None:
            param.grad = torch.zeros_like(param)
        param.grad.zero_().add_(gradient)
    step()


def _accumulated(
    params: list[Tensor], gradients: list[Tensor], bucket: Tensor, step: Callable[[], object]
) -> None:
    """As gradient accumulation over four micro-batches into one buffer."""
    for param, gradient in zip(params, gradients, strict=True):
        if param.grad is None:
            param.grad = torch.zeros_like(param)
        param.grad.zero_()
        for _ in range(4):
            param.grad.add_(gradient / 4)
    step()


def _bucket_views(
    params: list[Tensor], gradients: list[Tensor], bucket: Tensor, step: Callable[[], object]
) -> None:
    """As DDP with ``gradient_as_bucket_view=True``: views of one bucket that every backward fills again."""
    views = bucket.split([param.numel() for param in params])
    for param, gradient, view in zip(params, gradients, views, strict=True):
        view.copy_(gradient.flatten())
        param.grad = view.view_as(param)
    step()
    for param in params:
        param.grad = None


def _clipped(
    params: list[Tensor], gradients: list[Tensor], bucket: Tensor, step: Callable[[], object]
) -> None:
    """As clipping and unscaling: the buffer holds multiples and is scaled back in place before the step."""
    _zeroed(params, [gradient * 1024 for gradient in gradients], bucket, lambda: None)
    for param in params:
        assert param.grad is not None
        param.grad.mul_(1 / 1024)
    step()


def _scribbled(
    params: list[Tensor], gradients: list[Tensor], bucket: Tensor, step: Callable[[], object]
) -> None:
    """A caller that keeps a reference and writes NaN into it after the step."""
    _fresh(params, gradients, bucket, lambda: None)
    kept = [param.grad for param in params]
    step()
    for gradient in kept:
        assert gradient is not None
        gradient.fill_(float("nan"))


WAYS: dict[str, Callable[..., None]] = {
    "zeroed in place": _zeroed,
    "accumulated in place": _accumulated,
    "views of a bucket": _bucket_views,
    "scaled in place": _clipped,
    "written after the step": _scribbled,
}
