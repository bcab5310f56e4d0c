import multiprocessing
import os
import random
import time
from multiprocessing.sharedctypes import RawArray

import pytest
import torch

from diffwright.training.loop import Settings, run
from diffwright.training.store import Store
from tests.training.test_loop import assert_equal
from tests.training.toy import Toy

KILLS = 20


class Slow(Toy):
    """Steps of at least a millisecond, so that the kills are over before the training is, on any machine."""

    def batch(self, indices):
        time.sleep(0.001)
        return super().batch(indices)


def settings(out, checkpoint_minutes=0.0002):
    changes = {"checkpoint_minutes": checkpoint_minutes, "prefetch": 1}
    return Settings(out=out, samples=12000, batch_size=8, lr=1e-2, threads=1, seed=7, **changes)


def train(out, saves):
    """Body of the process that is killed; it counts the saves that it began and those that it finished."""
    torch.set_num_threads(1)
    save, fsync = Store.save, os.fsync

    def counted(*args):
        saves[0] += 1
        result = save(*args)
        saves[1] += 1
        return result

    def slow(handle):  # so that a kill shortly after a save began falls between two of its files
        fsync(handle)
        time.sleep(0.001)

    Store.save, os.fsync = counted, slow
    run(Slow(), settings(out))


def kill(process, saves, inside, moments):
    """Kill a training inside one of its saves, or at a random moment after one of them."""
    count = moments.randint(1, 3)
    while process.is_alive() and (saves[0] if inside else saves[1]) < count:
        time.sleep(0.0005)
    time.sleep(moments.uniform(0, 0.005 if inside else 0.03))
    process.kill()
    process.join()
    assert process.exitcode == -9, "the run ended before it was killed; give it more samples"


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_killed_at_twenty_moments_it_ends_with_the_same_weights(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "diffwright.training.loop", __name__])
    moments, steps, inside, out = random.Random(11), [0], 0, tmp_path / "killed"
    for number in range(KILLS):
        saves = RawArray("i", 2)
        process = context.Process(target=train, args=(out, saves))
        process.start()
        kill(process, saves, number % 2 == 0, moments)
        inside += saves[0] > saves[1]
        checkpoint = Store(out / "checkpoints").load()
        steps.append(checkpoint.step if checkpoint else 0)
    run(Toy(), settings(out, 5))
    run(Toy(), settings(tmp_path / "whole", 5))
    assert steps == sorted(steps)
    assert len(set(steps)) > KILLS // 2, "every second kill waits for a new checkpoint"
    assert inside >= 3, "too few kills fell inside a save"
    assert_equal(tmp_path / "whole", out)
