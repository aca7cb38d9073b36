"""What tests of live streams share: clips with times in them, a real RTSP server, free ports."""

from __future__ import annotations

import functools
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import pytest

from adcvsr.errors import MissingProgramError
from adcvsr.pictures.colour import SDR_BT709
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.gstreamer.process import PACKAGES, gst_python
from adcvsr.runtime.live.pattern import write_time
from adcvsr.runtime.live.sink import FinishedFrame, open_sink
from adcvsr.runtime.video.encoders import EncodeOptions

SYSTEM_PYTHON = "/usr/bin/python3"
RTSP_SERVER = Path(__file__).with_name("rtsp_server.py")


def write_coded_clip(path: Path, frames: int, fps: int, size: tuple[int, int] = (96, 64)) -> Path:
    """Write a clip whose picture i holds the time i; a keyframe a second, no B-frames."""
    clip = draw_clip(10, size[1], size[0])
    with open_sink(f"file:{path}", EncodeOptions(preset="ultrafast")) as sink:
        for index in range(frames):
            picture = clip[index % 10 if index // 10 % 2 == 0 else 9 - index % 10].copy()
            write_time(picture, index)
            finished = FinishedFrame(picture, picture, index / fps, Fraction(fps), SDR_BT709)
            assert sink.present(sink.encode(finished))
        sink.finish()
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def gst_lacks(*elements: str) -> str:
    """What is missing of GStreamer for `gst:`, with these elements; empty where nothing is."""
    code = (
        "import sys, gi; gi.require_version('Gst', '1.0'); gi.require_version('GstVideo', '1.0')\n"
        "from gi.repository import Gst, GstVideo; Gst.init(None)\n"
        "sys.exit(' '.join(e for e in sys.argv[1:] if Gst.ElementFactory.find(e) is None) or 0)"
    )
    command = [gst_python("gst:"), "-c", code, "appsink", "videotestsrc", *elements]
    try:
        found = subprocess.run(command, capture_output=True, check=False, text=True)
    except (MissingProgramError, OSError) as error:
        return str(error)
    return found.stderr.strip().rpartition("\n")[2] if found.returncode else ""


def require_gst(*elements: str) -> None:
    """Skip where GStreamer's Python bindings or one of these elements are not there."""
    if lacks := gst_lacks(*elements):
        pytest.skip(f"no GStreamer for it ({lacks}): {PACKAGES}")


def require_rtsp_server() -> None:
    """Skip where GStreamer's RTSP server is not there."""
    code = "import gi; gi.require_version('GstRtspServer', '1.0')"
    try:
        found = subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, check=False)
    except OSError:
        found = None
    if found is None or found.returncode:
        pytest.skip(
            "no GStreamer RTSP server: apt-get install python3-gst-1.0 "
            "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good"
        )


class RtspServer:
    """The server as a process; `start` and `kill` may be called again and again."""

    def __init__(self, clip: Path, login: str | None = None) -> None:
        self.port = free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}"
        self._clip, self._login = clip, [login] if login else []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [SYSTEM_PYTHON, str(RTSP_SERVER), str(self.port), str(self._clip)]
        command += self._login
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=sys.stderr.fileno(), text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> str:
        """Kill it; return what it printed since it was ready."""
        if self._process is None:
            return ""
        process, self._process = self._process, None
        process.kill()
        return process.communicate()[0]


@contextmanager
def rtsp_server(clip: Path, login: str | None = None) -> Iterator[RtspServer]:
    """Run it.

    Args:
        clip: What `/play` gives.
        login: `basic:USER:PASSWORD` or `digest:USER:PASSWORD`, where it asks for one.
    """
    server = RtspServer(clip, login)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def through_tls(port: int, folder: Path) -> Iterator[int]:
    """Offer what listens on a port through TLS, with a certificate nobody signed; yields the port.

    Args:
        port: On loopback.
        folder: For key and certificate.
    """
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate: apt-get install openssl")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=camera"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def begin(target: Callable[..., None], *args: socket.socket) -> None:
        threads.append(threading.Thread(target=target, args=args, daemon=True))
        threads[-1].start()

    def pump(a: socket.socket, b: socket.socket) -> None:
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        finally:
            for each in (a, b):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                client = context.wrap_socket(plain, server_side=True)
            except OSError:
                continue
            server = socket.create_connection(("127.0.0.1", port))
            opened.extend((client, server))
            begin(pump, client, server)
            begin(pump, server, client)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        begin(serve)
        yield int(listener.getsockname()[1])
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        for each in opened:
            each.close()
