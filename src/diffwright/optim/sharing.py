"""Proof that the optimizer is the only owner of a gradient, so that it may keep the tensor instead of a copy.

A stored gradient that somebody else writes later is the published bug of diffGrad. Three counts tell
whether anybody else could: owners of the storage, C++ owners of the tensor, Python references to it. They are
compared with the counts of a gradient that was made for the comparison and that nobody else has seen.
"""

import sys
from functools import cache

import torch
from torch import Tensor


def owns_gradient(param: Tensor) -> bool:
    """Tell whether nothing but ``param.grad`` refers to the gradient or to its memory.

    Views (the buckets of DDP among them), gradients with a graph, gradients in memory larger than themselves,
    gradients in memory that torch did not allocate for this process alone (NumPy's, shared memory), and gradients
    that any variable, list or other tensor still refers to are not owned.

    Args:
        param: A parameter with a gradient.

    Shapes:
        param of any shape.

    Returns:
        True only if proved.
    """
    grad = param.grad
    if grad is None or type(grad) is not Tensor or grad.layout is not torch.strided:
        return False
    if grad.dtype != param.dtype or grad.requires_grad or grad._is_view() or grad.stride() != param.stride():
        return False
    storage = grad.untyped_storage()
    if storage.nbytes() != grad.numel() * grad.element_size():
        return False
    if not storage.resizable() or (storage.is_shared() and grad.device.type == "cpu"):
        return False
    del grad, storage
    return _reference_counts(param) == _counts_of_sole_owner()


def _reference_counts(param: Tensor) -> tuple[int, int, int]:
    grad = param.grad
    assert grad is not None
    storage = torch._C._storage_Use_Count(grad.untyped_storage()._cdata)
    owners = grad._use_count()  # pyright: ignore[reportAttributeAccessIssue]
    return storage, owners, sys.getrefcount(grad)


@cache
def _counts_of_sole_owner() -> tuple[int, int, int]:
    param = torch.zeros(2, requires_grad=True)
    with torch.enable_grad():
        (param * 2).sum().backward()
    return _reference_counts(param)
