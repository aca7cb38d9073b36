"""What is given is what is sent: addresses of cameras against sockets and a server that asks."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcvsr.errors import AdcVsrError, ConfigError, InputNotFoundError, UnreadableVideoError
from adcvsr.runtime.live import source_av
from adcvsr.runtime.live.address import Address
from adcvsr.runtime.live.rtsp_target import MOST_PATH_BYTES, MOST_USER_BYTES, rtsp_target
from adcvsr.runtime.live.sink import SINKS, open_sink
from adcvsr.runtime.live.source import SOURCES, open_source
from adcvsr.runtime.video.encoders import EncodeOptions
from live_streams import require_rtsp_server, rtsp_server, write_coded_clip
from warm_program import run_program

LOGIN = "operator:Qp@ss:w/o?r#d%25"
"""User and password with all that makes addresses hard to read; the last letter is a %."""


@contextmanager
def listener() -> Iterator[tuple[int, list[str]]]:
    """A port that hangs up, and the first line of who called."""
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as ear:

        def listen() -> None:
            caller, _ = ear.accept()
            with caller:
                caller.settimeout(5)
                lines.append(caller.recv(9000).decode().split("\r\n")[0])

        thread = threading.Thread(target=listen)
        thread.start()
        yield ear.getsockname()[1], lines
        thread.join()


@pytest.mark.parametrize(
    "path",
    [
        "/s?channel=1&subtype=0",
        "/s?token=a+b%2Fc%3D&x=y z",
        "/s?x=%7Babc%7D",
        "/s?trackID=1&a=b,c;d",
        "/s?a=1&a=2",
        "/stream=0.sdp?real_stream",
        "/user=u&password=&channel=1&stream=0.sdp?real_stream",
        "/live?tcp",
        "/s?",
        "/s?a?b&&c#d",
        "/weg/zum-Tor/ä?ö=ü",
        "/s?x=" + "k" * (MOST_PATH_BYTES - 5),
    ],
)
def test_what_is_given_is_what_is_sent(path: str) -> None:
    with listener() as (port, lines):
        frames = open_source(f"rtsp://127.0.0.1:{port}{path}", threading.Event()).frames()
        with pytest.raises(UnreadableVideoError):
            next(frames)
    assert lines == [f"OPTIONS rtsp://127.0.0.1:{port}{path} RTSP/1.0"]


def test_only_options_of_ours_are_taken_out() -> None:
    address = Address.parse("RTSP://camera/s?a=1&transport=udp&onvif&timeout=3&a=%41")
    assert address.number("timeout", 5, low=1, high=9) == 3
    assert rtsp_target(address) == ("rtsp://camera/s?a=1&onvif&a=%41", "udp")


WORDS = st.text("abcdefABC0123-._~%!$'()*+,;=:@/?", max_size=12)


@given(
    user=st.none() | st.text("abcABC01-._~%!$'()*+,;=:", max_size=12),
    path=WORDS.map("/{}".format).filter(lambda path: "@" not in path),
    query=st.none() | st.lists(WORDS.filter(lambda word: word != "transport"), max_size=4),
)
def test_any_address_by_the_book_is_sent_unchanged(
    user: str | None, path: str, query: list[str] | None
) -> None:
    address = "rtsp://" + (f"{user}@" if user is not None else "") + f"camera:554{path}"
    if query is not None:
        address += "?" + "&".join(query)
    assert rtsp_target(Address.parse(address)).url == address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rtsp:///s", "expected SCHEME://HOST:PORT/PATH"),
        ("rtsp://?x", "names no host"),
        ("rtsp:camera/s", "expected SCHEME://HOST:PORT/PATH"),
        ("rtsp://camera:x/s", "expected SCHEME://HOST:PORT/PATH"),
        ("rtsp://camera/s\r", r"letters that no address has: '\\r'"),
        (" rtsp://camera/s", "without blanks or quotes"),
        ('"rtsp://camera/s"', "without blanks or quotes"),
        ("rtsp://camera/s?timeout=3&timeout=4", "timeout comes twice"),
        ("rtsp://u:" + "k" * MOST_USER_BYTES + "@camera/s", "129 bytes; FFmpeg sends 127"),
        ("rtsp://camera/" + "k" * MOST_PATH_BYTES, "2048 bytes; FFmpeg sends 2047"),
        ("udp://camera:1?Qtoken", r"has no option \*\*\*"),
    ],
)
def test_what_would_be_sent_otherwise_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_source(text, threading.Event())


def test_the_page_has_no_users() -> None:
    with pytest.raises(ConfigError, match=r"'http://\*\*\*@127.0.0.1:0': the page has neither"):
        open_sink("http://u:Qsecret1@127.0.0.1:0", EncodeOptions())


def test_options_of_a_plain_path(tmp_path: Path) -> None:
    clip = write_coded_clip(tmp_path / "clip.mp4", frames=3, fps=60)
    stop, times = threading.Event(), []
    for frame in open_source(f"{clip}?loop=1", stop).frames():
        times.append(frame.media_time)
        if len(times) == 4:
            stop.set()
    assert times[3] == times[0]
    with pytest.raises(ConfigError, match="has no option lop; it has: loop"):
        open_source(f"{clip}?lop=1", stop)
    with pytest.raises(InputNotFoundError, match="no file '.*gone.mp4'"):
        next(open_source(f"{tmp_path}/gone.mp4?loop=1", threading.Event()).frames())
    odd = clip.rename(tmp_path / "a?loop=1")  # a file of that very name comes first
    assert len(list(open_source(str(odd), threading.Event()).frames())) == 3


@pytest.mark.parametrize("scheme", ["srt", "rtmp", "rtmps", "http", "https", "hls", "rtp"])
def test_streams_of_other_kinds_are_refused_with_a_way_out(scheme: str) -> None:
    with pytest.raises(ConfigError, match="is no source of live, which knows .*rtsp://, rtsps://"):
        open_source(f"{scheme}://h/s", threading.Event())
    with pytest.raises(ConfigError, match=r"pass it on, 'ffmpeg -i ADDRESS .*udp://127.0.0.1"):
        open_source(f"{scheme}://h/s", threading.Event())


def test_what_is_no_sink() -> None:
    with pytest.raises(ConfigError, match=r"'rtsps://' is no sink of live, which knows .*http://"):
        open_sink("rtsps://h/s", EncodeOptions())
    with pytest.raises(ConfigError, match=r"--sink udp://127.0.0.1:5000 and 'ffmpeg -i"):
        open_sink("srt://h/s", EncodeOptions())
    with pytest.raises(ConfigError, match="no source 'rstp://', did you mean 'rtsp'"):
        open_source("rstp://h/s", threading.Event())


@pytest.mark.parametrize("scheme", sorted({*SOURCES, *SINKS, "srt"} - {"file", "-"}))
@pytest.mark.parametrize("form", ["{0}://u:Qsecret1@127.0.0.1:9/s", "{0}:/u:Qsecret1@h?x", "{0}:"])
def test_no_scheme_shows_a_password(
    scheme: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_av, "DEFAULT_TIMEOUT_S", 0.2)  # where nobody ever sends
    text = form.format(scheme)
    said = [repr(Address.parse(text))] if form.startswith("{0}://") else []
    for make in (
        lambda: next(open_source(text, threading.Event()).frames()),
        lambda: open_sink(text, EncodeOptions()).close(),
    ):
        try:
            make()
        except AdcVsrError as error:
            said += [str(error), repr(error.__cause__), str(error.__cause__)]
    assert not [line for line in said if "Qsecret1" in line]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_rtsp_server()
    return write_coded_clip(tmp_path_factory.mktemp("asks") / "clip.mp4", frames=60, fps=30)


@pytest.mark.parametrize("digest", [False, True])
def test_a_camera_that_asks_gets_the_password_as_it_was_meant(clip: Path, digest: bool) -> None:
    """Written plainly, and percent-encoded; a wrong one is told, and not shown."""
    user, password = "operator", "Qp@ss:w/o?r#d%"
    kind = "digest" if digest else "basic"
    with rtsp_server(clip, f"{kind}:{user}:{password}") as server:
        for login in (LOGIN, "operator:Qp%40ss%3Aw%2Fo%3Fr%23d%25"):
            stop = threading.Event()
            url = server.url.replace("rtsp://", f"rtsp://{login}@")
            for frame in open_source(f"{url}/play", stop).frames():
                assert frame.size == (96, 64)
                stop.set()
        url = server.url.replace("rtsp://", "rtsp://operator:Qwrong12@")
        with pytest.raises(UnreadableVideoError, match="401 Unauthorized") as caught:
            next(open_source(f"{url}/play", threading.Event()).frames())
    for error in (caught.value, caught.value.__cause__):
        assert "Qwrong12" not in f"{error!r} {error}"


COMMAND = [sys.executable, "-m", "adcvsr"]


@pytest.mark.parametrize("debug", [False, True])
def test_neither_messages_nor_tracebacks_nor_usage_show_it(debug: bool) -> None:
    address = "rtsp://u:Qsecret1@127.0.0.1:9/Qtoken22?password=Qtoken33"
    environment = {"ADCVSR_DEBUG": "1"} if debug else {}
    for arguments in (
        ["live", "--source", address, "--sink", "null://", "--model", "nano", "--json"],
        ["upscale", address, "out.mp4"],
        ["live", "--source", "test://", address],
        [address],
    ):
        done = run_program(*arguments, **environment)
        assert done.returncode in (1, 2)
        said = done.stdout + done.stderr
        assert said
        assert not [piece for piece in ("Qsecret1", "Qtoken") if piece in said], said
        assert "Traceback" not in said or debug


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process change its title")
def test_the_list_of_processes_does_not_show_it() -> None:
    source, sink = "udp://127.0.0.1:5999?timeout=60", "rtsp://u:Qsecret1@127.0.0.1:9/Qtoken22"
    process = subprocess.Popen(
        [*COMMAND, "live", "--source", source, f"--sink={sink}", "--model", "nano"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        listed = Path(f"/proc/{process.pid}/cmdline")
        pause = threading.Event()
        for _ in range(200):
            if "Qsecret1" not in (text := listed.read_bytes().decode()) and "live" in text:
                break
            pause.wait(0.05)
        assert source in text
        assert "--sink=rtsp://***@127.0.0.1:9/***" in text
        assert "Q" not in text.partition("--sink")[2]
    finally:
        process.kill()
        process.wait()


def test_source_and_sink_may_come_from_the_environment() -> None:
    source = "rtsp://u:Qsecret1@127.0.0.1:9/s"
    done = run_program("live", ADCVSR_SOURCE=source, ADCVSR_SINK="null://", ADCVSR_MODEL="auto")
    model, error = done.stderr.splitlines()
    assert model == (
        "note: the model is nano-camera, the quickest, as the size of the input is not known "
        "beforehand; for clean input: --model nano"
    )
    assert error.startswith("error: 'rtsp://***@127.0.0.1:9/s' gives no video: Connection refused")
