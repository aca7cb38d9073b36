"""Video encoders: how an output is encoded, in each encoder's own terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av

from ...errors import ConfigError
from ...host.processors import thread_limit
from ...pictures.colour import CHROMA_LEFT
from ...pictures.hdr import HdrFacts
from ...pictures.output_size import OutputSize
from .hdr_tags import encoder_tags
from .sound import AudioMode

CRF_ENCODERS = frozenset({"libx264", "libx265", "libvpx-vp9", "libvpx", "libaom-av1", "libsvtav1"})
CRF_LIMITS = {"libx264": 51, "libx265": 51}
"""Worst constant rate factor; 63 for the others."""

CQ_ENCODERS = frozenset({"h264_nvenc", "hevc_nvenc", "av1_nvenc"})
"""NVIDIA's encoders, whose constant quality `cq` takes the place of crf."""

PRESET_ENCODERS = frozenset(
    {"libx264", "libx265", "libsvtav1", "h264_nvenc", "hevc_nvenc", "av1_nvenc"}
)

MOST_X265_FRAMES = 4
"""Frames that x265 codes at once where its threads are given; more cost memory and quality."""

DEFAULT_CRF = "20"
DEFAULT_PRESET = "veryfast"
"""Real time on two cores beside the network: medium costs 2.5 times as much (docs/decisions.md)."""


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """How the output is encoded."""

    encoder: str | None = None
    """FFmpeg encoder; None takes the container's default."""

    preset: str | None = None
    """The encoder's preset; None is `veryfast` where there is one, `auto` the slowest that keeps
    real time here, see `preset_fit`."""

    crf: int | None = None
    """Constant rate factor, lower is better; None is 20 where there is one."""

    audio: AudioMode = "auto"
    """`auto` copies sound and encodes anew what the container cannot hold, `copy` leaves that out,
    `none` leaves all of it out."""

    size: OutputSize | None = None
    """Of the output; None for that of the pictures, four times the input's."""

    bits: int | None = None
    """Of the output's levels, 8 or 10; None for the source's where the encoder has them."""

    chroma: str = "auto"
    """`auto` keeps the source's 4:2:2 or 4:4:4 where the encoder has it, `420` reduces it."""

    overwrite: bool = False
    """Whether an existing output may be replaced."""

    threads: int | None = None
    """Threads of the encoder, on which its bits depend, and closed groups of pictures; None takes
    as many as it likes."""


def find_encoder(name: str) -> Any:
    """Find a video encoder of FFmpeg.

    Raises:
        ConfigError: There is none of that name.
    """
    try:
        codec = av.Codec(name, "w")
    except ValueError as error:
        raise ConfigError(
            f"no encoder '{name}' in this FFmpeg; common ones: libx264, libx265, libvpx-vp9, "
            "libsvtav1, h264_nvenc"
        ) from error
    if codec.type != "video":
        raise ConfigError(f"'{name}' is an encoder for {codec.type}, expected one for video")
    return codec


def takes_nv12(name: str) -> bool:
    """Whether an encoder takes the planes of NV12, luma and chroma's pairs."""
    return any(each.name == "nv12" for each in find_encoder(name).video_formats or [])


def encoder_options(
    encoder: str, options: EncodeOptions, hdr: HdrFacts | None = None
) -> dict[str, str]:
    """Options in the encoder's own terms; asking for one it lacks is an error.

    Args:
        encoder: Its name.
        options: What is asked for.
        hdr: What the stream says of itself where it is HDR.
    """
    chosen: dict[str, str] = dict(CHROMA_LEFT)
    if encoder in CRF_ENCODERS:
        limit = CRF_LIMITS.get(encoder, 63)
        if options.crf is not None and not 0 <= options.crf <= limit:
            raise ConfigError(f"crf {options.crf}: '{encoder}' takes 0 to {limit}")
        chosen["crf"] = str(options.crf) if options.crf is not None else DEFAULT_CRF
    elif encoder in CQ_ENCODERS:
        chosen |= {"rc": "vbr", "cq": str(options.crf) if options.crf is not None else DEFAULT_CRF}
    elif options.crf is not None:
        raise ConfigError(f"encoder '{encoder}' has no crf; leave --crf out")
    if encoder in PRESET_ENCODERS:
        if options.preset is not None or encoder in ("libx264", "libx265"):
            chosen["preset"] = options.preset or DEFAULT_PRESET
    elif options.preset is not None:
        raise ConfigError(f"encoder '{encoder}' has no presets; leave --preset out")
    if encoder == "libx265":
        # Its threads are a pool of its own, which it takes from the processors it sees.
        pools = f":pools={limit}" if (limit := thread_limit()) else ""
        if options.threads:
            frames = min(options.threads, MOST_X265_FRAMES)
            pools = f":pools={options.threads}:frame-threads={frames}:open-gop=0"
        chosen["x265-params"] = f"log-level=error{pools}"
        chosen["forced-idr"] = "1"
    if encoder == "libvpx-vp9":
        chosen |= {"b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}
    for name, value in encoder_tags(encoder, hdr).items() if hdr is not None else ():
        chosen[name] = ":".join(filter(None, (chosen.get(name), value)))
    return chosen
