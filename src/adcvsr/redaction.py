"""The one place that hides secrets: passwords, tokens and keys in the addresses of streams.

Of an address are shown its scheme, its host and those parts of path and query that every camera
has (`stream1`, `channel=2`); what is not known to be harmless is `***`. What was hidden in an
address once is hidden in every text from then on: messages of FFmpeg and GStreamer, tracebacks.

    learn("rtsp://admin:secret@camera/live?token=abcd")
    shown("rtsp://admin:secret@camera/live?token=abcd")  # rtsp://***@camera/live?token=***
    without_secrets("401 for secret")  # 401 for ***
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

HIDDEN = "***"

LOCAL_SCHEMES = frozenset({"csi", "file", "hls", "null", "test", "v4l2"})
"""Devices and files of this machine; their addresses are shown whole."""

PIPELINE_SCHEME = "gst"
"""What follows are elements of GStreamer, with addresses and passwords among their properties."""

SHORTEST = 3
"""Characters of a piece that is looked for in other texts: shorter ones are in every text."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/+)(.*)", re.DOTALL)
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%_-]+\]|[^\s/?#@:\[\]]*)(?::\d{1,5})?")
_USER_BEFORE_AT = re.compile(
    r"(?<![A-Za-z0-9+.-])((?!file:)[A-Za-z][A-Za-z0-9+.-]+:/+)(?!/|\*\*\*@)[^\s'\"<>]+@"
)

_WORDS = re.compile(
    "realmonitor|unicast|multicast|streaming|streams?|channels?|subtype|profile|cameras?|video|"
    "media|live|main|mpeg4?|mjpe?g|h26[45]|preview|onvif|axis|index|track|audio|push|play|"
    "enable|srtp|real|whip|cam|sub|sdp|amp|tcp|udp|high|low|mp4|ch|av"
)
"""What paths of cameras are made of."""

_OUR_FIELDS = re.compile(
    "seconds|keep|decoder|transport|timeout|parse|loop|viewers|size|fps|frames|format|bitrate|pace"
)
"""Options of ours: their values are shown where they are short."""

_CAMERA_FIELDS = re.compile(
    "channel|subtype|stream|profile|track(id)?|unicast|multicast|width|height|proto|camera",
    re.IGNORECASE,
)
"""Fields of queries whose value is shown where it is of words and numbers that cameras use."""

_NAME = re.compile(r"[A-Za-z_]{1,24}")
_VALUE = re.compile(r"[A-Za-z0-9_.-]{1,16}")
_WORD = re.compile(r"[a-z]{1,11}")
_MOST_DIGITS = 4

_STREAM_PARTS = re.compile(
    ",(?=(?:sink|policy|crop|max-latency-ms|cut-reset|stall-frames)=)",
)
"""Between the parts of `live --stream NAME=URI,sink=URI`."""

_PIPELINE = re.compile(rf"(?:^|=)\s*{PIPELINE_SCHEME}:(.*)", re.DOTALL | re.IGNORECASE)
_PROPERTY = re.compile(r"""([A-Za-z][\w-]*)=("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;!]+)""")
_SECRET_PROPERTY = re.compile(r"(?i)pass|pw|token|secret|credential|auth|user|key")
_ENCODER_PROPERTY = re.compile(
    r"pass=(?:cbr|quant|qual|pass[123])|key(?:-int-max|frame-(?:interval|period|max-dist))=-?\d+"
)
"""Encoders have such names for what is no secret."""

_pieces: set[str] = set()


@dataclass(frozen=True)
class Parts:
    """An address of a network's place, taken apart; nothing in it is decoded."""

    scheme: str
    """In lower case."""
    slashes: str
    user: str | None
    """What stands before the `@` of the host: user and password; None without one."""
    host: str
    """With its port."""
    rest: str
    """Path and query, from the first `/`, `?` or `#` behind the host."""
    doubtful: bool
    """Whether an `@` follows behind the host: then a part of a password may be taken for it."""


def take_apart(text: str) -> Parts | None:
    """Take an address apart; None where there is no scheme, or no host can be told.

    A password with `/`, `?` or `#` in it, which should have been percent-encoded, is recognised
    where the address makes no sense otherwise.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    scheme, slashes, after = found[1].lower(), found[2], found[3]
    authority, rest = _until_path(after)
    user, at, host = authority.rpartition("@")
    if not _HOST.fullmatch(host) or (rest.startswith("#") and "@" in rest):
        for place in (i for i, letter in enumerate(after) if letter == "@"):
            host, rest = _until_path(after[place + 1 :])
            if host and _HOST.fullmatch(host):
                user, at = after[:place], "@"
                break
        else:
            return None
    return Parts(scheme, slashes, user if at else None, host, rest, "@" in rest)


def shown(text: str) -> str:
    """An address as people may see it."""
    if (pipeline := _PIPELINE.match(text)) is not None:
        return text[: pipeline.start(1)] + _shown_pipeline(pipeline[1])
    found = _ADDRESS.fullmatch(text)
    if found is None or found[1].lower() in LOCAL_SCHEMES:
        return without_secrets(text)
    parts = take_apart(text)
    if parts is None or parts.doubtful:
        return f"{found[1].lower()}:{found[2]}{HIDDEN}"
    user = f"{HIDDEN}@" if parts.user else "@" * (parts.user is not None)
    rest = "".join(piece if harmless else HIDDEN for piece, harmless in _rest(parts.rest))
    return f"{parts.scheme}:{parts.slashes}{user}{parts.host}{rest}"


def _is_secret(name: str, value: str) -> bool:
    """Whether an element's property holds what nobody else may see."""
    known = _ENCODER_PROPERTY.fullmatch(f"{name}={value}")
    return known is None and _SECRET_PROPERTY.search(name) is not None


def _shown_pipeline(text: str) -> str:
    """A pipeline as people may see it: addresses among its properties as they are shown alone."""

    def property_shown(found: re.Match[str]) -> str:
        name, value = found[1], found[2].strip("'\"")
        if _is_secret(name, value):
            return f"{name}={HIDDEN}"
        return f"{name}={shown(value)}" if _ADDRESS.fullmatch(value) else found[0]

    return without_secrets(_PROPERTY.sub(property_shown, text))


def field_name(field: str) -> str:
    """The name of a query's field as people may see it; a field without a value may be a token."""
    name, _, value = field.partition("=")
    return name if _NAME.fullmatch(name) and (value.strip("=") or _plain(name)) else HIDDEN


def learn(text: str) -> None:
    """Take note of what is secret in an address, in one within it, in those of a stream."""
    if len(parts := _STREAM_PARTS.split(text)) > 1:
        for part in parts:
            learn(part)
        return
    if (pipeline := _PIPELINE.search(text)) is not None:
        for name, value in _PROPERTY.findall(pipeline[1]):
            learn(value)
            if _is_secret(name, value):
                learn_piece(value.strip("'\""))
        if (user := re.match(r"\s*/*([^\s/!]*:[^\s@]*)@", pipeline[1])) is not None:
            for piece in _user_secrets(user[1]):  # a camera's address after the wrong scheme
                learn_piece(piece)
        return
    text = text.strip("'\" \t\r\n")
    starts = [found.start() for found in re.finditer(r"[A-Za-z][A-Za-z0-9+.-]+:/", text)]
    for start in starts:
        for piece in _secrets(text[start:]):
            learn_piece(piece)
    if not starts and (found := re.match(r"[^/\s]*:[^@]*(?=@)", text)):
        learn_piece(found[0])  # an address without its scheme
        learn_piece(found[0].partition(":")[2])


def learn_piece(piece: str) -> None:
    """Take note of a secret, in each form in which it may be written."""
    plain = unquote(piece)
    forms = {piece, plain, plain.rstrip("="), quote(plain), quote(plain, safe="")}
    with suppress(UnicodeEncodeError):  # not UTF-8: nobody writes it in base64
        forms.add(base64.b64encode(plain.encode()).decode().rstrip("="))
    _pieces.update(form for form in forms if len(form) >= SHORTEST and form.strip("/?&=*@:"))


def without_secrets(text: str) -> str:
    """A text without what was learned, and without users and passwords in addresses.

    Args:
        text: Of any length; words of up to four letters are hidden only where they stand alone.
    """
    for piece in sorted(_pieces, key=len, reverse=True):
        if piece in text:
            whole = len(piece) > SHORTEST + 1
            pattern = re.escape(piece) if whole else rf"(?<!\w){re.escape(piece)}(?!\w)"
            text = re.sub(pattern, HIDDEN, text)
    return _USER_BEFORE_AT.sub(rf"\g<1>{HIDDEN}@", text)


def clean_error(error: BaseException) -> None:
    """Hide secrets in an error that others raised, and in those that led to it."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        following.args = tuple(_cleaned(each) for each in following.args)
        for name in ("filename", "strerror"):
            if isinstance(value := getattr(following, name, None), str):
                with suppress(AttributeError):  # PyAV's is made of its args
                    setattr(following, name, without_secrets(value))
        following = following.__cause__ or following.__context__


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    return tuple(_cleaned(each) for each in value) if isinstance(value, tuple) else value


def _until_path(text: str) -> tuple[str, str]:
    end = next((i for i, letter in enumerate(text) if letter in "/?#"), len(text))
    return text[:end], text[end:]


def _secrets(text: str) -> Iterator[str]:
    """What `shown` hides, and what holds it."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return
    if found[1].lower() in LOCAL_SCHEMES:
        # No device or file begins so: a camera's address after the wrong scheme.
        user, at, _ = found[3].partition("@")
        if at and ":" in user and "/" not in user:
            yield from _user_secrets(user)
        return
    parts = take_apart(text)
    if parts is None or parts.doubtful:
        yield found[3]
        # Nobody can tell which `@` ends the password: each may.
        for place in (i for i, letter in enumerate(found[3]) if letter == "@"):
            yield from _user_secrets(found[3][:place])
    if parts is None:
        yield from re.split(r"[/?#&@]", found[3])
        return
    yield from _user_secrets(parts.user or "")
    before = ""
    for piece, harmless in _rest(parts.rest):
        if not harmless:
            yield parts.rest
            # A word of a path that others use, too ("garden"), is not looked for in what they say.
            if before.endswith("=") or not _WORD.fullmatch(piece):
                yield piece
            # Some cameras write user=NAME_password=WORD_channel=1.
            yield from (each for each in re.findall("=([^=_]+)", piece) if not _plain(each))
        before = piece


def _user_secrets(user: str) -> Iterator[str]:
    password = user.partition(":")[2]
    # Beside a password a name is none, and may be a word such as "admin" that messages use.
    yield from (user, password) if password else (user,)


def _rest(rest: str) -> Iterator[tuple[str, bool]]:
    """Pieces of path and query, each with whether it is harmless; joined they are all of it."""
    for piece in re.findall(r"[/?&;#]|[^/?&;#]+", rest):
        if piece in "/?&;#":
            yield piece, True
        elif "=" in piece:
            name, _, value = piece.partition("=")
            named = bool(_NAME.fullmatch(name) and value.strip("="))
            plain = bool(_CAMERA_FIELDS.fullmatch(name)) and _plain(value)
            plain = plain or bool(_OUR_FIELDS.fullmatch(name) and _VALUE.fullmatch(value))
            yield (f"{name}=", True) if named else (piece, False)
            if named:
                yield value, plain
        else:
            yield piece, _plain(piece)


def _plain(piece: str) -> bool:
    """Whether a part of a path or query is of the words and numbers that cameras use."""
    left = _WORDS.sub("", piece.lower())
    digits = sum(letter.isdigit() for letter in left)
    return len(piece) < SHORTEST or (not left.strip("0123456789._-") and digits <= _MOST_DIGITS)
