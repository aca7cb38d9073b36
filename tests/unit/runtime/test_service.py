"""The line to systemd, against a real datagram socket; and the unit file itself."""

from __future__ import annotations

import configparser
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from adcvsr.runtime.live import service, together
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.service import ServiceNotifier
from adcvsr.runtime.live.source import LiveFrame, VideoSource
from adcvsr.runtime.upscaler import Upscaler

PACKAGING = Path(__file__).resolve().parents[3] / "packaging"


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    with tempfile.TemporaryDirectory() as folder:  # socket names are short
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ear.bind(f"{folder}/notify")
        ear.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{folder}/notify")
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        yield ear
        ear.close()


def heard(ear: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(ear.recv(1000).decode())
        except BlockingIOError:
            return messages


def test_ready_alive_and_goodbye(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(service.time, "monotonic", lambda: now)
    with ServiceNotifier() as notifier:
        notifier.ready("camera\nruns")
        for second in range(1, 16):
            now = float(second)
            notifier.alive()
    assert heard(listener) == [
        "READY=1\nSTATUS=camera runs",
        "WATCHDOG=1",  # at 1 s, then every 7.5 s
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_silent_outside_systemd(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without NOTIFY_SOCKET nothing is opened and nothing is sent, wherever it was sent before."""
    monkeypatch.delenv("NOTIFY_SOCKET")
    monkeypatch.setattr(service.socket, "socket", lambda *_: pytest.fail("a socket was opened"))
    with ServiceNotifier() as notifier:
        notifier.ready()
        notifier.status("runs")
        notifier.alive()
    assert heard(listener) == []


def test_watchdog_of_another_process(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_PID", "1")
    notifier = ServiceNotifier()
    notifier.alive()
    assert heard(listener) == []
    notifier.__exit__(None, None, None)


def test_a_listener_that_went_away_does_no_harm_and_is_found_again(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when systemd is restarted: what was said meanwhile is lost, the next word is heard."""
    now = 0.0
    monkeypatch.setattr(service.time, "monotonic", lambda: now)
    address = listener.getsockname()
    with ServiceNotifier() as notifier:
        notifier.alive()
        assert heard(listener) == ["WATCHDOG=1"]
        listener.close()
        Path(address).unlink()
        now = 10.0
        notifier.alive()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
            again.bind(address)
            again.setblocking(False)
            now = 20.0
            notifier.alive()
            assert heard(again) == ["WATCHDOG=1"]


def test_a_listener_that_does_not_listen_does_not_hold_the_stream_up(
    listener: socket.socket,
) -> None:
    with ServiceNotifier() as notifier:
        for number in range(2000):
            notifier.status(str(number))
        said = heard(listener)
        assert said[:2] == ["STATUS=0", "STATUS=1"]
        assert len(said) < 2000  # its queue was full, and nobody waited
        notifier.status("later")
        assert heard(listener) == ["STATUS=later"]


def test_unit_restarts_and_watches() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment]
    unit.read(PACKAGING / "adcvsr-live.service")
    service_part = unit["Service"]
    assert service_part["Type"] == "notify"
    assert service_part["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"  # a camera may start later than the board
    assert int(service_part["WatchdogSec"]) > service.SHARE
    names = {line.split("=")[0] for line in (PACKAGING / "live.env.example").read_text().split()}
    for variable in ("ADCVSR_SOURCE", "ADCVSR_SINK", "ADCVSR_OPTIONS"):
        assert variable in names
    # Addresses hold passwords, and arguments can be listed by every user.
    assert service_part["ExecStart"].endswith("adcvsr live $ADCVSR_OPTIONS")
    assert "--model nano-camera " in (PACKAGING / "live.env.example").read_text()


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    unit = tmp_path / "adcvsr-live.service"
    text = (PACKAGING / "adcvsr-live.service").read_text()
    unit.write_text(text.replace("/opt/adcvsr/bin/adcvsr", shutil.which("true") or "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "adcvsr-live" not in done.stderr, done.stderr


def test_a_live_run_is_ready_with_its_first_picture(listener: socket.socket) -> None:
    with Upscaler("nano", threads=1) as upscaler:
        options = LiveOptions(duration_s=1)
        report = LiveRun(upscaler, "test://?size=64x64&fps=5", "null://", options).run()
    assert report.presented >= 1
    said = heard(listener)
    assert said[:2] == ["READY=1\nSTATUS=test://?size=64x64&fps=5 -> null://", "WATCHDOG=1"]
    assert said[-1] == "STOPPING=1"


def test_a_lost_source_is_told_and_keeps_the_watchdog_quiet(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(VideoSource):
        def frames(self) -> Generator[LiveFrame, None, None]:
            picture = np.zeros((24, 32, 3), np.uint8)
            yield LiveFrame(picture, None, self.clock())
            for self.tries in (1, 2):
                self.stop.wait(1)
            self.tries = 0
            yield LiveFrame(picture, None, self.clock(), connection=1)
            self.stop.wait(1)

    monkeypatch.setattr(together, "TICK_S", 0.1)
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    with Upscaler("nano", threads=1) as upscaler:
        run = LiveRun(upscaler, "test://", "null://")
        run.source = Away(run.source.address, run.source.stop)
        run.run()
    route = "test:// -> null://"
    lost = [f"STATUS={route}: source lost, {tries} tries so far" for tries in (1, 2)]
    said = heard(listener)
    told = [line for line in said if line != "WATCHDOG=1"]
    assert told == [f"READY=1\nSTATUS={route}", *lost, f"STATUS={route}", "STOPPING=1"]
    assert [said[said.index(line) + 1] for line in lost] == ["WATCHDOG=1"] * 2


def test_a_sink_that_drops_frames_keeps_the_watchdog_quiet(listener: socket.socket) -> None:
    """A server that is away is tried again by its sink: the stream itself is well."""
    with Upscaler("nano", threads=1) as upscaler:
        run = LiveRun(upscaler, "test://?size=64x64&fps=5&frames=2", "null://")
        run.sink.present = lambda encoded: False  # type: ignore[method-assign]
        run.run()
    assert heard(listener) == ["WATCHDOG=1", "STOPPING=1"]
