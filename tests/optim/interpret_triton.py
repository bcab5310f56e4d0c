"""Run the Triton kernel in Triton's interpreter on the CPU and compare it with the for-loop.

Needs Triton and ``TRITON_INTERPRET=1``; ``test_triton.py`` starts it where Triton is installed.
"""

import itertools
import random
import sys

import torch

from diffwright.optim import diffgrad
from diffwright.optim.fused import triton_diffgrad
from diffwright.optim.rule import FRICTIONS


def fused(slots, rule, *, grad_scale=None, found_inf=None):
    triton_diffgrad(slots, rule, grad_scale, found_inf)


def compare(options, dtype):
    torch.manual_seed(0)
    params = [torch.randn(size, dtype=dtype).requires_grad_() for size in (1440, 7, 1)]
    twins = [param.detach().clone().requires_grad_() for param in params]
    loop = diffgrad.DiffGrad(params, lr=1e-2, fused=False, **options)
    kernel = diffgrad.DiffGrad(twins, lr=1e-2, fused=True, **options)
    for step in range(7):
        scale = 8.0 if step % 2 else None
        kernel.grad_scale = None if scale is None else torch.tensor(scale)
        for param, twin in zip(params, twins, strict=True):
            param.grad = torch.randn_like(param)
            twin.grad = param.grad * (scale or 1)
        kernel.found_inf = torch.tensor(1.0)
        kernel.step()
        kernel.found_inf = torch.tensor(0.0)
        kernel.step()
        loop.step()
    # The interpreter cuts bfloat16 off where hardware rounds.
    loose = options["prev_grad_dtype"] is not None
    for param, twin in zip(params, twins, strict=True):
        torch.testing.assert_close(twin, param, rtol=1e-5, atol=3e-3 if loose else 1e-6)
        for key, value in loop.state[param].items():
            rtol, atol = (1e-2, 1e-3) if loose else (1e-5, 1e-6)
            torch.testing.assert_close(kernel.state[twin][key], value, rtol=rtol, atol=atol)


def main(count):
    diffgrad._fused_diffgrad = fused
    names = ("friction", "eps_mode", "weight_decay", "decoupled_weight_decay", "amsgrad", "rectify")
    names += ("prev_grad_dtype", "maximize")
    both = (False, True)
    values = (
        list(FRICTIONS),
        ("paper", "reference"),
        (0, 0.1),
        both,
        both,
        both,
        (None, torch.bfloat16),
        both,
    )
    combinations = list(itertools.product(*values, (torch.float32, torch.float64)))
    for *chosen, dtype in random.Random(0).sample(combinations, count):
        compare(dict(zip(names, chosen, strict=True)), dtype)
    print(f"{count} combinations agree")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
