"""Trains the toy into a folder, stopped half way and gone on with; the test starts it under `accelerate launch`."""

import sys
from pathlib import Path

from diffwright.core.errors import Cancelled
from diffwright.training.loop import Settings, run
from tests.training.toy import Toy


def settings(out, samples, size):
    return Settings(out=out, samples=samples, batch_size=size, lr=1e-2, threads=1, decay_share=0.5)


if __name__ == "__main__":
    chosen = settings(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    try:
        run(Toy(plain=True), chosen, lambda what, done, total: done >= total / 2)
    except Cancelled:
        run(Toy(plain=True), chosen)
    else:
        sys.exit("the callback did not stop the training")
    task = Toy(plain=True)
    run(task, chosen)
    if task.evaluations:
        sys.exit("a finished run was repeated")
