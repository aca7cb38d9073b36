"""Plots as SVG text, drawn here: no library, no script, sharp on paper and on a phone.

Colours are the page's: `s0` is the reference, `s1` and on the other variants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 32, 42
TITLE = 28
"""Height of a title above a plot that stands alone."""

STYLE = (
    "text{font:12px sans-serif;fill:#444}.grid{stroke:#ddd}"
    "polyline{fill:none;stroke-width:1.6}.s1{stroke:#2060c0}"
    ".dot{fill:#8090a8}.ring{fill:none;stroke:#c03020;stroke-width:2.5}"
)
"""Of a plot outside the page, whose own style sheet has the same classes."""

DOTS_HEIGHT = 360
"""Of a plot of named dots, which has to be read on a phone."""

LINE = 22
"""Between two names, as large as they are on a phone."""

MOST_POINTS = 400
"""More points than pixels show nothing; the mean of each run of them is drawn."""


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic scale with readable ticks."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Place of a value, 0 to 1."""
        low, high, value = (self._scale(v) for v in (self.low, self.high, value))
        return min(max((value - low) / (high - low), 0.0), 1.0) if high > low else 0.5

    def ticks(self) -> list[float]:
        """About five round values."""
        if self.log:
            ends = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            step = max((ends[1] - ends[0]) // 4, 1)
            return [10.0**power for power in range(ends[0], ends[1] + 1, step)]
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        step = 10 ** math.floor(math.log10(span / 4))
        step *= next((m for m in (1, 2, 5) if span / (step * m) <= 5), 10)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _scale(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.log else value


def line_plot(
    series: Mapping[str, Sequence[tuple[float, float]]],
    colours: Mapping[str, int],
    *,
    x: str,
    y: str,
    log: bool = False,
    zero: bool = True,
) -> str:
    """Draw lines.

    Args:
        series: By name, points in order of x; at least one has two points.
        colours: By name, which of the page's colours.
        x: Label with unit.
        y: Likewise.
        log: Logarithmic y.
        zero: Let y start at 0.
    """
    shown = {name: _thin(points) for name, points in series.items() if len(points) > 1}
    xs = [px for points in shown.values() for px, _ in points]
    ys = [py for points in shown.values() for _, py in points]
    if log:
        ys = [value for value in ys if value > 0] or [1e-6, 1.0]
        y_axis = Axis(min(ys), max(*ys, min(ys) * 10), log=True)
    else:
        low = 0.0 if zero else min(ys)
        y_axis = Axis(low, max(ys) * 1.05 if max(ys) > low else low + 1)
    x_axis = Axis(min(xs), max(xs))
    lines = []
    for name, points in shown.items():
        path = " ".join(f"{_x(x_axis, px):.1f},{_y(y_axis, py):.1f}" for px, py in points)
        lines.append(
            f'<polyline class="s{colours[name]}" points="{path}"><title>{escape(name)}</title>'
            "</polyline>"
        )
    return _frame("".join(lines), x_axis, y_axis, x, y)


@dataclass(frozen=True)
class Dot:
    """A point with a name."""

    x: float
    y: float
    name: str
    colour: int
    """Which of the page's."""


def dot_plot(dots: Sequence[Dot], *, x: str, y: str) -> str:
    """Draw named dots; the names stand beside them, those of dots side by side below each other.

    Args:
        dots: One or more.
        x: Label with unit.
        y: Likewise.
    """
    xs, ys = [dot.x for dot in dots], [dot.y for dot in dots]
    spread = max(max(ys) - min(ys), 0.02 * max(map(abs, ys)), 1e-6)
    x_axis = Axis(0.0, max(xs) * 1.1)
    y_axis = Axis(min(ys) - 0.3 * spread, max(ys) + 0.3 * spread)
    drawn, taken = [], list[tuple[float, float]]()
    for dot in sorted(dots, key=lambda dot: -dot.y):
        px, py = _x(x_axis, dot.x), _y(y_axis, dot.y, DOTS_HEIGHT)
        right = px < LEFT + 0.55 * (WIDTH - LEFT - RIGHT)
        at = py + 5
        while any(abs(at - ty) < LINE and abs(px - tx) < WIDTH / 2 for tx, ty in taken):
            at += LINE
        taken.append((px, at))
        drawn.append(
            f'<circle class="k{dot.colour}" cx="{px:.1f}" cy="{py:.1f}" r="7">'
            f"<title>{escape(dot.name)}: {dot.x:.1f}, {dot.y:.2f}</title></circle>"
            f'<text class="name" x="{px + (12 if right else -12):.1f}" y="{at:.1f}" '
            f'text-anchor="{"start" if right else "end"}">{escape(dot.name)}</text>'
        )
    return _frame("".join(drawn), x_axis, y_axis, x, y, DOTS_HEIGHT)


def scatter_plot(
    points: Sequence[tuple[float, float, str]],
    front: Sequence[tuple[float, float]],
    marked: tuple[float, float],
    *,
    x: str,
    y: str,
) -> str:
    """Draw dots, a line through the best of them, and a ring around the chosen one.

    Args:
        points: Right, up, and what is said of it.
        front: Points of the line, in order.
        marked: The chosen one's place.
        x: Label with unit.
        y: Likewise.
    """
    places = [*((right, up) for right, up, _ in points), marked]
    ups = [up for _, up in places]
    x_axis = Axis(0.0, max(1.0, *(right for right, _ in places)))
    y_axis = Axis(min(ups), max(*ups, min(ups) + 1))
    line = " ".join(f"{_x(x_axis, px):.1f},{_y(y_axis, py):.1f}" for px, py in front)
    dots = [
        f'<circle class="dot" cx="{_x(x_axis, px):.1f}" cy="{_y(y_axis, py):.1f}" r="3.5">'
        f"<title>{escape(said)}</title></circle>"
        for px, py, said in points
    ]
    ring = f'cx="{_x(x_axis, marked[0]):.1f}" cy="{_y(y_axis, marked[1]):.1f}" r="7"'
    parts = [*dots, f'<polyline class="s1" points="{line}"/>', f'<circle class="ring" {ring}/>']
    return _frame("".join(parts), x_axis, y_axis, x, y)


def standalone(plot: str, title: str) -> str:
    """A plot as a file of its own, with a title above it and the page's styles within.

    Args:
        plot: From a function above.
        title: One line.
    """
    head, _, inside = plot.partition(">")
    box = f"0 {-TITLE} {WIDTH} {HEIGHT + TITLE}"
    head = head.replace(f'viewBox="0 0 {WIDTH} {HEIGHT}"', f'viewBox="{box}"')
    head = head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return (
        f"{head}><style>{STYLE}</style>"
        f'<rect x="0" y="{-TITLE}" width="{WIDTH}" height="{HEIGHT + TITLE}" fill="white"/>'
        f'<text x="{WIDTH / 2}" y="{8 - TITLE / 2}" text-anchor="middle">{escape(title)}</text>'
        f"{inside}\n"
    )


def range_plot(rows: Sequence[tuple[str, float, float, float, float, float]]) -> str:
    """Draw what activations take of what their scales hold.

    Args:
        rows: Name, lowest and highest the scale holds, lowest and highest seen, share clipped.
    """
    step, label, bar = 22, 250, 330
    height = len(rows) * step + 26
    parts = []
    for index, (name, low, high, seen_low, seen_high, clipped) in enumerate(rows):
        top = index * step + 4
        first, last = min(low, seen_low), max(high, seen_high)
        span = (last - first) or 1.0

        def place(value: float, first: float = first, span: float = span) -> float:
            return label + bar * (value - first) / span

        short = name if len(name) <= 34 else f"…{name[-33:]}"
        note = f"{_used(low, high, seen_low, seen_high):.0%} used"
        if clipped:
            note = f"{100 * clipped:.2g} % cut off"
        parts.append(
            f'<text x="{label - 6}" y="{top + 12}" text-anchor="end">{escape(short)}'
            f"<title>{escape(name)}</title></text>"
            f'<rect class="holds" x="{place(low):.1f}" y="{top}" '
            f'width="{max(place(high) - place(low), 1):.1f}" height="14"/>'
            f'<rect class="{"over" if clipped > 1e-4 else "seen"}" x="{place(seen_low):.1f}" '
            f'y="{top + 4}" width="{max(place(seen_high) - place(seen_low), 1):.1f}" height="6"/>'
            f'<text x="{label + bar + 6}" y="{top + 12}">{note}</text>'
        )
    return (
        f'<svg viewBox="0 0 700 {height}" role="img" aria-label="activation ranges">'
        f"{''.join(parts)}</svg>"
    )


def _used(low: float, high: float, seen_low: float, seen_high: float) -> float:
    return (min(high, seen_high) - max(low, seen_low)) / (high - low) if high > low else 1.0


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    run = math.ceil(len(points) / MOST_POINTS)
    groups = [points[i : i + run] for i in range(0, len(points), run)]
    return [
        (sum(px for px, _ in group) / len(group), sum(py for _, py in group) / len(group))
        for group in groups
    ]


def _frame(inside: str, x_axis: Axis, y_axis: Axis, x: str, y: str, height: int = HEIGHT) -> str:
    parts = []
    for tick in y_axis.ticks():
        top = _y(y_axis, tick, height)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top:.1f}" y2="{top:.1f}"/>'
            f'<text x="{LEFT - 5}" y="{top + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
        )
    for tick in x_axis.ticks():
        left, below = _x(x_axis, tick), height - BOTTOM + 15
        parts.append(f'<text x="{left:.1f}" y="{below}" text-anchor="middle">{tick:.4g}</text>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(y)} over {escape(x)}">'
        f"{''.join(parts)}{inside}"
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{height - 3}" text-anchor="middle">'
        f"{escape(x)}</text>"
        f'<text x="4" y="16">{escape(y)}</text></svg>'
    )


def _x(axis: Axis, value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * axis.at(value)


def _y(axis: Axis, value: float, height: int = HEIGHT) -> float:
    return height - BOTTOM - (height - TOP - BOTTOM) * axis.at(value)
