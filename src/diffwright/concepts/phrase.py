"""Prompts that know where their concept stands."""

from __future__ import annotations

import re
from dataclasses import dataclass

from diffwright.core.errors import InputError


@dataclass(frozen=True)
class Phrase:
    """A prompt and where its concept stands.

    Attributes:
        prompt: the whole text.
        start: index of the concept's first character.
        stop: index after its last character; equal to ``start`` where the prompt ends without the concept.
    """

    prompt: str
    start: int
    stop: int

    @classmethod
    def of(cls, template: str, concept: str) -> Phrase:
        """Put a concept into a template with one ``{}``; "a {}" becomes "an" before a vowel.

        Raises:
            InputError: the template has no ``{}`` or several, or the concept is empty.

        Example:
            >>> Phrase.of("a photo of a {}", "owl")
            Phrase(prompt='a photo of an owl', start=14, stop=17)
        """
        before, after = _halves(template)
        if not concept.strip():
            raise InputError("A concept is empty; give at least one word on each side of a pair.")
        concept = concept.strip()
        if concept[0].lower() in "aeiou":
            before = re.sub(r"\b([aA]) $", r"\1n ", before)
        return cls(before + concept + after, len(before), len(before) + len(concept))

    @classmethod
    def ending(cls, template: str) -> Phrase:
        """End a template where its concept would stand, its article left out: nothing more is said there.

        Raises:
            InputError: the template has no ``{}`` or several.

        Example:
            >>> Phrase.ending("a red {} on grass").prompt, Phrase.ending("a photo of a {}").prompt
            ('a red', 'a photo of')
        """
        before = re.sub(r"(^|\s)(an?|the)\s*$", "", _halves(template)[0], flags=re.IGNORECASE).rstrip()
        return cls(before, len(before), len(before))


def without(template: str) -> str:
    """Give a template's text with its concept and the concept's article cut out.

    Example:
        >>> without("one picture with a {} on grass")
        'one picture with on grass'
    """
    return " ".join((Phrase.ending(template).prompt + " " + _halves(template)[1]).split())


def _halves(template: str) -> tuple[str, str]:
    before, *after = template.split("{}")
    if len(after) != 1:
        raise InputError(f"The template {template!r} must hold {{}} once, where the concept goes.")
    return before, after[0]
