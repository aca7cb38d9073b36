"""Addresses of sources and sinks: `scheme://place?option=value`, or the path of a file.

A plain path is taken as it is, and `file:PATH` too; where there is no such file, what follows a
question mark are options: `clip.mp4?loop=1`. Of a camera's address nothing is changed: what is not
an option of ours is sent to it letter by letter.

    Address.parse("rtsp://camera/stream?transport=udp").take("transport", "tcp")
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from ...errors import ConfigError
from ...redaction import (
    HIDDEN,
    LOCAL_SCHEMES,
    PIPELINE_SCHEME,
    field_name,
    learn,
    shown,
    take_apart,
)

_DEVICE = re.compile(r"/dev/video\d+")
_HOST = re.compile(r"(\[[\da-fA-F:]+\]|[\w.-]+):\d{1,5}/?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_SCHEME_WITHIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

PIPE_SCHEME = "-"
"""Standard input or output; it stands alone."""

PERCENT_ENCODE = "where a user name or password holds / ? # or @, write %2F %3F %23 or %40"


@dataclass
class Address:
    """Where frames come from or go to; options are taken out one by one."""

    text: str
    """What may be shown: for messages."""

    scheme: str
    """`file` where it was a plain path."""

    place: str = field(repr=False)
    """What follows `scheme://`, without the options: host and path, device, or file."""

    fields: list[str] = field(default_factory=list, repr=False)
    """`name=value` or `name`, as they were given; those not taken yet."""

    hint: str = ""
    """What else may be wrong with it, for the end of a message."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address.

        Raises:
            ConfigError: It cannot be one, or is one only with something around it.
        """
        learn(text)
        if text == PIPE_SCHEME or text.startswith(f"{PIPE_SCHEME}?"):
            return cls(
                text, PIPE_SCHEME, PIPE_SCHEME, [each for each in text[2:].split("&") if each]
            )
        found = _SCHEME.match(text)
        if found is None or (found[1].lower() not in LOCAL_SCHEMES and os.path.isfile(text)):
            return cls._of_file(text, text)
        scheme, after = found[1].lower(), text[found.end() :]
        if scheme == "file":
            return cls._of_file(text, after.removeprefix("//"))
        if scheme == PIPELINE_SCHEME:  # whole: a question mark belongs to an element
            return cls(shown(text), scheme, after.strip())
        if scheme in LOCAL_SCHEMES:
            place, mark, query = after.removeprefix("//").partition("?")
            return cls(shown(text), scheme, place, query.split("&") if mark else [])
        return cls._of_network(text, scheme)

    @classmethod
    def _of_file(cls, text: str, path: str) -> Address:
        if os.path.exists(path):
            return cls(shown(text), "file", path)
        if (within := _SCHEME_WITHIN.search(path)) is not None:
            raise ConfigError(
                f"'{shown(text)}' has something before {within[0]}; expected SCHEME://PLACE or a "
                "file's path, without blanks or quotes around it"
            )
        place, mark, query = path.rpartition("?")
        if mark and re.fullmatch(r"[a-z_]+=[^/]*", query):
            return cls(shown(text), "file", place, query.split("&"))
        return cls(shown(text), "file", path)

    @classmethod
    def _of_network(cls, text: str, scheme: str) -> Address:
        parts = take_apart(text)
        if parts is None or parts.slashes != "//":
            visible = shown(text) if "/" in text else f"{scheme}:{HIDDEN}"
            raise ConfigError(
                f"'{visible}' is no address; expected SCHEME://HOST:PORT/PATH such as "
                "rtsp://camera:554/stream or http://127.0.0.1:8080, with USER:PASSWORD@ before the "
                f"host where it asks for them; {PERCENT_ENCODE}"
            )
        if odd := {letter for letter in text if not letter.isprintable() and letter != " "}:
            raise ConfigError(
                f"'{shown(text)}' holds letters that no address has: {''.join(sorted(odd))!a};"
                " expected one line of UTF-8 text"
            )
        user = ""
        if parts.user is not None:
            # Whoever wrote them plainly meant them as a part of the password.
            user = re.sub("[/?#]", lambda found: quote(found[0], safe=""), parts.user) + "@"
        path, mark, query = parts.rest.partition("?")
        return cls(
            shown(text),
            scheme,
            f"{user}{parts.host}{path}",
            query.split("&") if mark else [],
            f"; an '@' stands behind the host: {PERCENT_ENCODE}" if parts.doubtful else "",
        )

    def has(self, name: str) -> bool:
        """Whether an option is there to be taken."""
        return any(each.partition("=")[0] == name for each in self.fields)

    def take(self, name: str, default: str) -> str:
        """Take an option out; percent-encoded letters of its value are decoded.

        Raises:
            ConfigError: It comes twice.
        """
        mine = [each for each in self.fields if each.partition("=")[0] == name]
        if len(mine) > 1:
            raise ConfigError(f"'{self.text}': the option {name} comes twice")
        if not mine:
            return default
        self.fields.remove(mine[0])
        return unquote(mine[0].partition("=")[2])

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        """Take a number out.

        Raises:
            ConfigError: It is no number, out of its range, or comes twice.
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
            ConfigError: It is no size, or comes twice.
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
        if left := [each for each in self.fields if each]:
            names = ", ".join(field_name(each) for each in left)
            raise ConfigError(f"'{self.text}' has no option {names}; it has: {known or 'none'}")

    def url(self, **query: str) -> str:
        """The address for FFmpeg: what was not taken of it as it was given, then what is added."""
        fields = [*self.fields, *(f"{name}={quote(value)}" for name, value in query.items())]
        return f"{self.scheme}://{self.place}" + (f"?{'&'.join(fields)}" if fields else "")


def refuse_without_scheme(address: Address, *, sink: bool) -> None:
    """Refuse a device, or a host with its port, that would be taken for a file's name.

    Args:
        address: A plain path, by how it was given.
        sink: Whether it is to be written.

    Raises:
        ConfigError: It is one; the message has the address that was meant.
    """
    place = address.place
    if _DEVICE.fullmatch(place):
        raise ConfigError(
            f"'{address.text}' is a device, not a file: for a camera write v4l2://{place}"
        )
    if sink and _HOST.fullmatch(place) and not os.path.exists(place):
        raise ConfigError(
            f"'{address.text}' has no scheme: for the preview page write http://{place}"
        )
