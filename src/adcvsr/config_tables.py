"""Config tables into frozen dataclasses: unknown keys and wrong kinds are refused by name.

fill_table(DataOptions(), {"frames": 5}, "'a.toml' [data]")  # the rest as before
read_table(Gate, {"psnr_db": 38.0}, "[gate]")  # what has no default has to be there
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from .config import nearest
from .errors import ConfigError

T = TypeVar("T")


def fill_table(base: T, values: Mapping[str, Any], where: str, **made: Any) -> T:
    """Return a copy of a settings object with a table's values in place of its own.

    A nested table changes the values it names and keeps the others; `false` leaves out a part that
    may be left out.

    Args:
        base: A frozen dataclass instance.
        values: The table, as TOML gives it.
        where: How to name the table in errors.
        made: Values that need no conversion any more.

    Raises:
        ConfigError: An unknown key (the nearest valid one is named), a value of the wrong kind, or
            one out of its range.
    """
    changes = _changes(type(base), base, values, where)
    try:
        return cast(T, dataclasses.replace(cast(Any, base), **changes, **made))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def read_table(kind: type[T], values: Any, where: str) -> T:
    """Make a settings object of a table alone.

    Args:
        kind: A frozen dataclass.
        values: The table, as TOML gives it; fields without a default have to be in it.
        where: How to name the table in errors.

    Raises:
        ConfigError: It is no table, a field is missing, or see `fill_table`.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}, expected a table")
    changes = _changes(kind, None, values, where)
    for field in dataclasses.fields(cast(Any, kind)):
        left_out = field.default is dataclasses.MISSING and field.name not in changes
        if left_out and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: '{field.name}' is missing")
    try:
        return kind(**changes)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _changes(kind: Any, base: Any, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A table's values in their fields' kinds; nested tables change those of `base`, if any."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    kinds = get_type_hints(kind)
    changes = {}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"{where}: unknown key '{key}'{nearest(key, fields)}")
        changes[key] = _convert(kinds[key], getattr(base, key, None), value, f"{where} {key}")
    return changes


def _convert(kind: Any, current: Any, value: Any, where: str) -> Any:
    """Bring a TOML value to a field's kind, or refuse it."""
    optional = isinstance(kind, types.UnionType) and type(None) in get_args(kind)
    if optional:
        if value is False:
            return None
        kind = next(one for one in get_args(kind) if one is not type(None))
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            expected = "a table or false" if optional else "a table"
            raise ConfigError(f"{where}={value!r}, expected {expected}")
        return fill_table(cast(Any, kind)() if current is None else current, value, where)
    if get_origin(kind) is tuple:
        return _convert_list(kind, value, where)
    if isinstance(value, Mapping) and get_origin(kind) is not None:
        return dict(value)
    if not _fits(kind, value):
        raise ConfigError(f"{where}={value!r}, expected {_name(kind)}")
    return value


def _convert_list(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    members = get_args(kind)
    endless = members[-1] is Ellipsis
    if not isinstance(value, list) or not (endless or len(value) == len(members)):
        length = "" if endless else f"{len(members)} "
        raise ConfigError(f"{where}={value!r}, expected a list of {length}values")
    if not all(_fits(members[0], one) for one in value):
        raise ConfigError(f"{where}={value!r}, expected a list of {_name(members[0])}s")
    return tuple(value)


def _fits(kind: Any, value: Any) -> bool:
    if get_origin(kind) is not None:  # Literal and Mapping: the dataclass checks those itself
        return isinstance(value, str) == (get_origin(kind) is not Mapping)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    return {float: "number", int: "whole number", bool: "true or false", str: "text"}.get(
        kind, str(kind)
    )
