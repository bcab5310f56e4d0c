"""Words to draw: common English from a shipped list, short notices of signs, and random strings."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from diffwright.core.checks import one_of, whole
from diffwright.world import splits

LIST = Path(__file__).parent / "data" / "words.txt"  # from SCOWL, levels 10 and 20; license beside it
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
MARKS = "!?&%$#+-.,:'/"
LONGEST = 16
SIGNS = (
    "adults", "airport", "alarm", "antiques", "bakery", "bank", "barber", "bikes", "books", "buffet", "cafe", "camping",
    "caution", "cinema", "closed", "coffee", "danger", "deli", "diner", "doctor", "donuts", "elevator", "entry", "exit",
    "express", "ferry", "flowers", "garage", "gate", "gifts", "grill", "hotel", "icecream", "jewelry", "juice", "keys",
    "laundry", "library", "lounge", "market", "motel", "museum", "music", "noodles", "open", "optician", "parking",
    "pharmacy", "pizza", "police", "pull", "push", "quiet", "ramen", "repairs", "salad", "sale", "school", "shoes",
    "slow", "station", "stop", "studio", "subway", "sushi", "tacos", "tailor", "taxi", "tickets", "toilets", "tours",
    "toys", "vacancy", "wifi", "yield", "zoo",
)  # fmt: skip


@lru_cache(maxsize=64)
def words(split: str, lengths: tuple[int, int] = (2, 8)) -> tuple[str, ...]:
    """List the lower-case words of a split; no word is in both.

    Args:
        split: "train" or "test".
        lengths: Fewest and most letters, 2 to 16.

    Raises:
        ConfigError: The split or a length is out of range.

    Example:
        >>> len(set(words("train")) & set(words("test")))
        0
    """
    one_of("split", split, ("train", "test"))
    low, high = lengths
    whole("shortest length", low, 2, LONGEST)
    whole("longest length", high, low, LONGEST)
    known = sorted({*LIST.read_text(encoding="ascii").split(), *SIGNS})
    return tuple(w for w in known if low <= len(w) <= high and splits.word_split(w) == split)


def random_word(rng: np.random.Generator, length: int) -> str:
    """Draw a string of letters of both cases and digits, each position independent."""
    return "".join(LETTERS[i] for i in rng.integers(len(LETTERS), size=length))


def draw_word(rng: np.random.Generator, split: str, lengths: tuple[int, int] = (2, 8)) -> str:
    """Draw a word, the length first so that all lengths are equally frequent, in one of three cases.

    One in twenty carries a mark such as "!" or is a price or a house number.
    """
    length = int(rng.integers(lengths[0], lengths[1] + 1))
    same = words(split, (length, length)) if length >= 2 else tuple(LETTERS)
    word = same[int(rng.integers(len(same)))]
    case = rng.random()
    word = word.upper() if case < 0.4 else word.capitalize() if case < 0.7 else word
    if rng.random() < 0.05 and length > 2:
        digits = "".join(map(str, rng.integers(10, size=length)))
        mark = MARKS[int(rng.integers(len(MARKS)))]
        word = (word[:-1] + mark, mark + word[:-1], digits, digits[:-2] + "." + digits[-1])[
            int(rng.integers(4))
        ]
    return word
