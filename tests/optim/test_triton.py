"""The parts of the CUDA path that run without CUDA, and the kernel itself in Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from diffwright.optim.fused import triton_diffgrad
from diffwright.optim.loop import Slots
from diffwright.optim.rule import FRICTIONS, Rule
from diffwright.optim.triton_table import COLUMNS, Plan, aligned, chunk_list, hyper_row, pointer_rows

HAS_TRITON = importlib.util.find_spec("triton") is not None


def slots(*sizes):
    def zeros():
        return [torch.zeros(size) for size in sizes]

    steps = [torch.zeros(()) for _ in sizes]
    return Slots(zeros(), zeros(), zeros(), zeros(), zeros(), [], steps, [False, True, False][: len(sizes)])


def test_every_element_of_every_tensor_belongs_to_one_chunk():
    numels = [0, 1, 1024, 1025, 5000]
    covered = dict.fromkeys(range(len(numels)), 0)
    for tensor, chunk in chunk_list(numels).tolist():
        covered[tensor] += min(1024, numels[tensor] - chunk * 1024)
    assert covered == dict(enumerate(numels))
    assert chunk_list([0, 0]).shape == (0, 2)


def test_rows_hold_sizes_addresses_and_what_is_taken():
    made = slots(48, 7)
    rows = pointer_rows(made, [0, 1])
    assert rows.shape == (2, COLUMNS)
    assert rows[:, 0].tolist() == [48, 7]
    assert rows[1, 1] == made.params[1].data_ptr()
    assert rows[1, 6] == made.grads[1].data_ptr()
    assert rows[:, 5].tolist() == [0, 0]
    assert rows[:, 8].tolist() == [0, 1]
    rows[0, 1:7] = 32
    assert aligned(rows).tolist() == [True, False]
    rows[0, 4] = 8
    assert aligned(rows).tolist() == [False, False]


def test_the_first_row_holds_the_bits_of_the_hyperparameters():
    rule = Rule(lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01, friction=FRICTIONS["wide"])
    expected = [0.1, 0.9, 0.999, 1e-8, 0.01, 9.0, -4.0, 0.5, 0.0, 0.0]
    assert hyper_row(rule).view(np.float64).tolist() == [expected]


def test_a_capture_uses_memory_of_its_own_that_is_never_written_again():
    plan = Plan.make(pointer_rows(slots(5), [0]), torch.device("cpu"))
    first, second = (np.full((2, COLUMNS), value, np.int64) for value in (1, 2))
    with pytest.raises(RuntimeError, match="before it"):
        plan.upload(first, capturing=True, reserve=True)
    table = plan.upload(first, capturing=False, reserve=True)
    captured = plan.upload(second, capturing=True, reserve=True)
    assert captured.data_ptr() != table.data_ptr()
    plan.upload(first * 3, capturing=False, reserve=True)
    assert (captured == 2).all()
    assert (plan.captured[0][0] == 2).all()
    assert (table == 3).all()


def test_cuda_without_triton_or_with_gaps_says_so():
    made = slots(3)
    if not HAS_TRITON:
        with pytest.raises(RuntimeError, match="needs Triton"):
            triton_diffgrad(made, Rule(0.1, 0.9, 0.999, 1e-8), None, None)
    else:
        made.params[0] = torch.zeros(3, 2)[:, 0]
        with pytest.raises(RuntimeError, match="densely"):
            triton_diffgrad(made, Rule(0.1, 0.9, 0.999, 1e-8), None, None)


def test_the_kernel_matches_the_for_loop_in_tritons_interpreter_or_cannot_be_imported():
    path = Path(__file__).with_name("interpret_triton.py")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, check=False
    )
    if HAS_TRITON:
        assert done.returncode == 0, done.stderr
    else:
        assert "fused=True on CUDA needs Triton" in done.stderr
