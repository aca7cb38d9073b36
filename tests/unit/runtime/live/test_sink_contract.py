"""One contract over all sinks; servers and devices are FFmpeg's muxers into a file here."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.pictures.colour import SDR_BT709, frame_from_rgb
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv import yuv_from_frame
from adcvsr.pictures.yuv_picture import AnyPicture
from adcvsr.runtime.gstreamer.whip import NEEDS
from adcvsr.runtime.live.sink import SINKS, FinishedFrame, open_sink
from adcvsr.runtime.video.encoders import EncodeOptions
from live_streams import free_port, require_gst
from whip_server import WhipServer


@contextmanager
def address_of(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
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
            "rtmp": "rtmp://host/app/key",
            "rtmps": "rtmps://host/app/key",
            "rtsp": "rtsp://host/path",
            "udp": f"udp://127.0.0.1:{free_port()}",
            "v4l2": "v4l2:///dev/null",
        }[scheme]


@pytest.mark.parametrize("kind", ["rgb", "yuv"])
@pytest.mark.parametrize("scheme", sorted(SINKS))
def test_every_sink_takes_frames_and_closes_twice(
    scheme: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (scheme, kind) == ("whip", "yuv"):
        pytest.skip("as gst, and its server takes seconds")
    with (
        address_of(scheme, tmp_path, monkeypatch) as address,
        open_sink(address, EncodeOptions()) as sink,
    ):
        for index, drawn in enumerate(draw_clip(3, 64, 96)):
            picture: AnyPicture = drawn
            if kind == "yuv":
                frame = frame_from_rgb(drawn, SDR_BT709, "nv12", VideoReformatter())
                picture = yuv_from_frame(frame, SDR_BT709, VideoReformatter())
            finished = FinishedFrame(picture, picture, index / 25, Fraction(25), SDR_BT709)
            encoded = sink.encode(finished)
            assert encoded is not None
            assert sink.present(encoded)
            sink.publish({}, "")
        assert sink.size == (96, 64)
        assert not sink.drops
        sink.finish()
        sink.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "adcvsr-page"]
    assert (tmp_path / "out.mp4").exists() == (scheme == "file")
    if (received := tmp_path / "received").exists():
        assert received.stat().st_size > 1000
