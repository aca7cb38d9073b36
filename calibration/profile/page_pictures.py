"""Part 3 of the page: worst frames with a wipe, differences, crops, temporal slices."""

from __future__ import annotations

from html import escape
from typing import Any

from .pictures import DIFFERENCE_GAIN, draw_pictures
from .quality import SLICE_STEP_PX
from .run import Profile


def pictures_part(profile: Profile, most_bytes: int) -> str:
    """Worst frames and crops, as far as they fit."""
    facts = profile.facts
    reference = facts["reference"]
    names = [row["variant"] for row in facts["table"][1:]]
    head = "<h2>3. Pictures</h2>"
    if not names:
        return head + "<p>One variant alone has nothing to be compared with.</p>"
    jobs = sorted(
        ((clip.worst[name].rms, name, clip) for clip in profile.clips for name in names),
        key=lambda job: -job[0],
    )
    equal = [job for job in jobs if job[0] == 0]
    parts, used, left_out = [], 0, 0
    for rms, name, clip in jobs:
        if rms == 0:
            continue
        drawn = draw_pictures(clip, reference, name)
        if used + drawn.bytes > most_bytes:
            left_out += 1
            continue
        used += drawn.bytes
        parts.append(_clip_pictures(clip.clip.name, reference, name, rms, drawn))
    if equal:
        parts.append(f"<p>{len(equal)} pairs of clip and variant are equal to {reference}.</p>")
    if left_out:
        parts.append(f'<p class="soft">{left_out} more would make the page too large.</p>')
    return head + "".join(parts)


def _clip_pictures(clip: str, reference: str, name: str, rms: float, drawn: Any) -> str:
    x, y = drawn.top_left
    crops = "".join(_figure(uri, label) for label, uri in drawn.crops.items())
    slices = "".join(_figure(uri, label) for label, uri in drawn.slices.items())
    row = drawn.slice_y * SLICE_STEP_PX + SLICE_STEP_PX // 2
    return (
        f"<h3>{escape(name)} on {escape(clip)}, frame {drawn.frame} "
        f"({rms:.2f} levels from {escape(reference)})</h3>"
        f'<div class="wipe"><img src="{drawn.frames[reference]}" alt="{escape(reference)}">'
        f'<img class="over" src="{drawn.frames[name]}" alt="{escape(name)}"></div>'
        f'<input type="range" min="0" max="100" value="50" aria-label="wipe">'
        f'<div class="ends soft"><span>{escape(reference)}</span><span>{escape(name)}</span></div>'
        f'<figure><img src="{drawn.difference}" alt="difference"><figcaption>Difference, '
        f"{DIFFERENCE_GAIN} times; grey is none</figcaption></figure>"
        f'<p class="soft">The worst crop, at {x}, {y}, pixel by pixel:</p>'
        f'<div class="row">{crops}</div>'
        f'<p class="soft">Row {row} over time, downwards: flicker shows as stripes.</p>'
        f'<div class="pair">{slices}</div>'
    )


def _figure(uri: str, label: str) -> str:
    return (
        f'<figure><img src="{uri}" alt="{escape(label)}"><figcaption>{escape(label)}</figcaption>'
        "</figure>"
    )
