"""Scenes as plain JSON values, read back with strict checking."""

import math
from dataclasses import asdict, fields
from typing import Any

from diffwright.core.errors import InputError
from diffwright.world.scene import Camera, Lamp, Scene, Thing

_WHOLE = {"side", "seed"}
_TEXT = {"kind", "color", "material", "pose", "viewpoint", "place", "style", "relation"}


def scene_to_json(scene: Scene) -> dict[str, Any]:
    """Give a scene as dictionaries, lists, numbers and strings; floats keep every bit."""
    record = asdict(scene)
    record["things"] = [dict(thing) for thing in record["things"]]
    record["camera"]["target"] = list(scene.camera.target)
    return record


def scene_from_json(record: Any) -> Scene:
    """Read what :func:`scene_to_json` gave.

    Raises:
        InputError: A key is missing or unknown, or a value has another type or is not finite.
        ConfigError: A word is not in the vocabulary.
    """
    values = _checked(record, Scene)
    if not isinstance(values["things"], list) or not 1 <= len(values["things"]) <= 8:
        raise InputError(
            f"a scene with things {str(values['things'])[:60]!r} was given; expected a list of 1 to 8."
        )
    values["things"] = tuple(Thing(**_checked(thing, Thing)) for thing in values["things"])
    camera = _checked(values["camera"], Camera)
    target = camera["target"]
    if not isinstance(target, list) or len(target) != 3:
        raise InputError(f"a camera with target {str(target)[:60]!r} was given; expected three numbers.")
    camera["target"] = tuple(_number("target", t) for t in target)
    return Scene(**values | {"camera": Camera(**camera), "lamp": Lamp(**_checked(values["lamp"], Lamp))})


def _checked(record: Any, cls: type) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    if not isinstance(record, dict) or set(record) != names:
        got = sorted(map(str, record)) if isinstance(record, dict) else type(record).__name__
        raise InputError(f"a {cls.__name__} was read from {got}; expected the keys {sorted(names)}.")
    return {name: _value(name, value) for name, value in record.items()}


def _value(name: str, value: Any) -> Any:
    if name in ("things", "camera", "lamp", "target"):
        return value
    if value is None and name in ("relation", "seed"):
        return value
    if name in _TEXT:
        if not isinstance(value, str):
            raise InputError(f"{name} {value!r} was given; expected a word.")
        return value
    if name in _WHOLE:
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"{name} {value!r} was given; expected a whole number.")
        return value
    return _number(name, value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{name} {value!r} was given; expected a finite number.")
    return float(value)
