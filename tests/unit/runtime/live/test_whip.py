"""WHIP: a stream arrives at a server of another make; what a server may say is told."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from adcvsr.errors import ConfigError, OutputNotWritableError
from adcvsr.host.machine import Host
from adcvsr.pictures.colour import SDR_BT709
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.gstreamer.jetson import PLUGINS, h264_encoders
from adcvsr.runtime.gstreamer.whip import MOST_REDIRECTS, NEEDS, Signalling, WhipError
from adcvsr.runtime.live import sink_whip
from adcvsr.runtime.live.address import Address
from adcvsr.runtime.live.pattern import read_time, write_time
from adcvsr.runtime.live.sink import FinishedFrame, VideoSink, open_sink
from adcvsr.runtime.live.sink_whip import WhipSink
from adcvsr.runtime.video.encoders import EncodeOptions
from board_files import orin_nano
from live_streams import free_port, gst_lacks, require_gst
from whip_server import WhipServer

FPS = 30

HEAD_START_S = 40.0
"""By which times are ahead of the pipeline's clock, which began when it had started."""


@pytest.fixture
def needs_webrtc() -> None:
    require_gst(*NEEDS)
    if gst_lacks("x264enc") and gst_lacks("openh264enc"):
        pytest.skip("no H.264 encoder: apt-get install gstreamer1.0-plugins-bad")


@pytest.fixture
def needs_aiortc(needs_webrtc: None) -> None:
    if find_spec("aiortc") is None:
        pytest.skip("no aiortc, whose server it is: pip install aiortc")


class Stream:
    """Gives a sink pictures with their numbers in them, at their pace."""

    def __init__(self, sink: VideoSink) -> None:
        self.sink, self.count, self.sent = sink, 0, 0
        self._clip = draw_clip(10, 144, 256)

    def give(self, count: int) -> None:
        for _ in range(count):
            picture = self._clip[self.count % 10].copy()
            write_time(picture, self.count)
            at = self.count / FPS + (HEAD_START_S if self.count else 0)
            frame = FinishedFrame(picture, picture, at, Fraction(FPS), SDR_BT709)
            encoded = self.sink.encode(frame)
            self.sent += encoded is not None and self.sink.present(encoded)
            self.count += 1
            time.sleep(1 / FPS)


@pytest.mark.usefixtures("needs_aiortc")
def test_a_stream_arrives_and_the_server_is_told_of_its_end() -> None:
    with WhipServer(token="hush1hush") as server:
        address = f"{server.address}?token=hush1hush&room=4&bitrate=4000&timeout=60"
        with open_sink(address, EncodeOptions()) as sink:
            stream = Stream(sink)
            stream.give(1)
            began = time.monotonic()
            stream.give(19)
            server.wait_for(10)
            assert time.monotonic() - began < HEAD_START_S / 2  # none waited for its time
            server.wait_for(19)
            sink.finish()
        codes = [read_time(picture) for _, picture in server.pictures]
        # The receiver keeps the last one until it knows that it is whole.
        assert codes == list(range(len(codes)))
        assert len(codes) >= 19
        assert server.requests == [
            "POST /live/whip?room=4 HTTP/1.1",
            "DELETE /resource/1 HTTP/1.1",
        ]
        picture = server.pictures[5][1].astype(int)
        assert np.abs(picture - stream._clip[5])[20:].mean() < 6
    assert sink.encoder is not None
    assert sink.encoder.startswith("GStreamer's ")


@pytest.mark.usefixtures("needs_aiortc")
def test_a_server_that_is_gone_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_whip, "SILENT_S", 3.0)
    with WhipServer() as server, open_sink(f"{server.address}?timeout=60", EncodeOptions()) as sink:
        stream = Stream(sink)
        stream.give(20)
        server.wait_for(10)  # a busy machine is slow to connect
        stream.give(30)  # until it reported
        server.hang_up()
        end = time.monotonic() + 60
        while len(sink.notes) < 2 and time.monotonic() < end:
            stream.give(5)
        sent, began = stream.sent, time.monotonic()
        stream.give(10)
        # The new pipeline begins anew: it holds no picture until the first one's time comes.
        assert time.monotonic() - began < HEAD_START_S / 2
        sink.finish()
        assert stream.sent == sent + 10
        verbs = [each.split()[0] for each in server.requests]
        assert verbs == ["POST", "DELETE", "POST", "DELETE"]
        assert stream.count == stream.sent + sink.drops["sink"]
        lost, back = sink.notes
    assert "the server reports nothing any more (waited 3 s)" in lost
    assert back.endswith("is back after 1 tries")


@pytest.mark.usefixtures("needs_webrtc")
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (("401 Unauthorized", {}, ""), "401 Unauthorized: token=... is missing or wrong"),
        (("201 Created", {}, "<html>"), "its answer is no description of a session"),
        (None, "Connection refused"),
    ],
)
def test_what_a_server_says_is_told(
    answer: tuple[str, dict[str, str], str] | None, says: str
) -> None:
    with WhipServer(answer=answer) as server:
        address = f"whip://127.0.0.1:{free_port()}" if answer is None else server.address
        with (
            open_sink(f"{address}?token=hush1hush&timeout=60", EncodeOptions()) as sink,
            pytest.raises(OutputNotWritableError, match=says) as caught,
        ):
            Stream(sink).give(1)
    assert "hush1hush" not in str(caught.value)


@contextmanager
def answering(
    status: int, place: str = "", body: bytes = b""
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server whose every answer is one, but of `/there`; its address, and what it was sent."""
    seen: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append({"path": self.path, **self.headers})
            self.send_response(201 if self.path == "/there" else status)
            if place:
                self.send_header("Location", place)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/here", seen
        server.shutdown()
        thread.join()


class TestSignalling:
    def test_a_redirect_is_followed_and_the_token_stays_with_its_server(self) -> None:
        with answering(307, "/there") as (url, seen):
            Signalling(url, "Bearer hush").offer("v=0", 5)
        assert [each["path"] for each in seen] == ["/here", "/there"]
        assert [each["Authorization"] for each in seen] == ["Bearer hush"] * 2
        assert seen[0]["Content-Type"] == "application/sdp"
        with (
            answering(307, "/there") as (other, seen),
            answering(307, other.replace("here", "there")) as (url, first),
        ):
            Signalling(url, "Bearer hush").offer("v=0", 5)
        assert "Authorization" in first[0]
        assert "Authorization" not in seen[0]

    @pytest.mark.parametrize(("scheme", "told"), [("https", "Bearer hush"), ("http", "")])
    def test_the_token_does_not_leave_tls(
        self, scheme: str, told: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[str, str, str]] = []

        def ask(self: Signalling, method: str, url: str, *_: object) -> tuple[int, str, str]:
            asked.append((method, url, self._authorization))
            return 201, f"{scheme}://host/resource", "v=0"

        monkeypatch.setattr(Signalling, "_ask", ask)
        signalling = Signalling("https://host/whip", "Bearer hush")
        signalling.offer("v=0", 5)
        signalling.end()
        assert asked == [
            ("POST", "https://host/whip", "Bearer hush"),
            ("DELETE", f"{scheme}://host/resource", told),
        ]

    def test_one_in_a_circle_is_no_end(self) -> None:
        with (
            answering(307, "/again") as (url, seen),
            pytest.raises(WhipError, match="307 Temporary Redirect, expected 201"),
        ):
            Signalling(url).offer("v=0", 5)
        assert len(seen) == MOST_REDIRECTS

    @pytest.mark.parametrize(
        ("status", "body", "says"),
        [
            (404, b"no such\nroom", r"404 Not Found \(no such room\)$"),
            (403, b"", "403 Forbidden: token=... is missing or wrong"),
            (200, b"<html>", "200 OK .<html>., expected 201 Created"),
        ],
    )
    def test_a_refusal_is_told(self, status: int, body: bytes, says: str) -> None:
        with (
            answering(status, body=body) as (url, _),
            pytest.raises(WhipError, match=says),
        ):
            Signalling(url).offer("v=0", 5)

    def test_no_address_of_a_server_is_told(self) -> None:
        with (
            answering(307, "gopher://there") as (url, _),
            pytest.raises(WhipError, match="no address of a server"),
        ):
            Signalling(url).offer("v=0", 5)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?bitrate=fast", "bitrate=fast; expected 100 to 200000"),
        ("?bitrate=5", "bitrate=5; expected 100 to 200000"),
        ("?stun=a%20b", "stun=.*; expected HOST:PORT"),
        ("?timeout=0", "timeout=0; expected 0.1 to 3600"),
        ("?token=a%0D%0Ab", "letters that no header may have"),
    ],
)
def test_options_out_of_range_are_told(query: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_sink(f"whip://host/whip{query}", EncodeOptions())
    with pytest.raises(ConfigError, match="a token and a user"):
        open_sink("whip://me:hush1hush@host/whip?token=a", EncodeOptions())
    with pytest.raises(ConfigError, match="leave encoder options out"):
        open_sink("whip://host/whip", EncodeOptions(crf=20))


def test_addresses_become_the_servers() -> None:
    sink = open_sink("whips://me:p%40ss@host:8443/a?b=c&bitrate=900&stun=s:3478", EncodeOptions())
    assert isinstance(sink, WhipSink)
    sink.size = (64, 48)
    picture = np.zeros((48, 64, 3), np.uint8)
    job = sink._job(FinishedFrame(picture, picture, 0, Fraction(25), SDR_BT709))
    assert job["whip"] == {
        "url": "https://host:8443/a?b=c",
        "authorization": "Basic bWU6cEBzcw==",
        "timeout_s": 10,
        "silent_s": 15,
    }
    assert all(" bitrate=900" in each or " bitrate=900000" in each for _, each in job["encoders"])
    assert all("stun-server=stun://s:3478" in each for _, each in job["encoders"])
    text = "whip://host/live/whip?token=hush2hush&bitrate=900"
    assert Address.parse(text).text == "whip://host/live/whip?token=***&bitrate=900"


def test_a_boards_own_encoder_comes_first_where_it_has_one(tmp_path: Path) -> None:
    names = [name for name, _ in h264_encoders(30, 1000, Host(root=tmp_path / "desk"))]
    assert names == ["x264enc", "openh264enc"]
    nano = Host(root=orin_nano(tmp_path / "nano"))
    board = Host(root=tmp_path / "board")
    for host in (nano, board):
        for name in ("nvvidconv", "nvvideo4linux2"):
            plugin = host.path(f"{PLUGINS}/libgst{name}.so")
            plugin.parent.mkdir(parents=True, exist_ok=True)
            plugin.touch()
    assert [name for name, _ in h264_encoders(30, 1000, nano)] == names
    (name, text), *rest = h264_encoders(29.97, 1000, board)
    assert (name, [each for each, _ in rest]) == ("nvv4l2h264enc", names)
    assert "video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc bitrate=1000000" in text
    assert "iframeinterval=30" in text
