"""Takes out of a text who and where it comes from, so that it may be sent to strangers.

clean = Anonymous.of_this_machine()
clean("/home/maria/x on marias-orin")   # "~/x on <host>"

Passwords and tokens of addresses are hidden as everywhere (`redaction`, `fault`).
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...fault import without_any_secret
from ...host.machine import Host

GENERIC = frozenset(
    {"root", "user", "admin", "ubuntu", "debian", "pi", "nvidia", "jetson", "orin", "tegra"}
    | {"tegra-ubuntu", "nvidia-desktop", "jetson-desktop", "ubuntu-desktop", "localhost"}
    | {"localhost.localdomain", "adcvsr", "docker", "runner", "nobody"}
)
"""Names that boards are delivered with: they say nothing of a person, and are words of every log.
They go from paths and in front of an @ all the same."""

_MAC = re.compile(r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:])")
_PRIVATE = re.compile(
    r"(?<![\d.])(?:192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01]))\.\d{1,3}\.\d{1,3}(?![\d.])"
)
_HOMES = re.compile(r"/(?:home|Users)/[^/\s'\":,;]+")
_AT = re.compile(r"(?<![\w.+-])[\w.+-]+@(?=[\w-])")
_SERIAL = re.compile(r"(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Anonymous:
    """Call it with a text.

    Args:
        users: Names of the user.
        hosts: Names of the machine.
        folders: The user's folders, and what stands for each.
        addresses: Of the machine's network interfaces.
    """

    def __init__(
        self,
        users: Iterable[str] = (),
        hosts: Iterable[str] = (),
        folders: Iterable[tuple[str, str]] = (),
        addresses: Iterable[str] = (),
    ) -> None:
        self._folders = sorted(folders, key=lambda pair: -len(pair[0]))
        names = [(name, "<user>") for name in users if name.lower() not in GENERIC]
        names += [(name, "<host>") for name in hosts if name.lower() not in GENERIC]
        names += [(address, "<address>") for address in addresses]
        self._names = [
            (re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE), word)
            for name, word in sorted(set(names), key=lambda pair: -len(pair[0]))
            if len(name) > 1
        ]

    @classmethod
    def of_this_machine(cls, host: Host | None = None) -> Anonymous:
        """Look up who uses which machine."""
        host = host or Host()
        users = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER", "USERNAME")}
        folders = {os.environ.get("HOME", ""), str(Path.home())}
        with suppress(OSError, KeyError, ImportError):
            users.add(getpass.getuser())
        users |= {Path(folder).name for folder in folders if folder}
        names = {socket.gethostname(), host.read("/etc/hostname") or ""}
        names |= {os.environ.get("HOSTNAME", "")}
        names |= {name.partition(".")[0] for name in names}
        return cls(
            {name for name in users if name},
            {name for name in names if name},
            {(folder, "~") for folder in folders if folder not in ("", "/")},
            _own_addresses(host),
        )

    def clean_json(self, text: str) -> str:
        """Clean the texts within JSON, and no number or structure; what is no JSON as a text."""
        try:
            return json.dumps(self._clean_value(json.loads(text)), indent=1) + "\n"
        except ValueError:
            return self(text)

    def _clean_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self._clean_value(each) for each in value]
        if isinstance(value, dict):
            return {self(key): self._clean_value(each) for key, each in value.items()}
        return value

    def __call__(self, text: str) -> str:
        """Return the text without users, machines, homes, addresses, serial numbers and secrets."""
        text = without_any_secret(text)
        for folder, word in self._folders:
            text = text.replace(folder, word)
        text = _HOMES.sub("~", text)
        for pattern, word in self._names:
            text = pattern.sub(word, text)
        for pattern, word in ((_MAC, "<address>"), (_PRIVATE, "<address>"), (_SERIAL, "<serial>")):
            text = pattern.sub(word, text)
        return _AT.sub("<user>@", text)


def _own_addresses(host: Host) -> set[str]:
    """IP addresses of the interfaces, but not the loopback's: it is every machine's."""
    lines = (host.read("/proc/net/fib_trie") or "").splitlines()
    found = {
        line.split()[-1]
        for line, after in pairwise(lines)
        if "|--" in line and "/32 host LOCAL" in after
    }
    for line in (host.read("/proc/net/if_inet6") or "").splitlines():
        digits = line.split()[0]
        groups = [digits[at : at + 4] for at in range(0, 32, 4)]
        with suppress(OSError):
            packed = socket.inet_pton(socket.AF_INET6, ":".join(groups))
            found.add(socket.inet_ntop(socket.AF_INET6, packed))
    return {
        each for each in found if not each.startswith("127.") and each not in ("0.0.0.0", "::1")
    }
