"""`adcvsr cache list|clear`: the engines on this device."""

from __future__ import annotations

import click

from ._group import CommandGroup
from ._options import json_option
from ._say import done, print_json


@click.group(cls=CommandGroup)
def command() -> None:
    """List or clear the engines built on this device.

    They lie in $ADCVSR_CACHE [default: ~/.cache/adcvsr] and take up to $ADCVSR_CACHE_LIMIT
    [default: 20GiB]; the ones unused for longest go first.
    """


@command.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List engines, the last used first."""
    from ..runtime.engine.engine_cache import EngineCache

    cache = EngineCache()
    entries = cache.entries()
    if as_json:
        engines = [{"key": e.key, "path": str(e.plan), **e.facts} for e in entries]
        facts = {"folder": str(cache.folder), "limit_bytes": cache.limit_bytes, "engines": engines}
        print_json(facts)
        return
    for entry in entries:
        facts = entry.facts
        click.echo(
            f"{entry.key}  {entry.size_bytes / 1e6:8.1f} MB  {facts['built']}  {facts['what']} "
            f"({entry.identity['backend']} {entry.identity['builder']})"
        )
    total = sum(entry.size_bytes for entry in entries)
    click.echo(f"{len(entries)} engines, {total / 1e6:.1f} MB in {cache.engines}")


@command.command("clear")
@click.argument("key", required=False)
@json_option
def clear_command(key: str | None, as_json: bool) -> None:
    """Remove engines and kernel timings, or engines by KEY.

    KEY is the beginning of a key; the kernel timings are then kept.
    """
    from ..runtime.engine.engine_cache import EngineCache
    from ..runtime.engine.timings import clear_timings

    cache = EngineCache()
    count, size = cache.clear(key)
    timings = clear_timings(cache.folder) if key is None else 0
    if as_json:
        removed = {"removed": count, "bytes": size, "timings_bytes": timings}
        print_json({"folder": str(cache.folder), **removed})
    else:
        also = f"; kernel timings, {timings / 1e6:.1f} MB" if timings else ""
        done(f"{count} engines removed from {cache.engines}, {size / 1e6:.1f} MB{also}")
