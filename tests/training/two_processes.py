"""Trains the toy into a folder; the test starts it under `accelerate launch`."""

import sys
from pathlib import Path

from diffwright.training.loop import Settings, run
from tests.training.toy import Toy

if __name__ == "__main__":
    out, samples, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    run(
        Toy(plain=True),
        Settings(out=out, samples=samples, batch_size=size, lr=1e-2, threads=1, decay_share=0.5),
    )
