import multiprocessing
import random
import time
from multiprocessing.sharedctypes import RawValue

import pytest
import torch

from diffwright.training.loop import Settings, run
from diffwright.training.store import Store
from tests.training.test_loop import assert_equal
from tests.training.toy import Toy

KILLS = 20


def settings(out, checkpoint_minutes=0.0005):
    changes = {"checkpoint_minutes": checkpoint_minutes, "prefetch": 1}
    return Settings(out=out, samples=16000, batch_size=8, lr=1e-2, threads=1, seed=7, **changes)


def train(out, running, saving):
    """Body of the process that is killed; the shared values tell where it is."""
    torch.set_num_threads(1)
    save = Store.save

    def marked(*args):
        running.value = saving.value = 1
        result = save(*args)
        saving.value = 0
        return result

    Store.save = marked
    run(Toy(), settings(out))


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_killed_at_twenty_moments_it_ends_with_the_same_weights(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "diffwright.training.loop", __name__])
    moments, steps, inside, out = random.Random(11), [0], 0, tmp_path / "killed"
    for number in range(KILLS):
        running, saving = RawValue("i", 0), RawValue("i", 0)
        process = context.Process(target=train, args=(out, running, saving))
        process.start()
        while process.is_alive() and not (running.value and (saving.value or number % 2)):
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.15) if number % 2 else moments.uniform(0, 0.005))
        process.kill()
        process.join()
        assert process.exitcode == -9, "the run ended before it was killed; give it more samples"
        inside += saving.value
        checkpoint = Store(out / "checkpoints").load()
        steps.append(checkpoint.step if checkpoint else 0)
    run(Toy(), settings(out, 5))
    run(Toy(), settings(tmp_path / "whole", 5))
    assert steps == sorted(steps)
    assert len(set(steps)) > 3, "hardly a resume found a newer checkpoint"
    assert inside >= 3, "too few kills fell inside a save"
    assert_equal(tmp_path / "whole", out)
