"""What the Triton kernel reads: one table of pointers and hyperparameters, and one list of chunks.

A launch covers every tensor of one device and type. Nothing here needs Triton, so it is tested without it.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from diffwright.optim.loop import Slots
from diffwright.optim.rule import Friction, Rule

COLUMNS = 10
BLOCK = 1024


def pointer_rows(slots: Slots, indices: list[int]) -> np.ndarray:
    """Return one row a tensor: numel, param, exp_avg, exp_avg_sq, previous_grad, max, grad, step, taken, 0.

    Args:
        slots: Parameters, gradients and state.
        indices: Which of them.

    Shapes:
        result (N, 10), int64; N tensors.

    Returns:
        The rows; the pointer to the maximum is 0 without amsgrad.
    """
    rows = np.zeros((len(indices), COLUMNS), np.int64)
    rows[:, 0] = [slots.params[i].numel() for i in indices]
    columns = [slots.params, slots.exp_avgs, slots.exp_avg_sqs, slots.previous_grads]
    for number, column in enumerate(columns, start=1):
        rows[:, number] = [column[i].data_ptr() for i in indices]
    if slots.max_exp_avg_sqs:
        rows[:, 5] = [slots.max_exp_avg_sqs[i].data_ptr() for i in indices]
    rows[:, 6] = [slots.grads[i].data_ptr() for i in indices]
    rows[:, 7] = [slots.steps[i].data_ptr() for i in indices]
    rows[:, 8] = [slots.taken[i] for i in indices]
    return rows


def hyper_row(rule: Rule) -> np.ndarray:
    """Return the first row of the table: the bits of lr, β1, β2, ε, λ, gain, offset and slope as float64.

    Args:
        rule: Options of the group; a learning rate on a device counts as 0, the kernel reads it there.

    Shapes:
        result (1, 10), int64 bits.
    """
    friction = rule.friction
    assert isinstance(friction, Friction)
    lr = 0.0 if lr_on_device(rule) else float(rule.lr)
    values = [lr, float(rule.beta1), float(rule.beta2), rule.eps, rule.weight_decay]
    values += [friction.gain, friction.offset, friction.slope, 0.0, 0.0]
    return np.array([values], np.float64).view(np.int64)


def lr_on_device(rule: Rule) -> bool:
    """Tell whether the learning rate is a tensor on an accelerator."""
    return isinstance(rule.lr, Tensor) and not rule.lr.is_cpu


def chunk_list(numels: list[int], block: int = BLOCK) -> np.ndarray:
    """Return (tensor, chunk within the tensor) for every program of the launch.

    Args:
        numels: Elements of each tensor; empty tensors get no chunk.
        block: Elements of a chunk.

    Shapes:
        result (P, 2), int32; P programs.
    """
    counts = np.array([-(-numel // block) for numel in numels], np.int64)
    tensors = np.repeat(np.arange(len(numels)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([tensors, np.arange(counts.sum()) - first], axis=1).astype(np.int32)


def aligned(rows: np.ndarray) -> np.ndarray:
    """Tell which tensors the kernel may load as vectors: addresses and sizes are multiples of 16.

    Args:
        rows: What :func:`pointer_rows` gives.

    Shapes:
        rows (N, 10) -> bool (N,).
    """
    return np.all(rows[:, :7] % 16 == 0, axis=1, keepdims=True)[:, 0]


@dataclass
class Plan:
    """Device copies of the table and the chunks for one set of tensors, kept from step to step.

    A CUDA graph replays the copy of the table from the same host memory, so a captured step uses pinned
    memory that an earlier, uncaptured step has set aside and that is never written again.

    Attributes:
        chunks: What :func:`chunk_list` gives, on the device.
        table: Hyperparameters and pointers, on the device.
        host: What ``table`` holds.
        spare: Pinned host memory and device memory for the next capture.
        captured: Memory that graphs refer to.
    """

    chunks: Tensor
    table: Tensor
    host: np.ndarray
    spare: tuple[Tensor, Tensor] | None = None
    captured: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @classmethod
    def make(cls, rows: np.ndarray, device: torch.device) -> "Plan":
        """Make the plan for tensors with these rows (without the row of hyperparameters)."""
        chunks = torch.from_numpy(chunk_list(rows[:, 0].tolist())).to(device)
        table = torch.zeros((len(rows) + 1, COLUMNS), dtype=torch.int64, device=device)
        return cls(chunks, table, np.zeros((len(rows) + 1, COLUMNS), np.int64))

    def upload(self, content: np.ndarray, *, capturing: bool, reserve: bool) -> Tensor:
        """Bring the table up to date.

        Args:
            content: Row of hyperparameters and rows of pointers.
            capturing: Whether a CUDA graph is being captured.
            reserve: Set memory aside for a later capture.

        Shapes:
            content (N + 1, 10) -> result (N + 1, 10) on the device.

        Returns:
            The table that the launch must read.

        Raises:
            RuntimeError: A capture without an uncaptured step before it.
        """
        if capturing:
            if self.spare is None:
                raise RuntimeError(
                    "a fused step was captured without a warm-up; run one step with capturable=True before it"
                )
            host, table = self.spare
            host.numpy()[:] = content
            table.copy_(host, non_blocking=True)
            self.captured.append(self.spare)
            self.spare = None
            return table
        if reserve and self.spare is None:
            host = torch.zeros(self.table.shape, dtype=torch.int64, pin_memory=self.table.is_cuda)
            self.spare = host, torch.zeros_like(self.table)
        if not np.array_equal(content, self.host):
            self.table.copy_(torch.from_numpy(content))
            self.host = content
        return self.table
