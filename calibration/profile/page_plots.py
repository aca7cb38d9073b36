"""Part 4 of the page: everything over frames, and activations against their scales."""

from __future__ import annotations

from html import escape
from typing import Any

from .plots import line_plot, range_plot
from .quality import HISTOGRAM_BINS

Facts = dict[str, Any]

MOST_RANGES = 40

SERIES_COLOURS = 6
"""Of the page; further variants use them again."""


def plots_part(facts: Facts) -> str:
    """Latency, error, drift, spectrum, histogram, ranges: those there are figures for."""
    colours = {row["variant"]: i % SERIES_COLOURS for i, row in enumerate(facts["table"])}
    others = list(colours)[1:]
    first = facts["clips"][0]
    drawn = [
        _plot(
            f"Latency over time, {first['name']}",
            {name: list(enumerate(values)) for name, values in first["frame_ms"].items()},
            colours,
            "frame",
            "ms",
        )
    ]
    if others:
        drawn += [
            _plot(
                f"Error over frames, {clip['name']}",
                {name: list(enumerate(values)) for name, values in clip["rms"].items()},
                colours,
                "frame",
                "RMS levels",
            )
            for clip in facts["clips"]
        ]
        drawn.append(_long_run(facts, colours))
        drawn.append(_events(facts, colours))
        drawn.append(
            _plot(
                f"Spectrum of the error's change, {first['name']}",
                {
                    name: list(zip(f["frequencies"][1:], f["power"][1:], strict=True))
                    for name, f in first["flicker"].items()
                },
                colours,
                "cycles a frame",
                "levels²",
                log=True,
            )
        )
        drawn.append(
            _plot(
                f"Luma histogram: shift from {facts['reference']}",
                _histogram_shift(facts),
                colours,
                "luma",
                "% of pixels",
                zero=False,
            )
        )
        drawn.append(_ranges(facts))
    return "<h2>4. Plots</h2>" + "".join(drawn)


def _plot(
    title: str, series: Facts, colours: dict[str, int], x: str, y: str, **options: bool
) -> str:
    """A figure with its legend; nothing where no line has two points, or none is above 0."""
    usable = {name: points for name, points in series.items() if len(points) > 1}
    if not usable:
        return f'<p class="soft">{escape(title)}: not measured, no two figures to draw.</p>'
    if all(value == 0 for points in usable.values() for _, value in points):
        return f'<p class="soft">{escape(title)}: nothing to draw, all are zero.</p>'
    legend = "".join(f'<i class="k{colours[name]}"></i>{escape(name)}' for name in usable)
    return (
        f"<figure><h3>{escape(title)}</h3>"
        f"{line_plot(usable, colours, x=x, y=y, **options)}"
        f'<div class="legend">{legend}</div></figure>'
    )


def _long_run(facts: Facts, colours: dict[str, int]) -> str:
    found = facts["over_time"]
    if not found or not any(v["errors"] for v in found["variants"].values()):
        return ""
    series = {n: list(enumerate(v["errors"])) for n, v in found["variants"].items()}
    lines = [
        f"{name}: {v['drift']['slope_per_1000']:+.4f} levels in 1000 frames "
        f"({v['drift']['low']:+.4f} to {v['drift']['high']:+.4f}), "
        + ("grows" if v["drift"]["grows"] else "no growth is shown")
        for name, v in found["variants"].items()
    ]
    plot = _plot(
        "Drift: a clip played forwards and backwards, state carried",
        series,
        colours,
        "frame",
        "RMS levels",
    )
    return plot + f'<p class="soft">{escape("; ".join(lines))}</p>'


def _events(facts: Facts, colours: dict[str, int]) -> str:
    found = facts["over_time"]
    if not found:
        return ""
    parts = []
    for key, title in (("cold_start", "After a cold start"), ("cut", "After a scene cut")):
        events = {name: v[key] for name, v in found["variants"].items() if v[key]}
        if not events:
            continue
        series = {name: list(enumerate(e["errors"])) for name, e in events.items()}
        parts.append(
            _plot(f"{title}: error as on settled frames", series, colours, "frame", "RMS levels")
        )
        lines = [
            f"{name}: peak {e['peak']:.2f} levels over {e['settled']:.2f}, settled after "
            f"{e['settle_frames']} frames"
            for name, e in events.items()
        ]
        parts.append(f'<p class="soft">{escape("; ".join(lines))}</p>')
    if parts:
        parts.append(f'<p class="soft">Before the cut: {escape(found["other_scene"])}.</p>')
    return "".join(parts)


def _histogram_shift(facts: Facts) -> Facts:
    total: dict[str, list[float]] = {}
    for clip in facts["clips"]:
        for name, counts in clip["histograms"].items():
            before = total.setdefault(name, [0.0] * HISTOGRAM_BINS)
            total[name] = [a + b for a, b in zip(before, counts, strict=True)]
    shares = {n: [100 * v / max(sum(c), 1) for v in c] for n, c in total.items()}
    reference = shares.pop(facts["reference"])
    width = 255 / HISTOGRAM_BINS
    return {
        name: [
            ((i + 0.5) * width, own - exact)
            for i, (own, exact) in enumerate(zip(values, reference, strict=True))
        ]
        for name, values in shares.items()
    }


def _ranges(facts: Facts) -> str:
    parts = []
    for name, found in ((facts["layers"] or {}).get("variants") or {}).items():
        ranges = sorted(found["ranges"], key=lambda r: -r["clipped"])[:MOST_RANGES]
        if not ranges:
            continue
        keys = ("tensor", "low", "high", "seen_low", "seen_high", "clipped")
        rows = [tuple(each[key] for key in keys) for each in ranges]
        parts.append(
            f"<figure><h3>Activations against their scales, {escape(name)}</h3>"
            f'<div class="wide" tabindex="0">{range_plot(rows)}</div>'
            "<figcaption>Wide: what scale and zero point hold. Narrow: what the reference's values "
            "are, red where some are cut off.</figcaption></figure>"
        )
    return "".join(parts)
