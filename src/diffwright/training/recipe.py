"""Recipes as strict YAML: every key must be a field of a frozen dataclass, every value of its type."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from diffwright.core.errors import ConfigError

T = TypeVar("T")

_LARGEST = 1 << 20


def load_recipe(path: str | Path, cls: type[T], **overrides: Any) -> T:
    """Read a YAML file into a dataclass.

    Fields may be bool, int, float, str, Path, Literal, tuple, list, dict, a dataclass, or optional.

    Args:
        path: the YAML file; a mapping of field names.
        cls: a dataclass.
        overrides: values that replace those of the file, for example from the command line; None means
            not given.

    Returns:
        An instance of `cls`.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown, repeated or missing, or a value is of
            another type.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(
                f"{path} is larger than {_LARGEST >> 20} MiB; a recipe is a short list of values"
            )
        values = yaml.load(path.read_text("utf-8"), Loader=_Strict)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path} cannot be read ({error}); name a YAML file") from error
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"recipe {path} is not valid YAML ({reason}); correct it there") from error
    given = {name: value for name, value in overrides.items() if value is not None}
    if not isinstance(values, dict):
        raise ConfigError(f"recipe {path} holds a {type(values).__name__}, expected a mapping of settings")
    return build({**values, **given}, cls, path.name)


class _Strict(yaml.SafeLoader):
    """A safe loader that refuses a key given twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = [key for i, key in enumerate(keys) if key in keys[:i]]
        if repeated:
            raise yaml.constructor.ConstructorError(
                None, None, f"{repeated[0]!r} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def build(values: Mapping[Any, Any], cls: type[T], where: str) -> T:
    """Make a dataclass of plain values as strictly as :func:`load_recipe`.

    Args:
        values: field names and their values.
        cls: a dataclass.
        where: what the values belong to, for messages.

    Returns:
        An instance of `cls`.

    Raises:
        ConfigError: a key is unknown or missing, or a value is of another type.
    """
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, cls)) if field.init}
    for key in values:
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(fields))}"
            raise ConfigError(f"{where} has the unknown key {key!r}; {hint}")
    unset = (dataclasses.MISSING, dataclasses.MISSING)
    missing = [n for n, f in fields.items() if n not in values and (f.default, f.default_factory) == unset]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(map(repr, missing))}; add it")
    kinds = typing.get_type_hints(cls)
    return cls(**{key: _convert(value, kinds[key], f"{where}: {key}") for key, value in values.items()})


def _convert(value: Any, kind: Any, where: str) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _convert_optional(value, inner, where)
    if origin is Literal and value in inner:
        return value
    if origin in (tuple, list):
        return _convert_sequence(value, origin, inner, where)
    if isinstance(value, dict) and origin is dict:
        return {k: _convert(v, inner[1], f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, dict) and dataclasses.is_dataclass(kind):
        return build(value, typing.cast(type, kind), where)
    return _convert_plain(value, kind, where)


def _convert_optional(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    for kind in kinds[:-1]:
        try:
            return _convert(value, kind, where)
        except ConfigError:
            continue
    return _convert(value, kinds[-1], where)


def _convert_sequence(value: Any, origin: type, kinds: tuple[Any, ...], where: str) -> Any:
    if not isinstance(value, list | tuple):
        return _refuse(value, "a list", where)
    if origin is list or kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        return _refuse(value, f"{len(kinds)} values", where)
    return origin(_convert(v, k, f"{where}[{i}]") for i, (v, k) in enumerate(zip(value, kinds, strict=True)))


def _convert_plain(value: Any, kind: Any, where: str) -> Any:
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as text
        except ValueError:
            return _refuse(value, "a number", where)
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if kind is Any or (kind in (bool, int, str) and type(value) is kind):
        return value
    if typing.get_origin(kind) is Literal:
        return _refuse(value, f"one of {', '.join(map(repr, typing.get_args(kind)))}", where)
    return _refuse(value, f"a value of type {getattr(kind, '__name__', kind)}", where)


def _refuse(value: Any, expected: str, where: str) -> Any:
    raise ConfigError(f"{where} is {value!r}, expected {expected}; correct it in the recipe")
