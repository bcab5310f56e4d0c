"""Everyday captions: a small sample of what a text-to-image model reads, for modes that hold a corpus."""

NOUNS = (
    *("dog", "cat", "horse", "bird", "cow", "sheep", "elephant", "bear", "zebra", "lion", "fish", "rabbit"),
    *("man", "woman", "child", "boy", "girl", "family", "crowd", "doctor", "teacher", "farmer", "dancer"),
    *("car", "bus", "train", "truck", "boat", "airplane", "bicycle", "motorcycle", "ship", "tractor"),
    *("house", "church", "castle", "bridge", "tower", "street", "market", "kitchen", "bedroom", "garden"),
    *("tree", "flower", "mountain", "river", "lake", "beach", "forest", "desert", "island", "waterfall"),
    *("apple", "banana", "pizza", "cake", "sandwich", "coffee", "bread", "soup", "salad", "orange"),
    *("chair", "table", "lamp", "book", "clock", "phone", "camera", "guitar", "piano", "vase", "bottle"),
    *("hat", "shoe", "dress", "umbrella", "backpack", "watch", "crown", "mask", "sword", "robot"),
)
"""Things that captions name."""

_FORMS = (
    "a photo of a {}",
    "a {} in the park",
    "a painting of a {}",
    "two people beside a {}",
    "a close-up of a {} on a wooden table",
    "a black and white picture of a {}",
    "a {} at night in the rain",
    "a small red {} in front of a window",
)


def everyday_prompts(count: int = 4 * len(NOUNS)) -> tuple[str, ...]:
    """Give captions of everyday things, each noun in several sentences.

    Args:
        count: at most eight for each noun.
    """
    found = []
    for form in range(len(_FORMS)):
        for number, noun in enumerate(NOUNS):
            article = _FORMS[(form + number) % len(_FORMS)]
            if noun[0] in "aeiou":
                article = article.replace("a {}", "an {}")
            found.append(article.format(noun))
    return tuple(found[:count])
