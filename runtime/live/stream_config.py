"""Which streams run together: from a TOML file, or one by one from text.

[streams.door]
source = "rtsp://camera/stream"
sinks = ["door.mkv", "http://127.0.0.1:8081"]
max_latency_ms = 150
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...config import nearest
from ...config_tables import fill_table
from ...errors import ConfigError
from ...pictures.crop import Crop
from ...reading import TOML_LIMIT_BYTES, parse_toml, read_limited
from ...redaction import learn
from .live_report import LiveOptions

NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")

MOST_PRIORITY = 100

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|' + r"'([^']*)'")


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """One of several streams."""

    name: str
    """Of letters, digits, `_` and `-`."""

    source: str
    """Address; may hold a password, so nothing prints it."""

    sinks: tuple[str, ...]
    """Addresses."""

    options: LiveOptions

    def __repr__(self) -> str:
        """Without its addresses."""
        return f"StreamPlan({self.name!r})"


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The keys of a stream, with what all have where it says nothing."""

    source: str = ""
    sinks: tuple[str, ...] = ()
    policy: str
    max_latency_ms: float | None
    cut_reset: bool
    stall_frames: int
    crop: str | None
    priority: int

    def __post_init__(self) -> None:
        if not self.source:
            raise ConfigError("a stream needs a source")
        if not self.sinks:
            raise ConfigError("a stream needs a sink; null:// throws its pictures away")
        if self.policy not in ("newest", "every"):
            raise ConfigError(f"policy '{self.policy}', expected newest or every")
        if self.stall_frames < 1:
            raise ConfigError(f"stall_frames={self.stall_frames}, expected 1 or more")
        if abs(self.priority) > MOST_PRIORITY:
            raise ConfigError(
                f"priority={self.priority}, expected -{MOST_PRIORITY} to {MOST_PRIORITY}"
            )
        if self.max_latency_ms is not None and self.max_latency_ms < 1:
            raise ConfigError(f"max_latency_ms={self.max_latency_ms:g}, expected 1 or more")


_KEYS = {field.name: field for field in fields(_Table)}

_SHARED = ("policy", "max_latency_ms", "cut_reset", "stall_frames", "priority")
"""Keys that are fields of `LiveOptions` as they are."""


def read_streams(path: Path, defaults: LiveOptions) -> list[StreamPlan]:
    """Read the streams of a TOML file, in its order.

    Args:
        path: The file: a table `[streams.NAME]` for each.
        defaults: For what a stream does not say.

    Raises:
        ConfigError: It cannot be read, holds no stream or an unknown key, which is named with its
            line, or a value of the wrong kind.
        MissingPackageError: Python 3.10 without tomli.
    """
    data = read_limited(path, TOML_LIMIT_BYTES, error=ConfigError)
    text = data.decode("utf-8", errors="replace")
    for found in _QUOTED.finditer(text):
        learn(found[1] or found[2] or "")
    given = parse_toml(data, source=f"'{path}'", extra="live", purpose="a file of streams").value
    _require_known(path, text, "", given, {"streams": None})
    tables = given.get("streams")
    if not isinstance(tables, Mapping) or not tables:
        raise ConfigError(
            f"'{path}' has no stream; expected a table [streams.NAME] with source and sinks"
        )
    plans = []
    for name, table in tables.items():
        where = f"'{path}' [streams.{name}]"
        if isinstance(table, Mapping):
            _require_known(path, text, f"streams.{name}", table, _KEYS)
        plans.append(_plan(name, table, where, defaults))
    return plans


def parse_stream(text: str, defaults: LiveOptions) -> StreamPlan:
    """Read `NAME=URI,sink=URI,...`: the keys of a file's table, `sink` for each of `sinks`.

    Args:
        text: A comma before `KEY=` parts; within an address such a comma is written %2C.
        defaults: For what it does not say.

    Raises:
        ConfigError: It is of another form, has an unknown key or one of them twice.
    """
    learn(text)
    first, *rest = re.split(r",(?=[A-Za-z_-]+=)", text)
    name, equals, source = first.partition("=")
    if not equals or not source or not NAME.fullmatch(name):
        raise ConfigError(
            "a stream is NAME=URI,sink=URI,... with a name of letters, digits, _ and -, such as "
            "door=rtsp://camera/stream,sink=door.mkv"
        )
    where, sinks, values = f"stream '{name}'", [], {}
    known = {key.replace("_", "-"): None for key in _KEYS if key not in ("source", "sinks")}
    for each in rest:
        key, _, value = each.partition("=")
        if key == "sink":
            sinks.append(value)
        elif key not in known:
            hint = nearest(key, {"sink": None, **known})
            raise ConfigError(f"{where}: unknown key '{key}'{hint}; a comma of an address is %2C")
        elif key in values:
            raise ConfigError(f"{where}: '{key}' is given twice; expected once")
        else:
            values[key] = value
    table = {key.replace("-", "_"): _typed(value) for key, value in values.items()}
    return _plan(name, {"source": source, "sinks": sinks, **table}, where, defaults)


def plan_of(values: Mapping[str, Any], defaults: LiveOptions) -> StreamPlan:
    """Read a stream as a program asks for it: a file's keys, and `name`.

    Args:
        values: Of JSON; nothing is changed.
        defaults: For what it does not say.

    Raises:
        ConfigError: An unknown key, or a value of the wrong kind.
    """
    for text in (values.get("source"), *_listed(values.get("sinks"))):
        learn(text if isinstance(text, str) else "")
    table = {key: value for key, value in values.items() if key != "name"}
    name = values.get("name")
    if not isinstance(name, str):
        raise ConfigError("a stream needs a name, a text of letters, digits, _ and -")
    for key in table:
        if key not in _KEYS:
            raise ConfigError(f"stream: unknown key '{key}'{nearest(key, {'name': None, **_KEYS})}")
    return _plan(name, table, "stream", defaults)


def _listed(values: Any) -> Sequence[Any]:
    return values if isinstance(values, list) else ()


def require_names(plans: Sequence[StreamPlan]) -> None:
    """Refuse streams of one name.

    Raises:
        ConfigError: There are two.
    """
    names = [plan.name for plan in plans]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two streams are called '{name}'; give each a name of its own")


def _plan(name: str, values: Any, where: str, defaults: LiveOptions) -> StreamPlan:
    if not NAME.fullmatch(name):
        raise ConfigError(f"{where}: expected a name of up to 32 letters, digits, _ and -")
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is no table; expected source and sinks in one")
    of_all = {key: getattr(defaults, key) for key in _SHARED}
    if values.get("policy") == "every":
        of_all["max_latency_ms"] = None  # that of all is for those that drop
    crop = None if defaults.crop is None else str(defaults.crop)
    started = {"source": "?", "sinks": ("?",), "crop": crop, **of_all}
    for key in ("source", "sinks"):
        if key not in values:
            raise ConfigError(f"{where}: '{key}' is missing")
    table = fill_table(_Table(**started), values, where)
    try:
        options = replace(
            defaults,
            crop=None if table.crop is None else Crop.parse(table.crop),
            **{key: getattr(table, key) for key in _SHARED},
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return StreamPlan(name=name, source=table.source, sinks=table.sinks, options=options)


def _typed(value: str) -> Any:
    """A value of the command line in the kind a file's would have."""
    if value in ("true", "false"):
        return value == "true"
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return value


def _require_known(
    path: Path, text: str, table: str, values: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
    for key in values:
        if key not in known:
            line = _line_of(text, table, key)
            at = f", line {line}" if line else ""
            inside = f" [{table}]" if table else ""
            raise ConfigError(f"'{path}'{at}{inside}: unknown key '{key}'{nearest(key, known)}")


def _line_of(text: str, table: str, key: str) -> int | None:
    """The line of a TOML file where a key or table stands; None where it cannot be told."""
    current, somewhere = "", None
    path = f"{table}.{key}" if table else key
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+([^\]]+)\]", line):
            current = re.sub(r"[\s\"']", "", header[1])
            if current == path or current.startswith(f"{path}."):
                return number
        elif re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line) and current == table:
            return number
        elif somewhere is None and re.search(rf"\b{re.escape(key)}\b\s*=", line):
            somewhere = number
    return somewhere
