"""Addresses of sources and sinks: `scheme://place?option=value`, or the path of a file.

A plain path is taken as it is; `file:PATH?option=value` gives a file options.

    Address.parse("rtsp://camera/stream?transport=udp").take("transport", "tcp")
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from ...errors import ConfigError

_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]+):")


@dataclass
class Address:
    """Where frames come from or go to; options are taken out one by one."""

    text: str
    """As it was given, credentials hidden: for messages."""

    scheme: str
    """`file` where it was a plain path."""

    place: str
    """What follows `scheme://`, without the options: host and path, device, or file."""

    options: dict[str, str] = field(default_factory=dict)
    """Those not taken yet."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address.

        Raises:
            ConfigError: An option has no value, or comes twice.
        """
        found = _SCHEME.match(text)
        if found is None:
            return cls(text, "file", text)
        scheme = found[1]
        place, _, query = text[len(scheme) + 1 :].removeprefix("//").partition("?")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError as error:
            raise ConfigError(f"'{text}': {error}; expected ?name=value&name=value") from error
        if len(dict(pairs)) < len(pairs):
            raise ConfigError(f"'{hide_credentials(text)}': an option comes twice")
        return cls(hide_credentials(text), scheme, place, dict(pairs))

    def take(self, name: str, default: str) -> str:
        """Take an option out."""
        return self.options.pop(name, default)

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        """Take a number out.

        Raises:
            ConfigError: It is no number, or out of its range.
        """
        text = self.take(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ConfigError(f"'{self.text}': {name}={text}; expected {low:g} to {high:g}")
        return value

    def size(self, default: str) -> tuple[int, int]:
        """Take `size=WxH` out, in pixels.

        Raises:
            ConfigError: It is no size.
        """
        text = self.take("size", default)
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
        if found is None or not (int(found[1]) and int(found[2])):
            raise ConfigError(f"'{self.text}': size={text}; expected WIDTHxHEIGHT such as 320x180")
        return int(found[1]), int(found[2])

    def finish(self, known: str) -> None:
        """Refuse options that nobody took.

        Raises:
            ConfigError: There are some.
        """
        if self.options:
            names = ", ".join(self.options)
            raise ConfigError(f"'{self.text}' has no option {names}; it has: {known or 'none'}")

    def url(self, **query: str) -> str:
        """The address for FFmpeg, with options of its own."""
        text = f"{self.scheme}://{self.place}"
        joined = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        return f"{text}?{joined}" if joined else text


def hide_credentials(text: str) -> str:
    """An address as it may be printed: without user, password and token."""
    parts = urlsplit(text)
    if parts.hostname is None and "@" not in parts.netloc:
        return text
    host = parts.netloc.rpartition("@")[2]
    netloc = f"***@{host}" if "@" in parts.netloc else host
    query = re.sub(r"(^|&)token=[^&]*", r"\1token=***", parts.query)
    return urlunsplit(parts._replace(netloc=netloc, query=query))
