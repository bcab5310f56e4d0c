"""Paint a prompt with several seeds and let the judge say what it sees."""

import sys
from collections import Counter

import diffwright as dw
from diffwright.diffusion.sampling import generate
from diffwright.metrics.judge import Judge
from diffwright.metrics.statistics import bootstrap_interval


def main(prompt: str = "a blue car on sand") -> None:
    pipe, judge = dw.load("pocket"), Judge.from_pretrained("pocket-judge")
    answers = judge.answers(generate(pipe, prompt, seeds=range(8)))
    for attribute in ("kind", "color", "place"):
        print(attribute, dict(Counter(answer[attribute] for answer in answers)))
    named = [answer["kind"] in prompt for answer in answers]
    print("kind as the prompt says:", bootstrap_interval(named))


if __name__ == "__main__":
    main(*sys.argv[1:])
