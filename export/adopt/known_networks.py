"""Facts of well-known public networks, so that adopting them needs no options.

Small TOML files, one a network: hashes of its files, range and colours, licence and source. A file
of weights that is none of them is judged by its picture alone.

    known = find_known(original.sha256)
    known.licence
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...config_tables import read_table
from ...errors import ConfigError
from ...reading import TOML_LIMIT_BYTES, parse_toml, read_limited

FOLDER = Path(__file__).parent / "known"


@dataclass(frozen=True, kw_only=True)
class KnownNetwork:
    """What is known of a published network."""

    name: str
    range: str
    colour: str
    scale: int
    licence: str
    source: str
    """Where it is published."""

    sha256: tuple[str, ...]
    """Of its files, one after the other (ncnn: `.param`, then `.bin`)."""


def find_known(sha256: str) -> KnownNetwork | None:
    """The network whose files have this hash."""
    return next((each for each in known_networks() if sha256 in each.sha256), None)


@cache
def known_networks() -> tuple[KnownNetwork, ...]:
    """All that come with the package.

    Raises:
        ConfigError: A file of the package is damaged.
    """
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.toml")))


def _read(path: Path) -> KnownNetwork:
    data = read_limited(path, TOML_LIMIT_BYTES, error=ConfigError)
    found = parse_toml(data, source=f"'{path}'", extra="export", purpose="reading known networks")
    return read_table(KnownNetwork, dict(found.mapping()), path.name)
