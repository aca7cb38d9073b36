"""The one reader of JSON and TOML: whatever a file holds, it is values within limits or one error.

Everything this project reads of its own or others' JSON and TOML comes through here, so that bytes
that are no UTF-8, NaN, numbers of a thousand digits, brackets nested ten thousand deep, doubled and
missing keys or a text where a number belongs all end the same way: in an error of the caller's
class that names the file, the place in it, the value found and what was expected.

    found = read_json(Path("set/manifest.json"), error=CalibrationError, advice="make it again")
    found["network"]["size_multiple"].integer(1, 1024)
"""

from __future__ import annotations

import json
import math
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from .errors import AdcVsrError, ConfigError, missing_package

MOST_DIGITS = 20
"""Of a whole number as written; 64 bits have 20."""

SHOWN_LENGTH = 60
"""Characters of a wrong value that an error shows."""

TOML_LIMIT_BYTES = 256 << 10
"""Recipes and training configs are a few KB, written by hand."""

ErrorClass = type[AdcVsrError]


@dataclass(frozen=True)
class Limits:
    """How much a document may hold."""

    size_bytes: int = 4 << 20
    """Of the text; ours are kilobytes."""

    depth: int = 32
    """Lists and objects inside each other."""

    values: int = 200_000
    """Lists, objects, texts and numbers in all: a list takes 3 bytes of text and 64 of memory."""


DOCUMENT = Limits()
"""For documents of ours."""

PROFILE = Limits(size_bytes=1 << 30, values=50_000_000)
"""For what an engine writes of every layer of every run."""


@dataclass(frozen=True)
class Item:
    """A value of a document, and where it stands."""

    value: Any
    """As Python's parsers give it: dict, list, str, int, float, bool or None."""

    source: str
    """The document, as errors name it."""

    place: str
    """Keys and indices that lead here, such as `config.widths[0]`; empty at the top."""

    error: ErrorClass
    """What is raised."""

    advice: str = ""
    """What to do about it; ends the message."""

    def __getitem__(self, key: str) -> Item:
        """The value of an object's key.

        Raises:
            AdcVsrError: It is no object, or has no such key.
        """
        found = self.get(key)
        if found is None:
            self._raise(f"{self._join(key)} is missing")
        return found

    def get(self, key: str) -> Item | None:
        """The value of a key that may be missing; None where it is, or is null.

        Raises:
            AdcVsrError: It is no object.
        """
        if not isinstance(self.value, dict):
            self.expected("an object")
        value = self.value.get(key)
        return None if value is None else self._child(value, self._join(key))

    def fields(self) -> Iterator[tuple[str, Item]]:
        """Keys and values of an object.

        Raises:
            AdcVsrError: It is no object.
        """
        if not isinstance(self.value, dict):
            self.expected("an object")
        for key, value in self.value.items():
            yield key, self._child(value, self._join(key))

    def items(self, *, least: int = 0, most: int | None = None) -> list[Item]:
        """Values of a list.

        Raises:
            AdcVsrError: It is no list, or of another length.
        """
        fits = isinstance(self.value, list) and len(self.value) >= least
        if not fits or (most is not None and len(self.value) > most):
            self.expected(f"a list{_range(least or None, most, 'of {} values')}")
        return [self._child(v, f"{self.place}[{i}]") for i, v in enumerate(self.value)]

    def text(self, *, one_of: tuple[str, ...] = ()) -> str:
        """A text of one line that can be printed.

        Raises:
            AdcVsrError: It is none, has control characters, or is not one of the known.
        """
        if not isinstance(self.value, str):
            self.expected(f"one of {', '.join(one_of)}" if one_of else "a text")
        if one_of and self.value not in one_of:
            self.expected(f"one of {', '.join(one_of)}")
        if not self.value.isprintable():
            self.expected("a text of one line without control characters")
        return self.value

    def any_text(self) -> str:
        """A text as it is, such as a path: names have spaces of all kinds, and line ends.

        Raises:
            AdcVsrError: It is none.
        """
        if not isinstance(self.value, str):
            self.expected("a text")
        return str(self.value)

    def integer(self, least: int | None = None, most: int | None = None) -> int:
        """A whole number in a range, ends included.

        Raises:
            AdcVsrError: It is none, or outside.
        """
        if not _is_integer(self.value) or not _within(self.value, least, most):
            self.expected(f"a whole number{_range(least, most)}")
        return int(self.value)

    def number(self, least: float | None = None, most: float | None = None) -> float:
        """A number in a range, ends included.

        Raises:
            AdcVsrError: It is none, or outside.
        """
        numeric = _is_integer(self.value) or isinstance(self.value, float)
        if not numeric or not _within(self.value, least, most):
            self.expected(f"a number{_range(least, most)}")
        return float(self.value)

    def flag(self) -> bool:
        """True or false.

        Raises:
            AdcVsrError: It is something else.
        """
        if not isinstance(self.value, bool):
            self.expected("true or false")
        return self.value

    def mapping(self) -> dict[str, Any]:
        """An object as it stands.

        Raises:
            AdcVsrError: It is none.
        """
        if not isinstance(self.value, dict):
            self.expected("an object")
        return self.value

    def expected(self, what: str) -> NoReturn:
        """Refuse the value.

        Raises:
            AdcVsrError: Names file, place, value and what was expected.
        """
        self._raise(f"{self.place or 'the document'} is {shown(self.value)}, expected {what}")

    def _raise(self, message: str) -> NoReturn:
        raise self.error(_message(self.source, message, self.advice))

    def _child(self, value: Any, place: str) -> Item:
        return Item(value, self.source, place, self.error, self.advice)

    def _join(self, key: str) -> str:
        plain = key.replace("-", "").replace("_", "").isalnum()
        name = key if plain and len(key) <= SHOWN_LENGTH else shown(key)
        return f"{self.place}.{name}" if self.place else name


def read_json(
    path: Path,
    *,
    error: ErrorClass,
    advice: str = "",
    limits: Limits = DOCUMENT,
    pipe: bool = False,
) -> Item:
    """Read a JSON file.

    Args:
        path: The file.
        error: Raised where it is not as it should be.
        advice: What to do then; ends the message.
        limits: How much it may hold.
        pipe: Whether it may be a pipe, as a shell makes of `<(command)`.

    Raises:
        AdcVsrError: Of class `error`: it cannot be read, is no JSON in UTF-8, or beyond the limits.
    """
    data = read_limited(path, limits.size_bytes, error=error, pipe=pipe)
    return parse_json(data, source=f"'{path}'", error=error, advice=advice, limits=limits)


def parse_json(
    data: bytes | str,
    *,
    source: str,
    error: ErrorClass,
    advice: str = "",
    limits: Limits = DOCUMENT,
) -> Item:
    """Read JSON from memory.

    Args:
        data: The document.
        source: How errors name it.
        error: See `read_json`.
        advice: Likewise.
        limits: Likewise.

    Raises:
        AdcVsrError: See `read_json`.
    """
    text = _decode(data, source, error, advice, limits.size_bytes)
    try:
        value = json.loads(
            text, parse_constant=_refuse_constant, parse_int=_integer, object_pairs_hook=_object
        )
        _check(value, limits)
    except (ValueError, RecursionError) as reason:
        raise error(
            _message(source, f"is not valid JSON: {_reason(reason, limits)}", advice)
        ) from reason
    return Item(value, source, "", error, advice)


def read_toml(path: Path, *, error: ErrorClass = ConfigError, extra: str, purpose: str) -> Item:
    """Read a TOML file.

    Args:
        path: The file.
        error: See `read_json`.
        extra: Which installs Python 3.10's parser.
        purpose: What needs it, for the message where it is missing.

    Raises:
        AdcVsrError: See `read_json`.
        MissingPackageError: On Python 3.10, `tomli` is not installed.
    """
    data = read_limited(path, TOML_LIMIT_BYTES, error=error)
    return parse_toml(data, source=f"'{path}'", error=error, extra=extra, purpose=purpose)


def parse_toml(
    data: bytes | str, *, source: str, error: ErrorClass = ConfigError, extra: str, purpose: str
) -> Item:
    """Read TOML from memory; see `read_toml` and `parse_json`."""
    try:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
    except ImportError as missing:
        raise missing_package("tomli", extra, purpose) from missing
    text = _decode(data, source, error, "", TOML_LIMIT_BYTES)
    try:
        value: dict[str, Any] = tomllib.loads(text)
        _check(value, DOCUMENT)
    except (ValueError, RecursionError) as reason:
        raise error(f"{source} is not valid TOML: {_reason(reason, DOCUMENT)}") from reason
    return Item(value, source, "", error)


def read_limited(path: Path, limit: int, *, error: ErrorClass, pipe: bool = False) -> bytes:
    """Read a file of at most `limit` bytes.

    Raises:
        AdcVsrError: Of class `error`: it cannot be read, is no plain file, or longer.
    """
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or (pipe and stat.S_ISFIFO(mode))):
            raise error(f"cannot read '{path}': it is {_kind(mode)}, expected a file")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as reason:
        if isinstance(reason, AdcVsrError):
            raise
        said = reason.strerror if isinstance(reason, OSError) else reason
        raise error(f"cannot read '{path}': {said}") from reason
    if len(data) > limit:
        raise error(f"'{path}' is longer than the {limit:,} bytes that such a file may have")
    return data


def shown(value: Any) -> str:
    """A value for a message: as JSON where it is short, what it is where it is not."""
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value) if isinstance(value, str | int | float | None) else repr(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 1]}…"


def _message(source: str, what: str, advice: str) -> str:
    joined = f"{source} {what}" if what.startswith("is ") else f"{source}: {what}"
    return f"{joined}; {advice}" if advice else joined


def _decode(data: bytes | str, source: str, error: ErrorClass, advice: str, limit: int) -> str:
    if len(data) > limit:
        raise error(_message(source, f"is longer than the {limit:,} bytes expected", advice))
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        what = f"is not UTF-8 text (byte {data[reason.start]:#04x} at {reason.start})"
        raise error(_message(source, what, advice)) from reason


def _check(value: Any, limits: Limits) -> None:
    """Refuse what is nested too deep, too many, not finite or no text that can be written.

    Raises:
        ValueError: With the reason.
    """
    level, depth, count = [value], 0, 0
    while level:
        count, depth = count + len(level), depth + 1
        if count > limits.values:
            raise ValueError(f"it holds more than {limits.values:,} values")
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict | list):
                if depth > limits.depth:
                    raise ValueError(f"it is nested deeper than {limits.depth}")
                inner += each
                if isinstance(each, dict):
                    inner += each.values()
            elif type(each) is not str or not each.isascii():  # most of what documents hold
                _check_plain(each)
        level = inner


def _check_plain(value: Any) -> None:
    if isinstance(value, str):
        if not value.isascii():
            value.encode()  # half of a character pair cannot be printed or written
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"it holds the number {value}, expected finite ones")
    elif isinstance(value, int):
        if abs(value) >= 1 << 64:
            raise ValueError("it holds a whole number of more than 64 bits")
    elif value is not None:
        raise ValueError(f"it holds a {type(value).__name__}, expected texts and numbers")


def _reason(error: Exception, limits: Limits) -> str:
    if isinstance(error, RecursionError):
        return f"it is nested deeper than {limits.depth}"
    if isinstance(error, UnicodeEncodeError):
        return "it holds half of a character pair (\\ud800 to \\udfff)"
    return str(error)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds the number {name}, expected finite ones")


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it holds a whole number of {len(text)} digits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        doubled = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(doubled)} is there twice")
    return found


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _range(least: float | None, most: float | None, form: str = "{}") -> str:
    if least is None and most is None:
        return ""
    if most is None:
        words = f"{least:g} or more"
    elif least is None:
        words = f"{most:g} or less"
    else:
        words = f"{least} to {most}"
    return " " + (form.format(words) if form != "{}" else f"of {words}")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
