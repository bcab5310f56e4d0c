import pytest
import torch

from diffwright.core.errors import InputError
from diffwright.diffusion.prompts import (
    encode,
    encode_pooled,
    first_eos,
    subject_span,
    token_span,
    tokenize,
    unseen,
)
from diffwright.weights.folder import Folder
from diffwright.weights.names import POCKET
from diffwright.weights.tokenizer import load_tokenizer
from diffwright.world.captions import captions
from diffwright.world.sample import propose
from tests.support.tiny import pipeline, tokenizer


class Slow:
    """A tokenizer without character offsets: one token a word, letters for words it does not know."""

    is_fast, eos_token_id, model_max_length = False, 1, 77
    words = ("a", "red", "mug", "on", "the")

    def __call__(self, text, add_special_tokens=True):
        ids = []
        for word in text.lower().split():
            ids += [2 + self.words.index(word)] if word in self.words else [100 + ord(c) for c in word]
        return {"input_ids": [0, *ids, 1] if add_special_tokens else ids}


@pytest.mark.parametrize(
    ("prompt", "subject", "expected"),
    [
        ("cat", "cat", (1, 1)),
        ("the red mug", "red mug", (2, 3)),
        ("The  Red\tMUG on the dog", "red mug", (2, 3)),
        ("concat cat", "cat", (5, 5)),
        ("red, cat", "cat", (3, 3)),
        ("the zx cat", "zx", (2, 3)),
    ],
)
def test_span_counts_tokens_from_the_begin_token(prompt, subject, expected):
    words = tokenizer()
    first, last = subject_span(words, prompt, subject)
    ids = words(prompt)["input_ids"]
    assert words.decode(ids[first : last + 1]).strip() == " ".join(subject.split())
    if prompt != "concat cat":
        assert (first, last) == expected


def test_span_survives_letters_outside_ascii():
    words = tokenizer()
    prompt = "café の cat"
    first, last = subject_span(words, prompt, "cat")
    assert first == last == len(words(prompt)["input_ids"]) - 2


def test_slow_tokenizer_gives_the_same_kind_of_span():
    assert subject_span(Slow(), "a red mug on the car", "red mug") == (2, 3)
    assert subject_span(Slow(), "a red mug on the car", "car") == (6, 8)


@pytest.mark.parametrize("subject", ["", "  ", "ca", "dog"])
def test_absent_subject_is_an_input_error(subject):
    with pytest.raises(InputError):
        subject_span(tokenizer(), "the cat", subject)


@pytest.mark.parametrize("words", [tokenizer(), Slow()], ids=["fast", "slow"])
def test_subject_beyond_the_model_is_an_input_error(words):
    with pytest.raises(InputError, match="shorten"):
        subject_span(words, "red " * 80 + "mug", "mug")


def test_characters_without_a_token_are_an_input_error():
    with pytest.raises(InputError, match="No token"):
        token_span(tokenizer(), "red  mug", 3, 4)


def test_first_eos_is_not_a_pad_of_the_same_id():
    words = tokenizer()
    ids, mask = tokenize(words, ["cat", "red cat"])
    assert ids.shape == (2, 77)
    assert first_eos(words, ids).tolist() == [2, 3]
    assert mask.sum(dim=1).tolist() == [3, 4]


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "pocket"])
def test_encode_follows_the_pipeline_and_shares_equal_prompts(kind):
    pipe = pipeline(kind)
    prompts = ["red cat", "", "red cat"]
    encodings, pooled = encode_pooled(pipe, prompts)
    with torch.no_grad():
        expected = pipe.encode_prompt(
            prompts, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
    torch.testing.assert_close(encodings, expected[0])
    assert torch.equal(encodings[0], encodings[2])
    assert torch.equal(encode(pipe, prompts), encodings)
    assert not encodings.requires_grad
    if kind == "sdxl":
        assert encodings.shape == (3, 77, 64)
        torch.testing.assert_close(pooled, expected[2])
    else:
        assert pooled is None


def test_no_prompt_is_an_input_error():
    with pytest.raises(InputError):
        encode(pipeline("sd1"), [])


def test_words_that_pocket_was_never_shown_are_those_in_pieces():
    words = load_tokenizer(Folder(POCKET / "pocket"), "tokenizer")
    assert unseen(words, ["A red Mug on grass", "two kittens, a bird's eye view", "a KITTENS 猫 42!"]) == [
        "kittens",
        "猫",
    ]
    shown = [caption for seed in range(60) for caption in captions(propose(seed, 0, False, {}), 2, seed)]
    assert unseen(words, shown) == []
