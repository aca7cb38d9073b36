"""An address of every source and every sink of `live`, which really gives or takes frames here."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import pytest

from adcvsr.pictures.colour import SDR_BT709
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.gstreamer.whip import NEEDS
from adcvsr.runtime.live.sink import FinishedFrame, open_sink
from adcvsr.runtime.video.encoders import EncodeOptions
from live_streams import (
    free_port,
    require_gst,
    require_rtsp_server,
    rtsp_server,
    write_coded_clip,
)
from whip_server import WhipServer


@contextmanager
def standard_input(data: bytes) -> Iterator[None]:
    """Standard input is a pipe that gives these bytes and ends."""
    kept, (read_end, write_end) = os.dup(0), os.pipe()
    os.dup2(read_end, 0)
    os.close(read_end)

    def feed() -> None:
        with os.fdopen(write_end, "wb") as pipe:
            try:
                pipe.write(data)
            except BrokenPipeError:
                return

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    finally:
        os.dup2(kept, 0)  # nobody reads the pipe any more
        os.close(kept)
        feeder.join()


@contextmanager
def udp_stream(port: int, size: tuple[int, int] = (96, 64)) -> Iterator[str]:
    """Something sends MPEG-TS to the address."""
    url = f"udp://127.0.0.1:{port}"
    ended = threading.Event()

    def send() -> None:
        picture = draw_clip(1, size[1], size[0])[0]
        with open_sink(url, EncodeOptions(preset="ultrafast")) as sink:
            index = 0
            while not ended.wait(0.02):
                frame = FinishedFrame(picture, picture, index / 30, Fraction(30), SDR_BT709)
                sink.present(sink.encode(frame))
                index += 1

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield url
    finally:
        ended.set()
        sender.join()


@contextmanager
def source_at(scheme: str, clip: Path) -> Iterator[str]:
    """An address of each kind that really gives frames of 96x64 here."""
    if scheme == "test":
        yield "test://?size=96x64&fps=60"
    elif scheme == "file":
        yield f"file:{clip}?loop=1"
    elif scheme == "udp":
        with udp_stream(free_port()) as url:
            yield url
    elif scheme == "rtsp":
        require_rtsp_server()
        with rtsp_server(clip) as server:
            yield f"{server.url}/play"
    elif scheme == "gst":
        require_gst()
        yield "gst:videotestsrc is-live=true ! video/x-raw,width=96,height=64,framerate=30/1"
    elif scheme == "-":
        stream = clip.with_suffix(".ts")
        if not stream.exists():
            write_coded_clip(stream, 12, 30)
        with standard_input(stream.read_bytes()):
            yield "-"
    elif scheme == "csi":
        if shutil.which("gst-launch-1.0") is None:
            pytest.skip("no gst-launch-1.0: apt-get install gstreamer1.0-tools")
        yield "csi://0?size=96x64&fps=30&element=videotestsrc%20is-live=true"
    else:
        if not Path("/dev/video0").exists():
            pytest.skip("no camera at /dev/video0")
        yield "v4l2:///dev/video0"


@contextmanager
def sink_at(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address of each kind that takes frames here."""
    real = av.open

    def opened(_: str, mode: str, **options: Any) -> Any:
        kinds = {"rtsp": "mpegts", "v4l2": "rawvideo"}
        format_ = kinds.get(options["format"], options["format"])
        return real(str(tmp_path / "received"), mode, format=format_)

    if scheme in ("rtmp", "rtmps", "rtsp", "v4l2"):
        monkeypatch.setattr(f"adcvsr.runtime.live.sink_{scheme[:4]}.av.open", opened)
    if scheme == "gst":
        require_gst()
    if scheme == "-":
        kept = os.dup(1)
        with open(tmp_path / "received", "wb") as file:
            os.dup2(file.fileno(), 1)
        try:
            yield "-"
        finally:
            os.dup2(kept, 1)
            os.close(kept)
    elif scheme == "whip":
        require_gst(*NEEDS)
        if find_spec("aiortc") is None:
            pytest.skip("no aiortc, whose server it is: pip install aiortc")
        with WhipServer() as server:
            yield f"{server.address}?timeout=60"
    elif scheme == "whips":
        pytest.skip("through TLS: the same class, and no server of it here")
    else:
        yield {
            "file": str(tmp_path / "out.mp4"),
            "gst": "gst:fakesink",
            "hls": f"hls:{tmp_path}",
            "http": f"http://127.0.0.1:{free_port()}",
            "null": "null://",
            "pictures": str(tmp_path / "frame_%05d.png"),
            "rtmp": "rtmp://host/app/key",
            "rtmps": "rtmps://host/app/key",
            "rtsp": "rtsp://host/path",
            "udp": f"udp://127.0.0.1:{free_port()}",
            "v4l2": "v4l2:///dev/null",
        }[scheme]
