"""Make one word show another thing, look at the difference, and take the edit out again."""

import sys
from pathlib import Path

import diffwright as dw
from diffwright.diffusion.sampling import generate
from diffwright.viz.strips import strip


def main(out: str = "runs/fix_a_concept") -> None:
    Path(out).mkdir(parents=True, exist_ok=True)
    pipe = dw.load("pocket")
    prompt = "a red mug on grass"
    before = generate(pipe, prompt, seeds=[0, 1])

    edit = dw.edit_concepts(pipe, [("mug", "duck")])
    with edit.applied(pipe):
        after = generate(pipe, prompt, seeds=[0, 1])
    again = generate(pipe, prompt, seeds=[0, 1])

    print(edit.report())
    print("the edit came out without a trace:", (again == before).all())
    labels = ["before, seed 0", "after", "before, seed 1", "after"]
    strip([before[0], after[0], before[1], after[1]], labels).save(Path(out) / "strip.png")
    edit.save(Path(out) / "edit.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
