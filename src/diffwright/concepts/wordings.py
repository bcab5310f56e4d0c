"""Other ways to say the same: sentences that no edit is made from, and slips of the pen."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from diffwright.concepts.probes import CORE, Probe, words_of
from diffwright.world.phrases import STYLES, with_article
from diffwright.world.splits import HELD_OUT_PAIRS
from diffwright.world.vocabulary import CORE_COLORS, CORE_KINDS, CORE_STYLES

PARAPHRASES = (
    "one {}",
    "a single {}",
    "look, a {}",
    "here you see a {}, nothing else",
    "a large picture showing a {}",
    "someone made this of a {}",
    "the {} that we talked about",
    "my favorite {}",
    "this is what a {} looks like",
    "a close-up of a {}",
    "two people beside a {}",
    "a {} in the rain",
    "a {} in front of a window",
    "a small {} far away",
    "the story of a {}",
    "a postcard with a {} on it",
    "everybody likes a {}",
    "at the museum, a {}",
    "a very old {}",
    "somewhere in the city, a {}",
)
"""Twenty prompts for any concept."""

FRAMES = (
    "look at {thing} in {style}",
    "{style} with {thing}",
    "{thing} alone, {style}",
    "{style} and in it {thing}",
    "{style} about {thing}",
    "just {thing}, as {style}",
    "one {color} {kind} in {style}",
    "the {color} {kind}, {style}",
    "this is {thing}, {style}",
    "{style} made of {thing}",
    "{thing} shown in {style}",
    "here is {style} of the {color} {kind}",
    "i see {thing} in {style}",
    "{style}: only {thing}",
    "{style}, {color}, {kind}",
    "{kind}, {color}, {style}",
    "{style} where {thing} stands",
    "please paint {thing} as {style}",
    "{style} that has {thing} in it",
    "my {color} {kind}, {style}",
)
"""Twenty sentences about a thing of the rendered world; neither its captions nor any edit's templates use them."""


def paraphrased(attribute: str, value: str, first_seed: int = 0) -> list[Probe]:
    """Build one prompt from each of ``FRAMES`` that states a value; the other things it says take turns.

    Args:
        attribute: ``kind``, ``color`` or ``style``.
        value: one of its core values.
        first_seed: of the noise; prompt number i has the seed ``first_seed + i``.
    """
    found = []
    for number, frame in enumerate(FRAMES):
        said = {
            "kind": CORE_KINDS[(5 * number) % len(CORE_KINDS)],
            "color": CORE_COLORS[(3 * number) % len(CORE_COLORS)],
            "style": CORE_STYLES[(number // 2) % len(CORE_STYLES)] if number % 2 else "photo",
        }
        said[attribute] = value
        moved = "kind" if attribute == "color" else "color"
        while (said["kind"], said["color"]) in HELD_OUT_PAIRS:
            said[moved] = CORE[moved][(CORE[moved].index(said[moved]) + 1) % len(CORE[moved])]
        words = {"color": said["color"], "kind": said["kind"], "style": STYLES[said["style"]][0]}
        prompt = frame.format(thing=with_article(f"{said['color']} {said['kind']}"), **words)
        found.append(Probe(prompt, first_seed + number, attribute, value))
    return found


def in_capitals(prompt: str, words: str) -> str:
    """Write the concept in capitals.

    Example:
        >>> in_capitals("a red mug on grass", "mug")
        'a red MUG on grass'
    """
    return _changed(prompt, words, str.upper)


def with_typo(prompt: str, words: str) -> str:
    """Swap the second and third letter of the concept; a word of two letters loses its last one.

    Example:
        >>> with_typo("a red mug on grass", "mug")
        'a red mgu on grass'
    """
    return _changed(prompt, words, lambda w: w[0] + w[2] + w[1] + w[3:] if len(w) > 2 else w[:1])


def further_on(prompt: str, words: str) -> str:
    """Put a longer beginning before the prompt, so that the concept stands where no template had it."""
    return f"this is a picture, and what the picture shows is this: {prompt}"


REWORDINGS: dict[str, Callable[[str, str], str]] = {
    "case": in_capitals,
    "typo": with_typo,
    "position": further_on,
}
"""Changes of a prompt that a reader hardly notices."""


def reworded(probe: Probe, how: str) -> Probe:
    """Give a probe with its prompt changed by one of ``REWORDINGS``; it states the same to a reader."""
    return replace(probe, prompt=REWORDINGS[how](probe.prompt, words_of(probe.attribute, probe.value)))


def _changed(prompt: str, words: str, change: Callable[[str], str]) -> str:
    return re.sub(rf"(?<!\w){re.escape(words)}(?!\w)", lambda m: change(m.group()), prompt, count=1)
