"""The top of the page: the picture that decides, and quality against speed."""

from __future__ import annotations

from html import escape
from typing import Any

from .pictures import draw_pictures
from .plots import Dot, dot_plot
from .run import Profile

Facts = dict[str, Any]


def deciding_part(profile: Profile) -> str:
    """The worst crop of all clips, of the variant in question, with a wipe over the reference.

    In question is the one that is to be shipped, or else the nearest to it.
    """
    facts = profile.facts
    reference, ship = facts["reference"], facts["verdict"]["ship"]
    names = [row["variant"] for row in facts["table"][1:]]
    if not names:
        return ""
    name = ship if ship in names else _nearest(facts, names)
    clip = max(profile.clips, key=lambda each: each.worst[name].rms)
    if clip.worst[name].rms == 0:
        return f'<p class="soft">{escape(name)} gives the very pictures of {escape(reference)}.</p>'
    drawn = draw_pictures(clip, reference, name)
    x, y = drawn.top_left
    return (
        "<h2>The picture that decides</h2>"
        f'<div class="wipe crop"><img src="{drawn.crops[reference]}" alt="{escape(reference)}">'
        f'<img class="over" src="{drawn.crops[name]}" alt="{escape(name)}"></div>'
        '<input type="range" min="0" max="100" value="50" aria-label="wipe">'
        f'<div class="ends soft"><span>{escape(reference)}</span><span>{escape(name)}</span></div>'
        '<p class="soft">The worst crop of the worst frame of all clips: '
        f"{escape(clip.clip.name)}, frame {drawn.frame}, at {x}, {y}; the frame is "
        f"{clip.worst[name].rms:.2f} levels off. "
        "Here it is enlarged, every pixel as it is; the others are below.</p>"
    )


def statements_part(facts: Facts) -> str:
    """What may be said of each variant, and what it stands on."""
    parts = []
    for each in facts.get("statements") or []:
        lines = "".join(f"<li>{escape(line)}</li>" for line in each["details"])
        mark = "" if each["shown"] else " no"
        parts.append(
            f'<div class="verdict statement{mark}"><p>{escape(each["line"])}</p>'
            f'<ul class="soft">{lines}</ul></div>'
        )
    return "".join(parts)


def speed_part(facts: Facts) -> str:
    """Every variant, and the networks beside them, as dots of quality over speed."""
    found = facts.get("overview")
    if not found or len(found["rows"]) < 2:
        return ""
    by_cpu = facts["verdict"]["basis"] == "cpu" and all(row["cpu_fps"] for row in found["rows"])
    speed, unit = ("cpu_fps", "frames a processor-second") if by_cpu else ("fps", "frames a second")
    dots = [
        Dot(row[speed], row["quality"], row["name"], index % 6)
        for index, row in enumerate(found["rows"])
        if row["quality"] is not None
    ]
    if not dots:
        return (
            "<h2>Quality against speed</h2>"
            '<p class="soft">Not drawn: quality is PSNR here, which is not among the measures '
            "(--metrics psnr).</p>"
        )
    left = [f"{r['name']} at {r[speed]:.1f} {unit}" for r in found["rows"] if r["quality"] is None]
    exact = (
        f'<p class="soft">Not drawn, as it is what the others are compared with: '
        f"{escape(', '.join(left))}.</p>"
        if left
        else ""
    )
    return (
        "<h2>Quality against speed</h2>"
        f"<figure>{dot_plot(dots, x=unit, y=found['quality'])}</figure>{exact}"
        f'<p class="soft">{unit.capitalize()} on these clips, one network after the other'
        f"{', as other work made wall times worthless' if by_cpu else ''}; "
        f"{escape(found['note'])}. Right and up is better.</p>"
    )


def _nearest(facts: Facts, names: list[str]) -> str:
    """The variant with the least that speaks against it."""
    judged = {each["variant"]: each for each in facts["verdict"]["judgements"]}
    return min(names, key=lambda name: (len(judged[name]["faults"]), names.index(name)))
