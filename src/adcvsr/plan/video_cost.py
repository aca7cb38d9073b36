"""What decoding, encoding and copies cost beside the network.

The runtime decodes and encodes with FFmpeg's software codecs unless it is asked otherwise: PyAV's
wheels reach neither a Jetson's engines nor, unasked, NVENC. GStreamer reaches a Jetson's, where it
has them; what it has not is done on the processor. At four times the width and height the encoder
is often what limits a stream.

    video_cost(target("orin-nano"), 640, 360).ms  # a frame, all cores together
"""

from __future__ import annotations

from dataclasses import dataclass

from ..config import SCALE
from ..pictures.limits import encoded_side_line
from ..targets.facts import Target

SERVER_ENCODE_MS, SERVER_DECODE_MS = 16.0, 22.0
"""CPU-ms for a megapixel on the server the project measures on: libx264 `superfast`, three fifths
of the 26.6 ms that `veryfast` took for 1280x720, and H.264 of 320x180 (README, "Speed")."""

JETSON_ENCODE_MS = 24.0
"""CPU-ms for a megapixel on a core of a Jetson: NVIDIA is quoted with one to two cores of an Orin
Nano for 1080p30, which was not verified; one and a half are taken."""

JETSON_DECODE_MS = SERVER_DECODE_MS * JETSON_ENCODE_MS / SERVER_ENCODE_MS
"""Assumed slower than the server's by as much as encoding is."""

USABLE = 0.8
"""Share of a device's cores that codecs can take: the rest goes to the runtime and the system, and
x264 does not keep every core busy. An assumption."""

HELD_RGB, HELD_YUV = 4, 8
"""Pictures between network and encoder, and inside the encoder."""

COPY_GB_S = {"geforce": 12.0, "datacenter": 20.0}
"""Of frames to a card and back, PCIe 3 x16 and 4 x16; assumptions."""

COPY_SHARE = 0.25
"""Of a Jetson's bandwidth: a copy reads and writes, at half of the peak; an assumption."""

NVENC_SIDE = {"h264_nvenc": 4096, "hevc_nvenc": 8192}
"""Longest side NVIDIA's encoders take, pixels."""


@dataclass(frozen=True)
class VideoCost:
    """Decoding and encoding of a frame."""

    decode_cpu_ms: float
    encode_cpu_ms: float
    """0 where nothing is encoded."""

    cores: int | None
    """Of the device; None where it is a GPU in a machine nobody knows."""

    memory_bytes: int
    """Pictures on their way, where the GPU's memory is the system's; else 0."""

    decode_engine_ms: float = 0.0
    """In a hardware decoder, which works beside all else; then none of the processor's."""

    encode_engine_ms: float = 0.0
    """Likewise in an encoder."""

    @property
    def ms(self) -> float | None:
        """Of a frame, with all cores that can be used; None where they are not known."""
        if self.cores is None:
            return None
        cpu = (self.decode_cpu_ms + self.encode_cpu_ms) / (self.cores * USABLE)
        return max(cpu, self.decode_engine_ms, self.encode_engine_ms)

    @property
    def limit(self) -> str:
        """The longer of both."""
        cores = (self.cores or 1) * USABLE
        decode = max(self.decode_engine_ms, self.decode_cpu_ms / cores)
        return (
            "encode"
            if max(self.encode_engine_ms, self.encode_cpu_ms / cores) > decode
            else "decode"
        )


def video_cost(
    target: Target,
    width: int,
    height: int,
    *,
    encode: bool = True,
    output: tuple[int, int] | None = None,
    scale: int = SCALE,
    board: bool = False,
) -> VideoCost:
    """Estimate what a frame costs beside the network.

    Args:
        target: Where.
        width: Of the input, pixels.
        height: Likewise.
        encode: Whether the result is encoded, and not shown or used by something else.
        output: Width and height that are encoded; None for what the network makes.
        scale: Of the network.
        board: Codecs of the board do what it has them for.
    """
    jetson = target.kind == "jetson"
    read = width * height / 1e6
    made = read * scale * scale
    written = made if output is None else output[0] * output[1] / 1e6
    held = made * HELD_RGB * 3 + (written * HELD_YUV * 1.5 if encode else 0)
    decoder = target.decodes_mpx_s if board else None
    encoder = target.encodes_mpx_s if board else None
    decode = read * (JETSON_DECODE_MS if jetson else SERVER_DECODE_MS) / target.cpu_share
    made_ms = written * (JETSON_ENCODE_MS if jetson else SERVER_ENCODE_MS) / target.cpu_share
    return VideoCost(
        decode_cpu_ms=0.0 if decoder else decode,
        encode_cpu_ms=0.0 if encoder else made_ms * encode,
        decode_engine_ms=1000 * read / decoder.value if decoder else 0.0,
        encode_engine_ms=1000 * written / encoder.value * encode if encoder else 0.0,
        cores=None if target.cpu_cores is None else target.cpu_cores.value,
        memory_bytes=int(1e6 * held) if jetson else 0,
    )


def copy_ms(target: Target, width: int, height: int, scale: int = SCALE) -> float:
    """Milliseconds of a frame's copies to the GPU and back, RGB; live nothing runs beside them.

    Args:
        target: Where; on a CPU there are none.
        width: Of the input, pixels.
        height: Likewise.
        scale: Of the network.
    """
    if target.kind == "cpu" or target.bandwidth_gb_s is None:
        return 0.0
    share = COPY_SHARE * target.bandwidth_gb_s.value
    return 3 * width * height * (1 + scale * scale) / (COPY_GB_S.get(target.kind, share) * 1e6)


def video_notes(
    target: Target, output: tuple[int, int], *, encode: bool = True, board: bool = False
) -> list[str]:
    """What a plan cannot know, or what the device has and the runtime does not use."""
    line = encoded_side_line(*output) if encode else ""
    notes = [f"{output[0]}x{output[1]}: {line}"] if line else []
    if board:
        return notes + _board_notes(target, encode=encode)
    if target.cpu_cores is None:
        notes.append(
            f"the processor beside {target.name} is not known: decoding and encoding are not judged"
        )
    else:
        how = (
            "measured on" if target.kind == "cpu" else "assumed, from NVIDIA's word on encoding and"
        )
        notes.append(f"speeds of codecs: {how} the server of this project (docs/engines.md)")
    if not encode or target.encodes is None:
        return notes
    if not target.encodes.value:
        notes.append(f"{target.name} has no hardware encoder: {target.encodes.note}")
    elif target.kind == "jetson":
        notes.append(
            f"{target.name}'s hardware encoder is reached through GStreamer alone: the plan is for "
            "libx264 on the CPU (--codecs board plans with it)"
        )
    else:
        fits = [name for name, most in NVENC_SIDE.items() if max(output) <= most]
        can = f"--encoder {fits[0]} takes it" if fits else "no NVENC takes it"
        notes.append(f"pictures of {output[0]}x{output[1]}: {can}")
    return notes


def _board_notes(target: Target, *, encode: bool) -> list[str]:
    """What of the board's codecs is counted, and what is done without them."""
    notes = []
    for what, fact, asked in (
        ("decoder", target.decodes_mpx_s, True),
        ("encoder", target.encodes_mpx_s, encode),
    ):
        if not asked:
            continue
        if fact is not None:
            notes.append(
                f"{what} of the board, through GStreamer: {fact.value:.0f} megapixels a second "
                f"({fact.kind}: {fact.note})"
            )
        elif target.kind == "jetson" and what == "encoder" and target.encodes is not None:
            why = "has none" if not target.encodes.value else "has one of unknown speed"
            notes.append(f"{target.name} {why}: encoded by libx264 on the CPU")
        else:
            notes.append(f"no speed is known of {target.name}'s {what}: counted on the CPU")
    return notes
