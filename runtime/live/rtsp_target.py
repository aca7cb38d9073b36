"""What sources and sinks of `rtsp://` have in common: the transport, and the address for FFmpeg.

`rtsps://` is the same through TLS, for sources: FFmpeg then sends all through that connection.
"""

from __future__ import annotations

from typing import NamedTuple

from ...errors import ConfigError
from .address import Address

TRANSPORTS = ("tcp", "udp")

MOST_USER_BYTES, MOST_PATH_BYTES = 127, 2047
"""FFmpeg cuts what is longer without a word (its buffers in rtsp.c)."""


class RtspTarget(NamedTuple):
    """Where to connect, and how."""

    url: str
    """As it was given, without our options."""
    transport: str
    """Of `TRANSPORTS`."""


def rtsp_target(address: Address) -> RtspTarget:
    """Take the transport out of an address; all that is left belongs to the camera or server.

    Raises:
        ConfigError: No such transport, no host, or longer than FFmpeg sends it.
    """
    transport = address.take("transport", "tcp")
    if transport not in TRANSPORTS:
        raise ConfigError(
            f"'{address.text}': transport={transport}; expected {' or '.join(TRANSPORTS)}"
        )
    if transport == "udp" and address.scheme == "rtsps":
        raise ConfigError(
            f"'{address.text}': transport=udp would send pictures outside of TLS, which FFmpeg "
            "does not; leave it out, or use rtsp://"
        )
    url = address.url()
    address.fields.clear()
    authority = url.split("/", 3)[2].partition("?")[0].partition("#")[0]
    user, _, host = authority.rpartition("@")
    if not host or host.startswith(":"):
        raise ConfigError(f"'{address.text}' names no host; expected rtsp://HOST/PATH")
    path = url[len(f"{address.scheme}://") + len(authority) :]
    for what, text, most in (
        ("user name and password", user, MOST_USER_BYTES),
        ("path and query", path, MOST_PATH_BYTES),
    ):
        if (length := len(text.encode())) > most:
            raise ConfigError(
                f"'{address.text}': {what} have {length} bytes; FFmpeg sends {most} at most"
            )
    return RtspTarget(url, transport)
