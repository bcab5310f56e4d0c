"""The byte-pair tokenizer of the pocket model, learned from captions of the rendered world."""

import json
from typing import Any

import numpy as np

from diffwright.world.captions import caption
from diffwright.world.sample import propose
from diffwright.world.splits import allowed_pairs, is_held_out
from diffwright.world.vocabulary import COLORS, KINDS

BEGIN, END, PAD, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|pad|>", "<|unknown|>"
LENGTH = 77


def sample_captions(count: int, seed: int) -> list[str]:
    """Training captions of scenes that need not be legible, for counting words."""
    rng = np.random.Generator(np.random.PCG64([seed, 31]))
    words = [f"{color} {kind}" for kind, color in allowed_pairs(KINDS, COLORS)]
    scenes = [propose(int(seed), 0, False, {}) for seed in rng.integers(0, 2**30, count)]
    return words + [caption(scene, rng).text for scene in scenes if not is_held_out(scene)]


def learn_tokenizer(captions: list[str], size: int = 640) -> Any:
    """Learn a ``CLIPTokenizer`` of ``size`` tokens, with a pad and an unknown token of their own.

    Common words become one token, rarer ones stay several; printable ASCII is never unknown.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    alphabet = [chr(c) for c in range(33, 127)]
    learner = Tokenizer(models.BPE(unk_token=UNKNOWN, end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True)]
    )
    letters = sorted(set(alphabet) - {chr(c) for c in range(65, 91)})  # captions are lower case
    learner.train_from_iterator(
        captions + [" ".join(letters)] * 2,
        trainers.BpeTrainer(
            vocab_size=size - len(letters),
            special_tokens=[],
            initial_alphabet=letters,
            end_of_word_suffix="</w>",
            show_progress=False,
            min_frequency=2,
        ),
    )
    model = json.loads(learner.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    units = letters + [c + "</w>" for c in letters]
    merges = merges[: size - 4 - len(units)]
    names = [PAD, UNKNOWN, *units, *dict.fromkeys("".join(m) for m in merges)]
    names = list(dict.fromkeys(names))
    vocab = {name: i for i, name in enumerate([*names, BEGIN, END])}
    return CLIPTokenizer(
        vocab=vocab,
        merges=merges,  # pyright: ignore[reportArgumentType]
        model_max_length=LENGTH,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
    )
