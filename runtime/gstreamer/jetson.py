"""Pipelines with a Jetson's own elements where the board has them, and what a board lacks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from ...errors import ConfigError
from ...host.machine import Host, this_host
from ...targets import TARGETS
from ...targets.recognise import recognise

PLUGINS = "/usr/lib/aarch64-linux-gnu/gstreamer-1.0"
"""Where Jetson Linux keeps GStreamer's plugins."""

ENCODER = re.compile(r"\bnvv4l2(h264|h265|av1)enc\b")


def has_plugin(host: Host, name: str) -> bool:
    """Whether a board has one of NVIDIA's plugins, as `adcvsr doctor` finds them."""
    return host.path(f"{PLUGINS}/libgst{name}.so").exists()


def rtsp_pipeline(url: str, transport: str, host: Host | None = None) -> str:
    """What receives and decodes a camera's stream, up to frames in main memory.

    A Jetson's decoder (`nvv4l2decoder`) ranks first there and is found by `decodebin`; `nvvidconv`
    takes its frames out of the board's own memory as NV12.

    Args:
        url: Of the camera.
        transport: `tcp` or `udp`.
        host: The machine; None for this one.
    """
    host = host or this_host()
    quoted = url.replace("\\", "\\\\").replace('"', '\\"')
    source = f'rtspsrc location="{quoted}" protocols={transport} latency=0 drop-on-latency=true'
    if has_plugin(host, "nvvidconv") and has_plugin(host, "nvvideo4linux2"):
        return f"{source} ! decodebin ! nvvidconv ! video/x-raw,format=NV12"
    return f"{source} ! decodebin"


CAMERA_FORMATS = {
    "mjpeg": "image/jpeg",
    "h264": "video/x-h264",
    "hevc": "video/x-h265",
    "nv12": "video/x-raw,format=NV12",
    "yuv420p": "video/x-raw,format=I420",
    "yuyv422": "video/x-raw,format=YUY2",
    "uyvy422": "video/x-raw,format=UYVY",
}
"""FFmpeg's names of what cameras give, and GStreamer's."""


NTSC_FPS = 0.005
"""How far a rate may be from one of television's, which people write with two digits."""


def v4l2_pipeline(device: Path, options: Mapping[str, str], host: Host | None = None) -> str:
    """What reads and decodes a camera of Linux, up to frames in main memory.

    Args:
        device: Of the camera.
        options: `video_size`, `framerate` and `input_format` as FFmpeg has them, where given.
        host: The machine; None for this one.

    Raises:
        ConfigError: GStreamer's name of the format is not known.
    """
    host = host or this_host()
    fields = []
    if size := options.get("video_size"):
        width, height = size.split("x")
        fields.append(f"width={width},height={height}")
    if rate := options.get("framerate"):
        fields.append(f"framerate={_fraction(float(rate))}")
    form = options.get("input_format", "")
    if form and form not in CAMERA_FORMATS:
        raise ConfigError(
            f"format={form} with decoder=gst; expected one of: {', '.join(CAMERA_FORMATS)}"
        )
    kinds = [CAMERA_FORMATS[form]] if form else ["image/jpeg", "video/x-h264", "video/x-raw"]
    caps = ";".join(",".join([kind, *fields]) for kind in kinds)
    ends = f'v4l2src device="{device}" ! capsfilter caps="{caps}" ! decodebin'
    if has_plugin(host, "nvvidconv") and has_plugin(host, "nvvideo4linux2"):
        return f"{ends} ! nvvidconv ! video/x-raw,format=NV12"
    return ends


def _fraction(rate: float) -> str:
    """A rate as GStreamer writes it; 29.97 is 30000/1001."""
    whole = round(rate)
    if abs(rate - whole) > NTSC_FPS > abs(rate - 1000 * whole / 1001):
        return f"{1000 * whole}/1001"
    exact = Fraction(rate).limit_denominator(1001)
    return f"{exact.numerator}/{exact.denominator}"


def h264_encoders(rate: float, kbit: int, host: Host | None = None) -> list[tuple[str, str]]:
    """Elements that encode H.264 for a live stream, best first, each with its part of a pipeline.

    A Jetson's own comes first where `adcvsr doctor` finds its plugin and the board has an encoder.

    Args:
        rate: Frames a second; a keyframe comes each second, and where one is asked for.
        kbit: 1000 bits a second.
        host: The machine; None for this one.
    """
    host = host or this_host()
    every = max(round(rate), 1)
    baseline = "video/x-h264,profile=constrained-baseline ! h264parse"
    found = []
    own = has_plugin(host, "nvvidconv") and has_plugin(host, "nvvideo4linux2")
    if own and not _has_no_encoder(host):
        options = f"bitrate={1000 * kbit} iframeinterval={every} idrinterval={every}"
        found.append(
            (
                "nvv4l2h264enc",
                "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc "
                f"{options} insert-sps-pps=true maxperf-enable=true profile=0 ! h264parse",
            )
        )
    options = f"bitrate={kbit} key-int-max={every} tune=zerolatency speed-preset=superfast"
    found.append(("x264enc", f"x264enc {options} ! {baseline}"))
    options = f"bitrate={1000 * kbit} gop-size={every} complexity=low rate-control=bitrate"
    found.append(("openh264enc", f"openh264enc {options} ! {baseline}"))
    return found


def _has_no_encoder(host: Host) -> str:
    """The name of a board that is known to have no video encoder; else empty."""
    name, _ = recognise(host, [])
    encodes = TARGETS[name].encodes if name else None
    known = host.is_jetson and encodes is not None and not encodes.value
    return name if known and name else ""


def encoder_missing(pipeline: str, host: Host | None = None) -> str | None:
    """What to do where a pipeline asks for the encoder of a board that has none; else None.

    Args:
        pipeline: Of a sink.
        host: The machine; None for this one.
    """
    found = ENCODER.search(pipeline)
    if found is None:
        return None
    host = host or this_host()
    if not (name := _has_no_encoder(host)):
        return None
    return (
        f"'{found[0]}': this board ({name}) has no video encoder; encode on its processor, with "
        "'x264enc tune=zerolatency speed-preset=superfast' in its place (sudo apt-get install "
        "gstreamer1.0-plugins-ugly), or let adcvsr encode: --sink rtsp://..., udp://... or a file; "
        "'adcvsr plan --target' counts its time in"
    )
