"""Against a real RTSP server: play over TCP and UDP, lose it and get it back, push."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.errors import ConfigError, UnreadableVideoError
from adcvsr.runtime.live import backoff, together
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.pattern import read_time
from adcvsr.runtime.live.source import open_source
from adcvsr.runtime.upscaler import Upscaler
from live_streams import (
    free_port,
    require_gst,
    require_rtsp_server,
    rtsp_server,
    through_tls,
    write_coded_clip,
)


@pytest.fixture(scope="module", autouse=True)
def _server_is_there() -> None:
    require_rtsp_server()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coded_clip(tmp_path_factory.mktemp("rtsp") / "clip.mp4", frames=120, fps=15)


def test_frames_come_through_tls(clip: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    with rtsp_server(clip) as server, through_tls(server.port, tmp_path) as port:
        source = open_source(f"rtsps://127.0.0.1:{port}/play", stop)
        for frame in source.frames():
            assert frame.size == (96, 64)
            stop.set()
    assert any("certificate is not checked" in note for note in source.notes)
    with pytest.raises(ConfigError, match="transport=udp would send pictures outside of TLS"):
        open_source("rtsps://127.0.0.1/play?transport=udp", stop)


def test_ten_bits_of_hevc_come(tmp_path: Path) -> None:
    """Main 10, as newer cameras send it: a gradient's levels lie between those of 8 bits."""
    clip, ramp = tmp_path / "clip.hevc.mp4", np.linspace(300, 400, 96).astype(np.uint16)
    with av.open(str(clip), "w") as container:
        stream: Any = container.add_stream("libx265", rate=15)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        stream.options = {"x265-params": "log-level=error:keyint=5", "preset": "ultrafast"}
        for index in range(60):
            levels = np.full((96, 96), 512, np.uint16)
            levels[:64] = ramp
            frame = av.VideoFrame.from_ndarray(levels, format="yuv420p10le")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    stop = threading.Event()
    with rtsp_server(clip) as server:
        source = open_source(f"{server.url}/play", stop)
        source.takes_deep = lambda bits, hdr: bits == 10 and hdr is None
        for each in source.frames():
            picture = each.rgb(VideoReformatter(), deep=True)
            stop.set()
    levels = np.unique(np.round(picture[32, :, 1] / 64))
    assert isinstance(each.picture, av.VideoFrame)
    assert each.picture.format.name == "yuv420p10le"
    assert (levels % 4 != 0).mean() > 0.5


def test_frames_come_over_udp(clip: Path) -> None:
    """Over TCP they come in the contract test of all sources."""
    stop = threading.Event()
    with rtsp_server(clip) as server:
        source = open_source(f"{server.url}/play?transport=udp", stop)
        frames = []
        for frame in source.frames():
            frames.append(frame)
            if len(frames) == 5:
                stop.set()
    times = [frame.media_time for frame in frames if frame.media_time is not None]
    assert all(frame.size == (96, 64) for frame in frames)
    assert len(times) >= 3
    assert times == sorted(times)
    assert source.reconnects == 0


def test_a_killed_server_comes_back_with_a_new_stream(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole run: what was lost is told, the past is forgotten once, the counters are right."""
    monkeypatch.setattr(together, "TICK_S", 0.1)
    monkeypatch.setattr(backoff, "FIRST_WAIT_S", 0.1)
    done, steps = threading.Event(), []

    def observe(record: dict[str, object], notes: list[str]) -> None:
        presented = int(str(record["presented"]))
        if not steps and presented >= 5:
            server.kill()
            steps.append(presented)
        elif len(steps) == 1 and any("was lost" in note for note in notes):
            server.start()
            steps.append(presented)
        elif len(steps) == 2 and presented >= steps[1] + 5:
            done.set()
            run.source.stop.set()

    with rtsp_server(clip) as server, Upscaler("nano", threads=1) as upscaler:
        options = LiveOptions(duration_s=60)
        source = f"{server.url}/play?timeout=2"
        run = LiveRun(upscaler, source, "null://", options, observe=observe)
        report = run.run()
    assert done.is_set(), report
    assert report.reconnects == 1
    assert report.resets.get("reconnect") == 1
    assert report.captured == report.presented + sum(report.drops.values())
    assert report.unfinished == 0
    assert ["was lost" in note or "is back" in note for note in report.notes] == [True, True]


def test_a_stream_is_pushed(clip: Path) -> None:
    with rtsp_server(clip) as server, Upscaler("nano", threads=1) as upscaler:
        source = "test://?size=64x64&fps=15&frames=12"
        run = LiveRun(upscaler, source, f"{server.url}/push", LiveOptions(policy="every"))
        report = run.run()
        received = server.kill().splitlines()
    assert report.presented == 12
    assert report.output_size == (256, 256)
    assert len(received) >= 10, received


def test_a_wrong_address_is_an_error_at_once(clip: Path) -> None:
    with rtsp_server(clip) as server:
        for url in (f"{server.url}/nothing", f"rtsp://127.0.0.1:{free_port()}/play"):
            with pytest.raises(UnreadableVideoError, match="gives no video"):
                next(iter(open_source(url, threading.Event()).frames()))


def test_gstreamer_decodes_a_stream_and_comes_back_after_a_loss(clip: Path) -> None:
    require_gst("rtspsrc", "decodebin", "openh264dec", "h264parse")
    stop = threading.Event()
    with rtsp_server(clip) as server:
        source = open_source(f"{server.url}/play?decoder=gst&timeout=8", stop)
        seen = []
        for frame in source.frames():
            seen.append((frame.connection, read_time(frame.rgb(VideoReformatter()))))
            if len(seen) == 5:
                server.kill()
                server.start()
            if frame.connection:
                stop.set()
    assert [time for _, time in seen[:5]] == sorted(time or 0 for _, time in seen[:5])
    assert seen[-1][0] == 1
    assert source.reconnects == 1
