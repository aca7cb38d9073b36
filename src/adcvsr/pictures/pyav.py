"""What differs between the versions of PyAV that adcvsr runs with: 17.1 to 19, in this one place.

Everywhere else PyAV is used as all three offer it. Where one returns `Fraction` and another its own
`AVRational` with a zero where there used to be None, `Fraction(value or default)` reads both.
"""

from __future__ import annotations

from typing import Any

import av
import av.container
import av.filter
from av.sidedata import sidedata

from ..host.processors import thread_limit

_OPEN: dict[str, Any] = (
    # From PyAV 19 on bytes that are not UTF-8 never raise, and the options are gone.
    {} if int(av.__version__.split(".", maxsplit=1)[0]) >= 19 else {"metadata_errors": "replace"}
)


def open_input(file: Any, **options: Any) -> av.container.InputContainer:
    """Open media for reading, also with metadata that is not UTF-8, as some phones write.

    Args:
        file: Address as FFmpeg takes it (`clips.media_url` makes one of a path), or a file object.
        options: Other options of `av.open`.

    Raises:
        av.FFmpegError: FFmpeg cannot open it.
        OSError: The file cannot be opened.
    """
    container: av.container.InputContainer = av.open(file, "r", **_OPEN, **options)
    return container


def filter_graph() -> av.filter.Graph:
    """Make a filter graph that keeps to a CPU quota."""
    graph = av.filter.Graph()
    graph.threads = thread_limit()
    return graph


def side_data_names(frame: av.VideoFrame) -> frozenset[str]:
    """FFmpeg's names of the data that accompanies a frame (`EXIF`, `DOVI_METADATA`).

    A kind that this PyAV has no name for is `UNKNOWN_` and its number.
    """
    entries: Any = frame.side_data
    # Iterating gives the data before PyAV 19 and their types since.
    return frozenset(getattr(entry, "type", entry).name for entry in entries)


def side_data(frame: av.VideoFrame) -> dict[str, bytes]:
    """What accompanies a frame, by FFmpeg's names (see `side_data_names`)."""
    entries: Any = frame.side_data
    found = {}
    for entry in entries:
        data = entry if hasattr(entry, "type") else entries[entry]
        found[data.type.name] = bytes(data)
    return found


def _unknown(kind: type[sidedata.Type], number: object) -> sidedata.Type | None:
    """Make a member for a number without a name."""
    if not isinstance(number, int):
        return None
    member: Any = object.__new__(kind)
    member._name_, member._value_ = f"UNKNOWN_{number}", number
    return kind._value2member_map_.setdefault(number, member)  # type: ignore[return-value]


if "_missing_" not in vars(sidedata.Type):
    # FFmpeg adds kinds of side data, and PyAV before 19 has names for those of an older FFmpeg. One
    # frame with another kind (Exif, views of spatial video) raises ValueError from
    # `Frame.side_data` as a whole. This is what PyAV 19 does about it itself.
    sidedata.Type._missing_ = classmethod(_unknown)  # type: ignore[method-assign,assignment]
