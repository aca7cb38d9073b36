"""Pipelines with a Jetson's own elements where the board has them, and what a board lacks."""

from __future__ import annotations

import re

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
