"""What a video file holds, read back with PyAV, for tests that compare input and output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from adcvsr.pictures.pyav import open_input

VideoMaker = Callable[..., Path]


@dataclass
class VideoFacts:
    size: tuple[int, int] = (0, 0)
    times: list[Fraction] = field(default_factory=list)
    rotation: int = 0
    aspect: Fraction = Fraction(1)
    pixels: str = ""
    colour: tuple[int, int, int, int] = (2, 0, 2, 2)
    streams: list[tuple[str, str]] = field(default_factory=list)
    packets: dict[str, int] = field(default_factory=dict)
    audio: list[bytes] = field(default_factory=list)
    text: list[bytes] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


def video_facts(path: Path) -> VideoFacts:
    facts = VideoFacts()
    with open_input(str(path)) as container:
        video = container.streams.video[0]
        facts.aspect = Fraction(video.sample_aspect_ratio or 1)
        facts.metadata = dict(container.metadata)
        facts.streams = [
            (s.type, s.codec_context.name) for s in container.streams if s.codec_context
        ]
        for index, frame in enumerate(container.decode(video)):
            if not index:
                facts.pixels = frame.format.name.replace("yuvj", "yuv")
                facts.size, facts.rotation = (frame.width, frame.height), frame.rotation
                facts.colour = (
                    int(frame.colorspace),
                    int(frame.color_range),
                    int(frame.color_primaries),
                    int(frame.color_trc),
                )
            if frame.pts is not None:  # raw streams have none
                facts.times.append(frame.pts * Fraction(frame.time_base))
    with open_input(str(path)) as container:
        for packet in container.demux():
            if not packet.size:
                continue
            kind = packet.stream.type
            facts.packets[kind] = facts.packets.get(kind, 0) + 1
            if kind == "audio":
                facts.audio.append(bytes(packet))
            elif kind == "subtitle":
                facts.text.append(bytes(packet))
    return facts
