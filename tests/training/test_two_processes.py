import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from diffwright.training.loop import run
from diffwright.training.store import Store
from tests.training import two_processes
from tests.training.toy import Toy

ROOT = Path(__file__).parents[2]


def launch(out, samples, size):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # torchrun's launcher; the variable below keeps it off GPUs
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_ip", "127.0.0.1", "--main_process_port", port]
    command += ["--num_cpu_threads_per_process", "1", two_processes.__file__, *map(str, (out, samples, size))]
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


@pytest.fixture
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.slow
def test_two_processes_stopped_half_way_train_like_one_with_twice_the_batch(tmp_path, on_the_cpu):
    two = launch(tmp_path / "two", 320, 8)
    run(Toy(plain=True), two_processes.settings(tmp_path / "one", 320, 16))
    one = load_file(tmp_path / "one" / "model" / "model.safetensors")
    state = Store(tmp_path / "two" / "checkpoints").load().state
    assert state["course"]["processes"] == 2
    assert state["samples"] == 320
    assert all(torch.allclose(two[name], one[name], atol=1e-5) for name in one)
