"""The plan of a job: everything a worker must know, so that whoever works makes the same bits.

One file, `plan.json`, written once when the job is made and never changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, pairwise

from ...adopted_network import MOST_SCALE
from ...config import SCALE
from ...errors import JobError
from ...files import json_bytes
from ...pictures.colour import Colours
from ...pictures.output_size import OutputSize
from ...reading import Item, Limits, parse_json
from ..video.encoders import EncodeOptions
from ..video.info import VideoInfo
from ..video.planes import COLOUR, Planes
from .settings import JobSettings, read_settings

SCHEMA = 1
PLAN_LIMITS = Limits(size_bytes=256 << 20, values=20_000_000)
"""Times of a variable rate take a line each: 10 hours of them a few million values."""

AGAIN = "plan the job again in a new folder"


@dataclass(frozen=True)
class SourceFile:
    """The input, so that a change is noticed."""

    bytes: int
    modified_ns: int
    """When it was written, by the file system's clock: the hash is taken again where it differs."""
    sha256: str


@dataclass(frozen=True)
class Network:
    """What upscales, pinned."""

    name: str
    variant: str
    backend: str
    sha256: dict[str, str]
    """Of each of the variant's files."""
    past_frames: int
    """Frames that a picture depends on before its own."""
    deep: bool
    """Whether frames and pictures have more than 8 bits, see `runtime.deep`."""
    why_not_deep: str
    """Why not, where more would come in or are asked for."""
    yuv: bool
    """Whether frames and pictures are YUV 4:2:0, see `runtime.yuv`; RGB else."""
    why_not_yuv: str
    """Why not; empty where they are."""
    scale: int = SCALE
    """Times the input's size that it makes."""
    ahead_frames: int = 0
    """Frames after its own that a picture depends on."""


@dataclass(frozen=True)
class Segment:
    """A stretch of frames that is made by itself."""

    index: int
    frames: int
    pts: int
    """Of its first frame, in ticks of the video's time base."""
    steps: tuple[tuple[int, int], ...]
    """Ticks from frame to frame, each with how many times in a row."""
    warm_up: int
    """Frames before it that the network sees first."""
    begin_pts: int
    """Of the first of those; `pts` where there are none."""
    seek: int | None
    """Time of the key frame where decoding begins, as the file has it; None for its beginning."""
    end_pts: int | None = None
    """Of the last frame that the network sees, where its pictures need frames after the segment."""

    def times(self) -> list[int]:
        """Presentation time of every frame."""
        found = [self.pts]
        for step, count in self.steps:
            for _ in range(count):
                found.append(found[-1] + step)
        return found


@dataclass(frozen=True)
class JobPlan:
    """See the module."""

    settings: JobSettings
    source: SourceFile
    network: Network
    encoder: str
    preset: str | None
    """Of the encoder: the one that `auto` came to be where the job was planned."""
    encoder_threads: int
    """The encoder's bits depend on them, so they are the same wherever it runs."""
    versions: dict[str, str]
    """Of everything that makes bits."""
    video: VideoInfo
    scan: str
    """`packets`: frames were found without decoding; `frames`: by decoding the whole input, which
    workers then read from its beginning."""
    damaged_packets: int
    damaged_frames: int
    notes: tuple[str, ...]
    segments: tuple[Segment, ...]

    @property
    def frames(self) -> int:
        """Of all segments."""
        return sum(each.frames for each in self.segments)

    @property
    def is_steady(self) -> bool:
        """Whether the input's clock was seen not to jump, all of it (`scan`)."""
        return self.scan == "packets"

    @property
    def sha256(self) -> str:
        """Of the plan as it is stored."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def encode_options(self) -> EncodeOptions:
        """How each segment is encoded."""
        asked = self.settings.encode_options(self.encoder_threads, overwrite=True)
        size = dataclasses.replace(asked.size or OutputSize(), made=self.network.scale)
        return dataclasses.replace(asked, encoder=self.encoder, preset=self.preset, size=size)

    def times(self) -> list[int]:
        """Presentation time of every frame of the output, in ticks of `video.time_base`."""
        return [time for each in self.segments for time in each.times()]

    def to_bytes(self) -> bytes:
        """The file."""
        values = dataclasses.asdict(self)
        video = values["video"]
        for name in ("rate", "time_base", "sample_aspect"):
            video[name] = str(video[name])
        return json_bytes({"schema": SCHEMA, **values})


def compact_steps(times: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Steps between times, each with how many times in a row."""
    steps = (after - before for before, after in pairwise(times))
    return tuple((step, len(list(same))) for step, same in groupby(steps))


def read_plan(data: bytes, name: str) -> JobPlan:
    """Read a plan.

    Args:
        data: The file.
        name: For messages.

    Raises:
        JobError: It is damaged, or of a newer version.
    """
    found = parse_json(data, source=name, error=JobError, advice=AGAIN, limits=PLAN_LIMITS)
    if (schema := found["schema"].integer(1)) > SCHEMA:
        raise JobError(f"{name} has schema {schema}, this adcvsr reads up to {SCHEMA}; upgrade it")
    return JobPlan(
        settings=read_settings(found["settings"]),
        source=SourceFile(
            found["source"]["bytes"].integer(0),
            found["source"]["modified_ns"].integer(),
            found["source"]["sha256"].text(),
        ),
        network=_network(found["network"]),
        encoder=found["encoder"].text(),
        preset=None if (preset := found.get("preset")) is None else preset.text(),
        encoder_threads=found["encoder_threads"].integer(1, 256),
        versions=texts(found["versions"]),
        video=_video(found["video"]),
        scan=found["scan"].text(one_of=("packets", "frames")),
        damaged_packets=found["damaged_packets"].integer(0),
        damaged_frames=found["damaged_frames"].integer(0),
        notes=tuple(each.any_text() for each in found["notes"].items()),
        segments=tuple(map(_segment, found["segments"].items(least=1))),
    )


def texts(found: Item) -> dict[str, str]:
    """An object whose values are texts."""
    return {key: value.text() for key, value in found.fields()}


def changed(plan: Iterable[tuple[str, str]], here: dict[str, str]) -> list[str]:
    """What differs between a plan's pairs of name and text and those found here."""
    return [
        f"{name} is {here.get(name, 'missing')} here, {value} in the plan"
        for name, value in plan
        if here.get(name) != value
    ]


def _network(found: Item) -> Network:
    return Network(
        found["name"].text(),
        found["variant"].text(),
        found["backend"].text(),
        texts(found["sha256"]),
        found["past_frames"].integer(0),
        found["deep"].flag(),
        found["why_not_deep"].text(),
        found["yuv"].flag(),
        found["why_not_yuv"].text(),
        scale.integer(1, MOST_SCALE) if (scale := found.get("scale")) is not None else SCALE,
        ahead.integer(0) if (ahead := found.get("ahead_frames")) is not None else 0,
    )


def _video(found: Item) -> VideoInfo:
    colours, planes = found["colours"], found["planes"]
    return VideoInfo(
        width=found["width"].integer(1),
        height=found["height"].integer(1),
        rate=_fraction(found["rate"]),
        time_base=_fraction(found["time_base"]),
        colours=Colours(
            colours["matrix"].integer(),
            colours["full_range"].flag(),
            colours["primaries"].integer(),
            colours["transfer"].integer(),
        ),
        rotation=found["rotation"].integer(),
        sample_aspect=_fraction(found["sample_aspect"]),
        frames=found["frames"].integer(0),
        codec=found["codec"].text(),
        pixel_format=found["pixel_format"].text(),
        planes=Planes(
            planes["bits"].integer(1, 64),
            planes["colour"].text(one_of=tuple(COLOUR)),
            planes["alpha"].flag(),
            planes["gray"].flag(),
        ),
    )


def _fraction(item: Item) -> Fraction:
    try:
        value = Fraction(item.text())
    except (ValueError, ZeroDivisionError):
        item.expected("a fraction above 0")
    if value <= 0:
        item.expected("a fraction above 0")
    return value


def _segment(found: Item) -> Segment:
    steps = tuple(
        (pair[0].integer(1), pair[1].integer(1))
        for pair in (each.items(least=2, most=2) for each in found["steps"].items())
    )
    frames = found["frames"].integer(1)
    if sum(count for _, count in steps) != frames - 1:
        found["steps"].expected(f"{frames - 1} steps, for {frames} frames")
    seek, end = found.get("seek"), found.get("end_pts")
    return Segment(
        found["index"].integer(0),
        frames,
        found["pts"].integer(),
        steps,
        found["warm_up"].integer(0),
        found["begin_pts"].integer(),
        None if seek is None else seek.integer(),
        None if end is None else end.integer(),
    )
