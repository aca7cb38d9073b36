"""The page of a board and its streams: one HTML file that needs nothing else.

write_streams_page(Path("board.html"), board, target("orin-nx"))
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from ..files import replace_file
from ..targets import Target
from .interval import fps_range
from .planning import Plan
from .streams import Board, Stream

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1d21; --soft: #5c626b; --line: #d9dce1;
  --card: #f5f6f8; --good: #17693a; --bad: #b3261e; --open: #a16207; --used: #1565c0; }
@media (prefers-color-scheme: dark) { :root { --ground: #14161a; --ink: #e8eaed; --soft: #a0a6b0;
  --line: #363b44; --card: #1d2026; --good: #63c98a; --bad: #ff8a80; --open: #e2b93b;
  --used: #64b5f6; } }
* { box-sizing: border-box; } html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 900px; padding: 14px; background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .4em; } h2 { font-size: 1.1rem; margin: 1.4em 0 .4em; }
.verdict { border: 1px solid var(--line); border-left: 6px solid var(--good); border-radius: 6px;
  background: var(--card); padding: .7em 1em; } .verdict.no { border-left-color: var(--bad); }
.verdict.open { border-left-color: var(--open); } .verdict p { margin: .2em 0; }
.verdict p:first-child { font-size: 1.1rem; font-weight: 600; }
.soft { color: var(--soft); font-size: .87rem; } ul { padding-left: 1.2em; }
.streams { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 260px), 1fr));
  gap: 12px; }
.stream { border: 1px solid var(--line); border-radius: 6px; padding: .6em .9em; }
.stream b { font-size: 1.05rem; } dl { display: grid; grid-template-columns: auto 1fr;
  gap: .15em .8em; margin: .4em 0 0; } dt { color: var(--soft); } dd { margin: 0; text-align: right;
  font-variant-numeric: tabular-nums; }
.meter { height: 14px; border-radius: 4px; background: var(--line); overflow: hidden; }
.meter i { display: block; height: 100%; background: var(--used); }
.meter.over i { background: var(--bad); }
@media print { .stream, .verdict { break-inside: avoid; } }
"""


OF = {"memory": "the memory", "network": "the network's time", "codecs": "the codecs' time"}
"""What binds, in words."""


def write_streams_page(path: Path, board: Board, target: Target) -> None:
    """Write the page; it appears under its name only when it is complete.

    Raises:
        OutputNotWritableError: It cannot be written.
    """
    data = render_streams_page(board, target).encode()
    replace_file(path, lambda part: part.write_bytes(data))


def render_streams_page(board: Board, target: Target) -> str:
    """Make the page's HTML."""
    plan = board.streams[0].plan
    title = f"{target.device}: {_count(len(board.streams))} through {plan.bundle}"
    look = {True: "", False: " no", None: " open"}[board.surely]
    streams = "".join(_stream(each, index) for index, each in enumerate(board.streams))
    notes = dict.fromkeys(note for each in board.streams for note in each.plan.notes)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>"
        f'<div class="verdict{look}"><p>{escape(verdict(board))}</p>'
        f'<p class="soft">{escape(plan.variant)} on {escape(plan.backend)}; '
        f"{escape(_known(board))}</p></div>"
        "<h2>What is used</h2>"
        + _meter("the network's device", board.network_share)
        + _meter("codecs", board.codec_share)
        + _meter("memory", _memory_share(board))
        + f'<h2>The streams</h2><div class="streams">{streams}</div>'
        '<p class="soft">Latency is from a frame\'s capture to its encoded picture, without '
        "network and player. The longer one is of a frame that finds one of every other stream "
        "before it.</p>"
        f'<ul class="soft">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>'
        "</body></html>\n"
    )


def verdict(board: Board) -> str:
    """What runs, with what margin, in a line."""
    count = len(board.streams)
    what = "The stream runs" if count == 1 else f"All {_count(count)} run"
    unsure = "Most probably: " if board.surely is None else ""
    if board.runs:
        return f"{unsure}{what}; {board.margin:.0%} of {OF[board.binds]} is left"
    if not board.fits_memory:
        return "Too little memory for these streams"
    return (
        f"{unsure}{'this is' if count == 1 else f'{_count(count)} are'} too much: they take "
        f"{board.share:.0%} of {OF[board.binds]}"
    )


def _count(streams: int) -> str:
    return f"{streams} stream{'s' * (streams != 1)}"


def _known(board: Board) -> str:
    interval = max(board.streams, key=lambda each: each.plan.device_ms).plan.interval
    if interval is None:
        return "how sure that is, is not known"
    return f"the network's time is known within a factor of {interval.network_factor:.2f}"


def _stream(each: Stream, index: int) -> str:
    plan = each.plan
    size = "{}x{}".format(*plan.output)
    rows = (
        ("picture", f"{plan.source.width}x{plan.source.height} to {size}"),
        ("rate", f"{plan.source.fps:g} fps"),
        ("alone, up to", f"{plan.largest_fps:.0f} fps"),
        ("in 9 cases of 10", _between(plan)),
        ("network", f"{plan.frame_ms:.1f} ms"),
        ("copies", f"{plan.copy_ms:.1f} ms"),
        ("codecs", "not known" if plan.video.ms is None else f"{plan.video.ms:.1f} ms"),
        ("latency", f"{each.latency_ms:.0f} to {each.most_latency_ms:.0f} ms"),
    )
    facts = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f'<div class="stream"><b>Stream {index + 1}</b><dl>{facts}</dl></div>'


def _between(plan: Plan) -> str:
    found = plan.interval
    return "not known" if found is None else f"{fps_range(found.low_ms, found.high_ms)} fps"


def _meter(name: str, share: float | None) -> str:
    if share is None:
        return f'<p class="soft">{escape(name)}: not known</p>'
    over = " over" if share > 1 else ""
    return (
        f"<div>{escape(name)}: {share:.0%}</div>"
        f'<div class="meter{over}"><i style="width:{min(share, 1):.1%}"></i></div>'
    )


def _memory_share(board: Board) -> float | None:
    return board.memory_bytes / board.memory_limit_bytes if board.memory_limit_bytes else None
