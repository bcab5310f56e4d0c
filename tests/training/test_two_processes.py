import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffwright.training.store import Store
from tests.training import two_processes

ROOT = Path(__file__).parents[2]


def launch(out, samples, size, processes):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    kind = (
        ["--multi_gpu"] if processes > 1 else ["--cpu"]
    )  # torchrun's launcher; the flag below keeps it off GPUs
    command = [sys.executable, "-m", "accelerate.commands.launch", *kind, "--num_processes", str(processes)]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_ip", "127.0.0.1", "--main_process_port", port]
    command += [
        "--num_cpu_threads_per_process",
        "1",
        two_processes.__file__,
        str(out),
        str(samples),
        str(size),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    environment |= {"GLOO_SOCKET_IFNAME": "lo", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(out / "model" / "model.safetensors")


@pytest.mark.slow
def test_two_processes_train_like_one_with_twice_the_batch(tmp_path):
    two = launch(tmp_path / "two", 320, 8, processes=2)
    one = launch(tmp_path / "one", 320, 16, processes=1)
    state = Store(tmp_path / "two" / "checkpoints").load().state
    assert state["course"]["processes"] == 2
    assert state["samples"] == 320
    assert all(torch.allclose(two[name], one[name], atol=1e-5) for name in one)
    again = launch(tmp_path / "two", 320, 8, processes=2)
    assert all(torch.equal(two[name], again[name]) for name in two)
