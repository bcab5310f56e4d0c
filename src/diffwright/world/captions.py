"""What a picture of a scene may be called: captions drawn from a small grammar.

A family is a sentence pattern. Braces name a slot; square brackets hold what disappears with its slot.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffwright.core.checks import one_of
from diffwright.core.errors import ConfigError
from diffwright.world import phrases
from diffwright.world.scene import Scene
from diffwright.world.splits import TEST_FAMILIES
from diffwright.world.vocabulary import ATTRIBUTES, RELATIONS

FAMILIES = {
    "of": "[{style} of ]{subject}[ {pose}][ {relation}][ {place}][ {view}]",
    "tags": "{subject}[ {pose}][ {relation}][ {place}][, {view}][, {style}]",
    "manner": "{subject}[ {pose}][ {relation}][ {place}][ {view}][ {manner}]",
    "there is": "there {is} {subject}[ {pose}][ {relation}][ {place}][, {view}][, {manner}]",
    "place first": "[{place}, ]{subject}[ {pose}][ {relation}][, {view}][, {style}]",
    "colon": "[{style}: ]{subject}[ {pose}][ {relation}][ {place}][, {view}]",
    "view noun": "[{view noun} of ]{subject}[ {pose}][ {relation}][ {place}][, {manner}]",
    "image": "an image of {subject}[ {pose}][ {relation}][, {place}][, {view}][, {style}]",
    "that is": "a picture of {subject}[ that {is} {pose}][ {relation}][ {place}][ {view}][, {manner}]",
    "view first": "[{view}, ]{subject}[ {pose}][ {relation}][ {place}][, {style}]",
    "showing": "[{style} showing ]{subject}[ {pose}][ {relation}][ {place}][ {view}]",
    "view, style of": "[{view}, ][{style} of ]{subject}[ {pose}][ {relation}][ {place}]",
    "place there is": "[{place} ]there {is} {subject}[ {pose}][ {relation}][ {view}][, {style}]",
    "style, place": "[{style}, ][{place}: ]{subject}[ {pose}][ {relation}][, {view}]",
    "pose last": "{subject}[ {relation}][ {view}][, {place}][, {pose}][, {manner}]",
    "manner first": "[{manner}, ][{view noun} of ]{subject}[ {pose}][ {relation}][ {place}]",
}
# How often a caption states a value: the plain one of each attribute, and any other.
PLAIN = {"style": "photo", "pose": "standing", "material": "matte"}
STATED_PLAIN = {"style": 0.35, "pose": 0.15, "material": 0.1}
STATED = {"color": 0.9, "style": 0.8, "viewpoint": 0.55, "place": 0.7, "pose": 0.85, "material": 0.7}
# How much oftener a near miss changes a value that is seldom stated, or hard to see, than another.
MISSED = {"viewpoint": 8.0, "pose": 4.0, "material": 2.0, "relation": 2.0, "other kind": 2.0}

Split = Literal["train", "test"]
Piece = tuple[str, str | None]
_GROUP = re.compile(r"\[([^\]]*)\]|([^\[]+)")
_SLOT = re.compile(r"\{([^}]*)\}")


@dataclass(frozen=True)
class Caption:
    """A caption and what it says.

    Args:
        text: Lower-case English.
        stated: Attribute to value, for what the text states; a relation adds ``other kind``
            and ``other color``.
        spans: Attribute to (first, past-the-end) character of its words; ``subject`` is its noun phrase.
        family: Name of its sentence pattern.
    """

    text: str
    stated: dict[str, str]
    spans: dict[str, tuple[int, int]]
    family: str


def labels(scene: Scene) -> dict[str, str]:
    """Give all values that a caption of a scene could state, attribute to value.

    The count is that of the subject's kind: 1 where the scene holds two things in a relation.
    """
    first = scene.things[0]
    values = {
        "kind": first.kind, "color": first.color, "style": scene.style, "viewpoint": scene.camera.viewpoint,
        "count": str(len(scene.things)), "pose": first.pose, "place": scene.place, "material": first.material,
    }  # fmt: skip
    if scene.relation is not None:
        other = scene.things[1]
        values |= {
            "count": "1",
            "relation": scene.relation,
            "other kind": other.kind,
            "other color": other.color,
        }
    return values


def captions(scene: Scene, n: int, rng: np.random.Generator | int, templates: Split = "train",
             full: bool = False) -> list[str]:  # fmt: skip
    """Draw paraphrases.

    Args:
        scene: What is shown.
        n: How many; two may be equal.
        rng: A NumPy generator, or a seed.
        templates: Sentence patterns of which split.
        full: State every attribute.

    Returns:
        The texts.
    """
    rng = np.random.default_rng(rng)
    return [caption(scene, rng, templates, full).text for _ in range(n)]


def caption(scene: Scene, rng: np.random.Generator | int, templates: Split = "train",
            full: bool = False) -> Caption:  # fmt: skip
    """Draw one caption of a scene; see :func:`captions`."""
    rng = np.random.default_rng(rng)
    values = labels(scene)
    return _say(values if full else _chosen(values, rng), _draw(families(templates), rng), rng)


def families(templates: Split) -> tuple[str, ...]:
    """Names of the sentence patterns of a split."""
    one_of("templates", templates, ("train", "test"))
    return tuple(name for name in FAMILIES if (name in TEST_FAMILIES) == (templates == "test"))


def from_values(
    *, family: str = "of", rng: np.random.Generator | int | None = None, **values: str | int
) -> Caption:
    """Build a caption from values, without a scene.

    Args:
        family: Sentence pattern, a key of ``FAMILIES``.
        rng: Draws among equal phrases; None takes the plainest.
        **values: ``kind`` and any of color, style, viewpoint, count, pose, place, material; ``relation``
            comes with ``other_kind`` and, if wanted, ``other_color``.

    Raises:
        ConfigError: An attribute or a value is unknown, or ``kind`` is missing.

    Example:
        >>> from_values(kind="airplane", color="orange", style="pencil", place="grass", pose="floating").text
        'a pencil drawing of an orange airplane floating above grass'
    """
    one_of("family", family, FAMILIES)
    given = {name.replace("_", " "): str(value) for name, value in values.items() if value is not None}
    given.setdefault("count", "1")
    if "kind" not in given or ("relation" in given) != ("other kind" in given):
        raise ConfigError(
            f"a caption of {sorted(values)} was asked for; give a kind, and other_kind with a relation."
        )
    allowed = {**ATTRIBUTES, "relation": RELATIONS}
    for name, value in given.items():
        one_of("attribute", name, [*allowed, "other kind", "other color"])
        one_of(name, value, allowed[name.removeprefix("other ")])
    return _say(given, family, None if rng is None else np.random.default_rng(rng))


def near_miss(told: Caption, rng: np.random.Generator | int) -> Caption:
    """Draw a caption that differs from another in one stated value, and is false of its scene for that alone.

    Args:
        told: A caption of a scene.
        rng: A NumPy generator, or a seed.
    """
    rng = np.random.default_rng(rng)
    options = {**ATTRIBUTES, "relation": RELATIONS}
    names = sorted(told.stated)
    weights = np.array([MISSED.get(name, 1.0) for name in names])
    name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    others = [v for v in options[name.removeprefix("other ")] if v != told.stated[name]]
    return _say({**told.stated, name: _draw(others, rng)}, told.family, rng)


def is_true(told: Caption, scene: Scene) -> bool:
    """Whether everything that a caption states holds for a scene."""
    values = labels(scene)
    return all(values.get(name) == value for name, value in told.stated.items())


def _chosen(values: dict[str, str], rng: np.random.Generator) -> dict[str, str]:
    kept = {}
    for name, value in values.items():
        chance = STATED_PLAIN[name] if value == PLAIN.get(name) else STATED.get(name, 1.0)
        if rng.random() < chance:
            kept[name] = value
    if values["pose"] == "floating" and "place" in kept:  # "above the grass" states it anyway
        kept["pose"] = "floating"
    return kept


def _draw(options: Sequence[str], rng: np.random.Generator | None) -> str:
    return options[int(rng.integers(len(options)))] if rng is not None and len(options) > 1 else options[0]


def _say(values: dict[str, str], family: str, rng: np.random.Generator | None) -> Caption:
    slots = _slots(values, rng)
    text, spans = "", {}
    for literal, slot in _fill(FAMILIES[family], slots):
        begin = len(text)
        for words, attribute in slots[slot] if slot else [(literal, None)]:
            if attribute is not None:
                spans[attribute] = (len(text), len(text) + len(words))
            text += words
        if slot == "subject":
            spans["subject"] = (begin, len(text))
    return Caption(text, dict(values), spans, family)


def _fill(pattern: str, slots: dict[str, list[Piece]]) -> list[tuple[str, str]]:
    """Split a pattern into (literal, "") and ("", slot), leaving out the brackets whose slot is unfilled."""
    parts: list[tuple[str, str]] = []
    for optional, fixed in _GROUP.findall(pattern):
        if optional and any(name not in slots for name in _SLOT.findall(optional)):
            continue
        pieces = _SLOT.split(optional or fixed)
        parts += [("", piece) if i % 2 else (piece, "") for i, piece in enumerate(pieces) if piece]
    return parts


def _slots(values: dict[str, str], rng: np.random.Generator | None) -> dict[str, list[Piece]]:
    many = values["count"] != "1"
    adjective = values.get("pose") in phrases.POSE_ADJECTIVES and rng is not None and rng.random() < 0.3
    slots: dict[str, list[Piece]] = {
        "is": [("are" if many else "is", None)],
        "subject": _noun_phrase(values, "", adjective, rng),
    }
    for slot, name, table in (
        ("style", "style", phrases.STYLES),
        ("manner", "style", phrases.MANNERS),
        ("view", "viewpoint", phrases.VIEWS),
        ("view noun", "viewpoint", phrases.VIEW_NOUNS),
        ("place", "place", phrases.PLACES),
    ):
        if name in values:
            slots[slot] = [(_draw(table[values[name]], rng), name)]
    if values.get("pose") == "floating" and "place" in slots:
        slots["place"] = [(slots["place"][0][0].replace("on ", "above ", 1), "place")]
    if "pose" in values and not adjective:
        words = _draw(phrases.POSES[values["pose"]], rng)
        if values["pose"] == "floating" and "place" not in values:
            words += " in the air"
        slots["pose"] = [(words.replace("its side", "their sides") if many else words, "pose")]
    if "relation" in values:
        other = _noun_phrase({**values, "count": "1"}, "other ", False, rng)
        slots["relation"] = [
            (_draw(phrases.RELATIONS[values["relation"]], rng), "relation"),
            (" ", None),
            *other,
        ]
    return slots


def _noun_phrase(
    values: dict[str, str], prefix: str, adjective: bool, rng: np.random.Generator | None
) -> list[Piece]:
    """Number, adjectives and noun of the subject, or of the thing it is related to (``prefix`` "other ")."""
    kind, count = values[prefix + "kind"], values["count"]
    words: list[Piece] = []
    if "material" in values:
        words.append((_draw(phrases.MATERIALS[values["material"]], rng), None if prefix else "material"))
    if adjective:
        words.append((values["pose"], "pose"))
    if prefix + "color" in values:
        words.append((values[prefix + "color"], prefix + "color"))
    words.append((kind if count == "1" else phrases.PLURALS[kind], prefix + "kind"))
    number = "a" if prefix else _draw(phrases.NUMBERS[count], rng)
    if number == "a":
        number = phrases.with_article(words[0][0]).split(" ")[0]
    spaced: list[Piece] = [(number, None if prefix else "count")]
    for word in words:
        spaced += [(" ", None), word]
    return spaced
