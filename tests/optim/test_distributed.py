"""DDP over two gloo processes gives the trajectory of one process, buckets as views or not."""

import os
import socket

import pytest
import torch
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from diffwright.optim.diffgrad import DiffGrad

STEPS, CASES = (
    5,
    [(view, none, fused) for view in (False, True) for none in (False, True) for fused in (False, True)],
)


def model_and_data():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
    return model, torch.randn(STEPS, 4, 4, dtype=torch.float64)


def train(model, batches, optimizer, set_to_none=True):
    for batch in batches:
        optimizer.zero_grad(set_to_none=set_to_none)
        model(batch).square().mean().backward()
        optimizer.step()
    return torch.cat([param.detach().flatten() for param in model.parameters()])


def worker(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    found = []
    for view, none, fused in CASES:
        model, data = model_and_data()
        parallel = DistributedDataParallel(model, gradient_as_bucket_view=view)
        optimizer = DiffGrad(parallel.parameters(), lr=0.01, fused=fused, share_grad=True)
        found.append(train(parallel, data[:, rank * 2 : rank * 2 + 2], optimizer, none))
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.enable_socket
def test_two_processes_follow_the_trajectory_of_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(
        worker, args=(port, str(tmp_path)), nprocs=2, start_method="spawn"
    )  # a fork of a process with threads may never end
    model, data = model_and_data()
    expected = train(model, data, DiffGrad(model.parameters(), lr=0.01))
    for case, found in zip(CASES, torch.load(tmp_path / "found.pt", weights_only=True), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12, msg=str(case))
