"""What a file says of itself: title and dates, and the time code of its first frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction

import av

KEPT_METADATA = frozenset(
    {"title", "artist", "comment", "description", "creation_time", "date", "album", "album_artist"}
    | {"composer", "copyright", "episode_id", "genre", "keywords", "location", "lyrics", "make"}
    | {"model", "network", "show", "synopsis", "track"}
)
"""Container metadata that stays true of the upscaled video, in the lower case mp4 wants."""

CAMERA_TAGS = {
    name.lower(): name
    for name in (
        "com.apple.quicktime.creationdate",
        "com.apple.quicktime.location.ISO6709",
        "com.apple.quicktime.make",
        "com.apple.quicktime.model",
    )
}
"""Likewise, of phones: as mov writes them, by what they are in lower case."""

TIMECODE_CONTAINERS = frozenset({"mov", "mp4", "ipod"})
"""Containers into which FFmpeg writes a time code track."""

TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)")


def kept_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """What is carried over; Matroska gives its keys in capitals."""
    lower = {key.lower(): value for key, value in metadata.items()}
    return {
        CAMERA_TAGS.get(key, key): value
        for key, value in lower.items()
        if key in KEPT_METADATA or key in CAMERA_TAGS
    }


def is_timecode(stream: av.stream.Stream) -> bool:
    """Whether a data stream is QuickTime's time code track, which is carried as a label."""
    return stream.type == "data" and "timecode" in stream.metadata


def timecode_of(container: av.container.InputContainer, stream: av.VideoStream) -> str | None:
    """Time code of the first frame, as the video, its track or the file says."""
    tracks = [s.metadata for s in container.streams if s.type == "data"]
    for metadata in (stream.metadata, *tracks, container.metadata):
        for key, value in metadata.items():
            if key.lower() == "timecode":
                return value
    return None


def carried_timecode(
    timecode: str, start: Fraction, rate: Fraction, name: str, note: Callable[[str], None]
) -> str | None:
    """The output's time code, or None where it has none; says why.

    Args:
        timecode: Of the source's first frame.
        start: Seconds of the source that are left out before the first frame.
        rate: Frames a second.
        name: FFmpeg's name of the output's container.
        note: Called with a line where the time code is left out.
    """
    fields = TIMECODE.fullmatch(timecode)
    if name not in TIMECODE_CONTAINERS:
        note(f"the time code {timecode} is left out: mov and mp4 hold one")
        return None
    if fields is None or (start and fields[4] != ":"):
        note(f"the time code {timecode} is left out: it cannot be counted on")
        return None
    if not start:
        return timecode
    base = round(rate)
    hours, minutes, seconds, frames = (int(fields[n]) for n in (1, 2, 3, 5))
    count = ((hours * 60 + minutes) * 60 + seconds) * base + frames + round(start * rate)
    seconds, frames = divmod(count, base)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours % 24:02}:{minutes:02}:{seconds:02}:{frames:02}"
