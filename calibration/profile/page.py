"""The page of a profile: one HTML file that needs nothing else, for screens, phones and paper.

write_page(Path("report.html"), profile)
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path

from ...files import replace_file
from .page_first import deciding_part, speed_part, statements_part
from .page_parts import conditions_part, layers_part, table_part, verdict_part
from .page_pictures import pictures_part
from .page_plots import plots_part
from .run import Profile

PICTURE_BYTES = 4 << 20
"""Of that, what pictures may take."""


def write_page(path: Path, profile: Profile) -> int:
    """Write the page; it appears under its name only when it is complete.

    Returns:
        Its size in bytes.

    Raises:
        OutputNotWritableError: It cannot be written.
    """
    data = render_page(profile).encode()
    replace_file(path, lambda part: part.write_bytes(data))
    return len(data)


def render_page(profile: Profile) -> str:
    """Make the page's HTML."""
    facts = profile.facts
    title = f"{facts['bundle']['name']}: what precision costs and gains"
    parts = [
        verdict_part(facts),
        deciding_part(profile),
        statements_part(facts),
        speed_part(facts),
        table_part(facts),
        layers_part(facts),
        pictures_part(profile, PICTURE_BYTES),
        plots_part(facts),
        conditions_part(facts),
    ]
    style, script = (_file(name) for name in ("page.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f"<main><h1>{escape(title)}</h1>{''.join(parts)}</main>"
        f"<script>{script}</script></body></html>\n"
    )


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
