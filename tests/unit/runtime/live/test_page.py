"""The preview page: pictures and figures arrive, strangers do not get in, viewers are bounded."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adcvsr.errors import ConfigError, OutputNotWritableError
from adcvsr.pictures.clips import read_image
from adcvsr.pictures.colour import SDR_BT709
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.live import page_requests
from adcvsr.runtime.live.accounting import Accounting, FrameTimes, prometheus_text
from adcvsr.runtime.live.page_callers import MAX_REQUEST_BYTES, Callers
from adcvsr.runtime.live.page_state import MAX_REQUESTS
from adcvsr.runtime.live.sink import FinishedFrame, VideoSink, open_sink
from adcvsr.runtime.video.encoders import EncodeOptions
from browser import Browser
from live_streams import free_port

RECORD = {
    "captured": 12,
    "presented": 10,
    "fps": 24.5,
    "drops": {"newer": 2},
    "resets": {"cut": 1},
    "reconnects": 3,
    "rss_bytes": 1 << 20,
    "cpu_seconds": 1.5,
    "device": {"VDD_IN_power_w": 7.25},
    "model": "nano",
    "variant": "int8-ort",
    "backend": "ort-cpu",
}
SMALL = draw_clip(1, 48, 64)[0]
BIG = SMALL.repeat(4, 0).repeat(4, 1)
FRAME = FinishedFrame(SMALL, BIG, 1.0, Fraction(25), SDR_BT709)

Open = Callable[..., Any]


@pytest.fixture
def open_page() -> Iterator[Open]:
    opened: list[VideoSink] = []

    def make(options: str = "", host: str = "127.0.0.1") -> Any:
        # Port 0 would be 8080, the default; another test may have it.
        opened.append(open_sink(f"http://{host}:{free_port()}{options}", EncodeOptions()))
        return opened[-1]

    yield make
    for sink in opened:
        sink.close()


def ask(sink: Any, path: str, **headers: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", sink.port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def look(sink: Any) -> tuple[HTTPConnection, HTTPResponse]:
    connection = HTTPConnection("127.0.0.1", sink.port, timeout=20)
    connection.request("GET", "/pictures")
    return connection, connection.getresponse()


def test_figures_as_json_and_for_prometheus(open_page: Open) -> None:
    sink, accounting = open_page(), Accounting()
    for index in range(100):
        accounting.frame_presented(FrameTimes(0, 0.001, 0.021, 0.03, 0.031 + index / 1000))
    record = {**RECORD, "ms": accounting.end_interval()}
    sink.publish(record, prometheus_text([record], [accounting]))
    status, body = ask(sink, "/stats")
    assert status == 200
    assert json.loads(body) == record | {"viewers": 0}
    status, body = ask(sink, "/metrics")
    lines = body.decode().splitlines()
    assert 'adcvsr_frames_dropped_total{reason="newer"} 2' in lines
    assert 'adcvsr_running_info{model="nano",variant="int8-ort",backend="ort-cpu"} 1' in lines
    assert 'adcvsr_device{figure="VDD_IN_power_w"} 7.25' in lines
    assert 'adcvsr_seconds_count{stage="latency"} 100' in lines
    (p50,) = [line for line in lines if 'stage="latency",quantile="0.5"' in line]
    assert float(p50.split()[1]) == pytest.approx(0.080, rel=0.03)
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


def test_pairs_are_sent_to_who_looks_and_made_for_nobody_else(
    open_page: Open, tmp_path: Path
) -> None:
    sink = open_page()
    assert sink.encode(FRAME) == b""
    connection, answer = look(sink)
    while not (encoded := sink.encode(FRAME)):
        pass
    assert sink.present(encoded)
    sizes = [int.from_bytes(answer.read(4), "big") for _ in range(3)]
    head, *jpegs = (answer.read(size) for size in sizes)
    connection.close()
    assert json.loads(head)["size"] == [256, 192]
    for name, jpeg, original in (("s.jpg", jpegs[0], SMALL), ("b.jpg", jpegs[1], BIG)):
        (tmp_path / name).write_bytes(jpeg)
        decoded = read_image(tmp_path / name)
        assert decoded.shape == original.shape
        assert np.abs(decoded.astype(int) - original).mean() < 6


def test_viewers_are_bounded_and_leave_their_place(open_page: Open) -> None:
    sink = open_page("?viewers=1")
    first, _ = look(sink)
    status, body = ask(sink, "/pictures")
    assert (status, body) == (
        503,
        b"all 1 places for viewers are taken: close a page, or give more (?viewers=N)\n",
    )
    first.close()
    done = threading.Event()
    for _ in range(400):  # the server finds out when it sends
        sink.present(sink.encode(FRAME) or b"")
        if sink._server.viewers == 0:
            done.set()
            break
        done.wait(0.02)
    assert done.is_set()


class TestWhoMayLook:
    def test_loopback_only_by_its_own_name(self, open_page: Open) -> None:
        sink = open_page()
        assert ask(sink, "/stats", Host=f"localhost:{sink.port}")[0] == 200
        assert ask(sink, "/stats", Host="evil.example")[0] == 421

    def test_elsewhere_needs_a_token(self, open_page: Open, monkeypatch: Any) -> None:
        for options in ("", "?token=short"):
            with pytest.raises(ConfigError, match="can be reached from elsewhere"):
                open_page(options, host="0.0.0.0")
        monkeypatch.setenv("ADCVSR_PAGE_TOKEN", "0123456789abcdef")
        sink = open_page(host="0.0.0.0")
        assert ask(sink, "/stats")[0] == 403
        assert ask(sink, "/?token=wrong")[0] == 403
        assert ask(sink, "/stats", Authorization="Bearer 0123456789abcdef")[0] == 200
        assert ask(sink, "/?token=0123456789abcdef")[0] == 200
        assert "0123456789abcdef" not in " ".join(sink.notes)

    def test_the_token_is_not_in_messages(self) -> None:
        sink = open_sink(f"http://127.0.0.1:{free_port()}?token=0123456789abcdef", EncodeOptions())
        sink.close()
        assert sink.address.text.endswith("token=***")

    def test_a_taken_port_is_an_error(self, open_page: Open) -> None:
        sink = open_page()
        with pytest.raises(OutputNotWritableError, match="choose another port"):
            open_sink(f"http://127.0.0.1:{sink.port}", EncodeOptions())


def test_in_a_browser_the_slider_wipes_between_input_and_output(
    open_page: Open, browser: Browser
) -> None:
    """Input is shown black and output white, so that the slider's place is seen in the canvas."""
    sink = open_page()
    black, white = np.zeros_like(SMALL), np.full_like(BIG, 255)
    frame = FinishedFrame(black, white, 1.0, Fraction(25), SDR_BT709)
    ended = threading.Event()

    def show() -> None:
        accounting = Accounting()
        accounting.frame_presented(FrameTimes(0, 0.001, 0.021, 0.03, 0.031))
        while not ended.wait(0.05):
            sink.present(sink.encode(frame))
            sink.publish({**RECORD, "ms": accounting.percentiles()}, "")

    shower = threading.Thread(target=show)
    state = "return document.getElementById('state').textContent"
    levels = """
        const canvas = document.getElementById("canvas");
        if (canvas.width !== 256) return null;
        const brush = canvas.getContext("2d");
        const level = x => brush.getImageData(x, 90, 1, 1).data[0];
        return [level(20), level(100), level(150), level(240)];
    """
    try:
        browser.open(f"http://127.0.0.1:{sink.port}/")
        browser.wait(f"{state} === 'waiting for a picture'")
        shower.start()
        browser.wait(levels)
        assert browser.run(state) == "live"
        np.testing.assert_allclose(browser.run(levels), [0, 0, 255, 255], atol=6)
        browser.run(
            "const w = document.getElementById('wipe'); w.value = 800;"
            "w.dispatchEvent(new Event('input'));"
        )
        np.testing.assert_allclose(browser.run(levels), [0, 0, 0, 255], atol=6)
        text = browser.wait(
            "const t = document.getElementById('figures').innerText;return t.includes('24.5') && t"
        )
        assert "2 newer" in text
        assert "7.25" in text
        if folder := os.environ.get("ADCVSR_SCREENSHOTS"):
            browser.screenshot(Path(folder) / "page.png")
    finally:
        ended.set()
        if shower.ident is not None:
            shower.join()


class TestWhoHoldsOn:
    """Connections that never end must not keep others out."""

    @pytest.mark.parametrize("sent", [b"", b"GET /stats HT", b"GET /stats HTTP/1.1\r\nHost: a"])
    def test_half_open_connections_make_room(self, open_page: Open, sent: bytes) -> None:
        sink = open_page()
        with ExitStack() as stack:
            for _ in range(3 * MAX_REQUESTS):
                held = socket.create_connection(("127.0.0.1", sink.port), timeout=20)
                stack.enter_context(held).sendall(sent)
            assert [ask(sink, "/stats")[0] for _ in range(5)] == [200] * 5
            assert sink._server.callers.evicted >= 2 * MAX_REQUESTS

    def test_a_viewer_stays_however_many_come(self, open_page: Open) -> None:
        sink = open_page()
        connection, answer = look(sink)
        with ExitStack() as stack:
            for _ in range(2 * MAX_REQUESTS):
                stack.enter_context(socket.create_connection(("127.0.0.1", sink.port)))
            assert ask(sink, "/stats")[0] == 200
            while not (encoded := sink.encode(FRAME)):
                pass
            sink.present(encoded)
            assert len(answer.read(12)) == 12
        connection.close()

    def test_a_letter_at_a_time_does_not_move_the_deadline(
        self, open_page: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(page_requests, "SERVED_S", 0.5)
        sink, began, pause = open_page(), time.monotonic(), threading.Event()
        with socket.create_connection(("127.0.0.1", sink.port), timeout=20) as held:
            held.sendall(b"GET /stats HTTP/1.1\r\n")
            with suppress(OSError):  # it is closed on the way
                while time.monotonic() - began < 10:
                    held.sendall(b"a")
                    pause.wait(0.1)
            assert 0.4 < time.monotonic() - began < 9

    @pytest.mark.parametrize(
        "head", ["GET /stats?{0} HTTP/1.0\r\n", "GET / HTTP/1.0\r\nA: {0}\r\n"]
    )
    def test_long_requests_are_refused(self, open_page: Open, head: str) -> None:
        sink = open_page()
        assert converse(sink, head.format("a" * MAX_REQUEST_BYTES).encode()).startswith(
            b"HTTP/1.0 431"
        )

    @pytest.mark.parametrize(
        "request_line",
        ["GET //[ HTTP/1.0", "GET / HTTP/1.0\r\nHost: [", "\0", "GET", "GET / HTTP/9", "A B C D"],
    )
    def test_nonsense_is_answered(self, open_page: Open, request_line: str) -> None:
        sink, unexpected = open_page(), []
        sink._server._server.handle_error = lambda *_: unexpected.append(sys.exc_info())
        said = converse(sink, f"{request_line}\r\n\r\n".encode())
        assert re.search(rb"400|421|505|Bad request", said)
        assert not unexpected

    def test_a_client_leaves_a_place_to_look_to_others(self, open_page: Open) -> None:
        server = open_page("?viewers=3")._server
        assert [server.admit_viewer("10.0.0.1") for _ in range(3)] == [True, True, False]
        assert server.admit_viewer("10.0.0.2")
        server.leave_viewer("10.0.0.2")
        server.leave_viewer("10.0.0.1")
        assert [server.admit_viewer("127.0.0.1") for _ in range(3)] == [True, True, False]

    def test_the_oldest_of_the_greediest_goes(self) -> None:
        callers = Callers(3)
        pairs = [socket.socketpair() for _ in range(4)]
        for (mine, _), client in zip(pairs, ["a", "b", "b", "a"], strict=True):
            callers.arrived(mine, client)
        assert callers.evicted == 1
        gone = [index for index, (_, theirs) in enumerate(pairs) if has_ended(theirs)]
        assert gone == [1]
        for pair in pairs:
            for end in pair:
                end.close()


def has_ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


def converse(sink: Any, request: bytes) -> bytes:
    """Send bytes, return all that is answered."""
    with socket.create_connection(("127.0.0.1", sink.port), timeout=20) as connection:
        connection.sendall(request)
        said = b""
        with suppress(ConnectionError):
            while piece := connection.recv(4096):
                said += piece
        return said
