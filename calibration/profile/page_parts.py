"""Parts of the page that are words and tables. One without content says why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

Facts = dict[str, Any]

MOST_LAYERS = 60
"""Rows of a table of layers; the JSON has all."""

ABSENT = "-"


def verdict_part(facts: Facts) -> str:
    """What to ship, and what speaks against believing it."""
    found = facts["verdict"]
    bad = found["ship"] == facts["reference"] and any(not j["good"] for j in found["judgements"])
    lines = "".join(f"<p>{escape(line)}</p>" for line in found["lines"])
    warnings = "".join(
        f'<li class="{"warn" if w["worthless"] else "soft"}">{escape(w["text"])}</li>'
        for w in facts["bench"]["warnings"]
    )
    untrained = (
        ""
        if facts["bundle"]["trained"]
        else '<p class="warn">This bundle is untrained: speed counts, pictures do not.</p>'
    )
    return (
        f'<div class="verdict{" no" if bad else ""}">{lines}</div>{untrained}'
        + (f"<ul>{warnings}</ul>" if warnings else "")
        + f'<p class="soft">{escape(_where(facts))}</p>'
    )


def _where(facts: Facts) -> str:
    conditions = facts["bench"]["conditions"]
    machine = conditions["board"] or conditions["processor"] or conditions["machine"]
    width, height = facts["bench"]["size"]
    scale = facts["bench"]["bundle"]["scale"]
    return (
        f"{facts['date'][:10]}, on {machine}, "
        f"{width}x{height} to {scale * width}x{scale * height}, "
        f"{len(facts['clips'])} clip{'s' * (len(facts['clips']) != 1)}, "
        f"{sum(c['frames'] for c in facts['clips'])} frames in all, "
        f"compared with {facts['reference']}"
    )


def table_part(facts: Facts) -> str:
    """Every variant's figures."""
    metrics = facts["protocol"]["metrics"]
    titles = {m["name"]: (f"{m['title']} {m['unit']}".strip(), m["digits"]) for m in metrics}
    rows = facts["table"]
    columns: list[tuple[str, list[str]]] = [
        ("fps", [_number(r["fps"], 1) for r in rows]),
        ("p50 ms", [_number(r["p50_ms"], 1) for r in rows]),
        ("p99 ms", [_number(r["p99_ms"], 1) for r in rows]),
        ("CPU ms", [_number(r["cpu_ms"], 1) for r in rows]),
        (f"time to {facts['reference']}", [_number(r["time_ratio"], 3) for r in rows]),
        ("graph kB", [_number(r["model_bytes"] / 1e3, 0) for r in rows]),
        ("memory MB", [_number(r["memory_bytes"] and r["memory_bytes"] / 1e6, 0) for r in rows]),
    ]
    for key, where in (("to_reference", facts["reference"]), ("to_truth", "the truth")):
        for name, (title, digits) in titles.items():
            values = [_number(r[key].get(name), digits) for r in rows]
            columns.append((f"{title} to {where}", values))
    columns += [
        ("worst frame dB", [_number(r["worst_frame_db"], 1) for r in rows]),
        ("flicker levels", [_number(r["flicker_levels"], 3) for r in rows]),
        ("worst colour, levels off", [_number(_colour(r, "flat_most"), 0) for r in rows]),
        (
            "drift levels in 1000 frames",
            [_number(r["drift"] and r["drift"]["slope_per_1000"], 4) for r in rows],
        ),
    ]
    columns = [(head, cells) for head, cells in columns if any(cell != ABSENT for cell in cells)]
    # A row a figure and a column a variant: four variants fit a phone, twenty figures do not.
    heads = ["figure", *(r["variant"] for r in rows)]
    lines = [[head, *cells] for head, cells in columns]
    left_out = "".join(
        f"<li>{escape(name)}: {escape(reason)}</li>"
        for name, reason in facts["protocol"]["left_out"].items()
    )
    # A sentence in a cell would push all figures out of sight.
    colours = "".join(
        f"<li>{escape(row['variant'])}: {escape(line)}</li>"
        for row in rows
        if (line := _colour(row, "line"))
    )
    notes = colours + "".join(f"<li>{escape(line)}</li>" for line in facts["notes"])
    per_clip = _per_clip(facts)
    return (
        "<h2>1. Figures</h2>"
        + _table(heads, lines)
        + (f'<ul class="soft">{left_out}{notes}</ul>' if left_out or notes else "")
        + per_clip
    )


def _colour(row: Facts, key: str) -> Any:
    """A figure of a variant's drawn colours; None in pages made before they were measured."""
    return (row.get("colours") or {}).get(key)


def _per_clip(facts: Facts) -> str:
    names = [row["variant"] for row in facts["table"][1:]]
    if not names:
        return ""
    heads = ["clip", "size", "frames", *(f"{name}, PSNR-Y dB" for name in names)]
    lines = [
        [
            clip["name"],
            "x".join(map(str, clip["size"])),
            str(clip["frames"]),
            *(_number((clip["to_reference"].get(n) or {}).get("psnr"), 2) for n in names),
        ]
        for clip in facts["clips"]
    ]
    return f"<h3>Each clip, to {escape(facts['reference'])}</h3>" + _table(heads, lines)


def layers_part(facts: Facts) -> str:
    """Time beside damage of every layer, the worst bargain first."""
    layers = facts["layers"]
    if not layers or not layers["variants"]:
        return (
            "<h2>2. Layers</h2><p>No layers are shown: "
            + ("one variant alone cannot be compared." if len(facts["table"]) < 2 else _why(facts))
            + "</p>"
        )
    parts = [
        "<h2>2. Layers</h2>",
        '<p class="soft">Isolated: the layer with its rounded weights and output, on exact '
        "inputs; it names the culprit. Accumulated: with all that came before. Picture: PSNR if "
        "only this layer rounded. Sorted by damage to the picture for each millisecond saved; "
        "names are those of the graph, as exclusion lists take them.</p>",
    ]
    bad = {each["variant"] for each in facts["verdict"]["judgements"] if not each["good"]}
    for variant, found in layers["variants"].items():
        parts.append(f"<h3>{escape(variant)}</h3>{_layer_table(found['layers'], variant in bad)}")
        elsewhere = _elsewhere(layers["times"], facts["reference"], variant)
        if elsewhere:
            parts.append(f'<p class="soft">{escape(elsewhere)}</p>')
    return "".join(parts)


def _why(facts: Facts) -> str:
    lines = [line for line in facts["notes"] if "layer" in line]
    return escape("; ".join(lines) or "the engine does not tell") + "."


def _layer_table(rows: Sequence[Facts], bad: bool) -> str:
    """A row a layer; the first is marked where the variant's pictures are bad."""
    most = max((row["picture_noise"] or 0 for row in rows), default=0) or 1
    heads = (
        *("layer", "type", "isolated dB", "accum. dB", "picture dB"),
        *("ms before", "ms after", "ms saved", ""),
    )
    lines = []
    for index, row in enumerate(rows[:MOST_LAYERS]):
        share = (row["picture_noise"] or 0) / most
        mark = " class=worst" if bad and not index else ""
        lines.append(
            f'<tr{mark}><td class="name">{escape(row["layer"])}</td>'
            f"<td>{escape(row['op_type'])}</td>"
            f"<td>{_number(row['isolated_db'], 1)}</td><td>{_number(row['accumulated_db'], 1)}</td>"
            f"<td>{_number(row['picture_db'], 1)}</td>"
            f"<td>{_number(row['reference_ms'], 3)}</td><td>{_number(row['variant_ms'], 3)}</td>"
            f"<td>{_number(row['saved_ms'], 3)}</td>"
            f'<td style="text-align:left"><span class="bar" style="width:{60 * share:.0f}px">'
            "</span></td></tr>"
        )
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    more = len(rows) - MOST_LAYERS
    rest = f'<p class="soft">{more} more layers are in the JSON.</p>' if more > 0 else ""
    return (
        f'<div class="wide" tabindex="0"><table class="layers"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody>"
        f"</table></div>{rest}"
    )


def _elsewhere(times: Facts, reference: str, variant: str) -> str:
    from .layer_time import ELSEWHERE

    one, other = times.get(reference), times.get(variant)
    if not one or not other:
        return "The engine writes no profile: times of layers are not known."
    return (
        f"Input, output and what belongs to no layer: {one[ELSEWHERE]:.3f} ms before, "
        f"{other[ELSEWHERE]:.3f} after; all layers together {sum(one.values()):.2f} and "
        f"{sum(other.values()):.2f} ms (with the profile's own cost)."
    )


def conditions_part(facts: Facts) -> str:
    """How it was measured, with every version."""
    bench = facts["bench"]
    conditions = bench["conditions"]
    rows: list[tuple[str, Any]] = [
        ("input", f"{bench['size'][0]}x{bench['size'][1]}; {_protocol(facts)}"),
        (
            "speed",
            f"{bench['seconds']:g} s, variants taking turns of {bench['turn_frames']} frames",
        ),
        ("times believed", facts["verdict"]["basis"]),
        ("other processes", _percent(conditions["others_share"])),
        ("load before", conditions["load_before"]),
        ("threads", conditions["threads"]),
        ("processor", f"{conditions['processor']}, {conditions['processors_usable']} usable"),
        ("board", conditions["board"]),
        ("JetPack", conditions["jetpack"]),
        ("GPU driver", conditions["gpu_driver"]),
        ("governor", conditions["governors"]),
        ("power mode", conditions["power_mode"]),
        ("system", conditions["system"]),
        ("Python", conditions["python"]),
        ("adcvsr", conditions["adcvsr"]),
        *((name, version) for name, version in conditions["packages"].items()),
        *(
            (name, f"{q['min']:g} to {q['max']:g}")
            for name, q in bench["sensors"]["quantities"].items()
        ),
        ("clocks cut", bench["sensors"]["throttling"] or None),
        ("limits of the verdict", facts["verdict"]["limits"]),
    ]
    body = "".join(
        f'<tr><td>{escape(name)}</td><td class="facts">{escape(_plain(value))}</td></tr>'
        for name, value in rows
        if value not in (None, [], "")
    )
    return (
        f"<h2>5. How it was measured</h2><table><tbody>{body}</tbody></table>"
        '<p class="soft">What each figure means: docs/metrics.md and docs/profile.md. '
        "Made by adcvsr profile; the JSON beside this page has every number.</p>"
    )


def _protocol(facts: Facts) -> str:
    if facts["protocol"]["truth"]:
        return "clips are ground truth, reduced x1/4 by antialiased bicubic"
    return "no truth was given: figures are against the reference alone (--truth compares with it)"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {each:g}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" tabindex="0">{table}</div>'


def _number(value: float | None, digits: int) -> str:
    return ABSENT if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.0%} of the processors"
