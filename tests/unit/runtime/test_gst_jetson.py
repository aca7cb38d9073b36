"""Pipelines for a Jetson, by contract: none was run on a board. And those that the page shows."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from adcvsr.errors import ConfigError, UnreadableVideoError
from adcvsr.host.machine import Host
from adcvsr.runtime.gstreamer.jetson import (
    PLUGINS,
    encoder_missing,
    rtsp_pipeline,
    v4l2_pipeline,
)
from adcvsr.runtime.live.source import open_source
from board_files import orin_nano
from live_streams import require_gst

PAGE = Path(__file__).parents[3] / "docs" / "gstreamer.md"

NOT_OF_DEBIAN = {
    *("nvarguscamerasrc", "nvv4l2camerasrc", "nvv4l2decoder", "nvv4l2h264enc", "nvv4l2h265enc"),
    *("nvvidconv", "nv3dsink", "nvvideoconvert", "nvstreammux", "nvinfer", "nvdsosd", "nvh264enc"),
    *("x264enc", "whipclientsink", "adcvsr"),
}
"""Elements of the page that plain Debian has not."""


def test_a_jetsons_decoder_is_used_where_the_doctor_finds_it(tmp_path: Path) -> None:
    url = "rtsp://u:p@camera/stream?a=b"
    common = f'rtspsrc location="{url}" protocols=udp latency=0 drop-on-latency=true ! decodebin'
    host = Host(root=tmp_path)
    assert rtsp_pipeline(url, "udp", host) == common
    for name in ("nvvidconv", "nvvideo4linux2"):
        plugin = host.path(f"{PLUGINS}/libgst{name}.so")
        plugin.parent.mkdir(parents=True, exist_ok=True)
        plugin.touch()
    assert rtsp_pipeline(url, "udp", host) == f"{common} ! nvvidconv ! video/x-raw,format=NV12"
    assert r'location="a\"b"' in rtsp_pipeline('a"b', "tcp", host)


def test_a_camera_of_linux_is_decoded_on_the_board_where_it_can(tmp_path: Path) -> None:
    device, host = Path("/dev/video2"), Host(root=tmp_path)
    options = {"video_size": "1280x720", "framerate": "29.97", "input_format": "mjpeg"}
    asked = v4l2_pipeline(device, options, host)
    assert asked == (
        'v4l2src device="/dev/video2" ! '
        'capsfilter caps="image/jpeg,width=1280,height=720,framerate=30000/1001" ! decodebin'
    )
    assert "framerate=30/1" in v4l2_pipeline(device, {"framerate": "30"}, host)
    assert '"image/jpeg;video/x-h264;video/x-raw"' in v4l2_pipeline(device, {}, host)
    for name in ("nvvidconv", "nvvideo4linux2"):
        plugin = host.path(f"{PLUGINS}/libgst{name}.so")
        plugin.parent.mkdir(parents=True, exist_ok=True)
        plugin.touch()
    assert v4l2_pipeline(device, options, host) == f"{asked} ! nvvidconv ! video/x-raw,format=NV12"
    with pytest.raises(ConfigError, match="format=bayer with decoder=gst; expected one of: mjpeg"):
        v4l2_pipeline(device, {"input_format": "bayer"}, host)


def test_what_reads_a_camera_parses() -> None:
    """The device is not opened before the pipeline is."""
    require_gst("v4l2src", "jpegdec")
    source = open_source("v4l2:///dev/null?decoder=gst&format=mjpeg&fps=30", threading.Event())
    with pytest.raises(UnreadableVideoError, match=r"/dev/null.*(device|Cannot identify)"):
        next(source.frames())


def test_an_orin_nano_is_told_that_it_has_no_encoder(tmp_path: Path) -> None:
    board = Host(root=orin_nano(tmp_path))
    said = encoder_missing("nvvidconv ! nvv4l2h265enc ! h265parse ! filesink", board)
    assert said is not None
    assert "'nvv4l2h265enc': this board (orin-nano) has no video encoder" in said
    assert "x264enc" in said
    assert encoder_missing("x264enc ! filesink", board) is None
    assert encoder_missing("nvv4l2h264enc ! filesink", Host(root=tmp_path / "desk")) is None


def elements_of(text: str) -> set[str]:
    """First words between the exclamation marks of pipelines in a page's code."""
    found = set()
    for code in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for command in code.replace("\\\n", " ").splitlines():
            for part in re.split(r"!", command)[1:]:
                word = re.match(r"\s*([a-z][a-z0-9]+)(?![\w/:(])", part)
                found |= {word[1]} if word else set()
            found |= set(re.findall(r"gst:([a-z][a-z0-9]+)(?![\w/:])", command))
            found |= set(re.findall(r"gst-launch-1\.0 (?:-\w+ )*([a-z][a-z0-9]+)", command))
    return found


def test_every_element_the_page_names_exists() -> None:
    elements = elements_of(PAGE.read_text(encoding="utf-8"))
    assert {"adcvsr", "nvv4l2h264enc", "videoconvert"} <= elements
    require_gst(*sorted(elements - NOT_OF_DEBIAN))
