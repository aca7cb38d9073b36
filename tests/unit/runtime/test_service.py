"""The line to systemd, against a real datagram socket; and the unit file itself."""

from __future__ import annotations

import configparser
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from adcvsr.files import cache_folder
from adcvsr.runtime.engine.progress import BuildProgress
from adcvsr.runtime.live import service, together
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.service import ServiceNotifier
from adcvsr.runtime.live.source import LiveFrame, VideoSource
from adcvsr.runtime.upscaler import Upscaler
from gpu_backends import fake_gpu

PACKAGING = Path(__file__).resolve().parents[3] / "packaging"


PATIENCE = "EXTEND_TIMEOUT_USEC=300000000\nSTATUS="
UNIT = PACKAGING / "adcvsr-live.service"


def unit() -> configparser.ConfigParser:
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[method-assign,assignment]
    read.read(UNIT)
    return read


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


def test_long_work_asks_for_patience(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step, at most once a second; frames of before do not end it, its end does. Before the
    unit has started there is no watchdog to end it with."""
    now = 0.0
    monkeypatch.setattr(service.time, "monotonic", lambda: now)
    with ServiceNotifier() as notifier:
        for tenth in range(25):
            now = tenth / 10
            notifier.working(f"step {tenth}")
            notifier.alive()
        notifier.worked()
        assert heard(listener) == [f"{PATIENCE}step {tenth}" for tenth in (0, 10, 20)]
        notifier.ready()
        notifier.working("another size")
        notifier.alive()
        notifier.worked()
        assert heard(listener) == ["READY=1", f"{PATIENCE}another size", "WATCHDOG=1"]


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
    service_part = unit()["Service"]
    assert service_part["Type"] == "notify"
    assert service_part["Restart"] == "always"
    assert unit()["Unit"]["StartLimitIntervalSec"] == "0"  # a camera may start later than the board
    assert int(service_part["WatchdogSec"]) > service.SHARE
    names = {line.split("=")[0] for line in (PACKAGING / "live.env.example").read_text().split()}
    for variable in ("ADCVSR_SOURCE", "ADCVSR_SINK", "ADCVSR_OPTIONS"):
        assert variable in names
    # Addresses hold passwords, and arguments can be listed by every user.
    assert service_part["ExecStart"].endswith("adcvsr live $ADCVSR_OPTIONS")
    assert "--model nano-camera " in (PACKAGING / "live.env.example").read_text()


def test_the_unit_finds_engines_that_its_user_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo -u adcvsr -H adcvsr deploy` has the user's home, the service what the unit says."""
    docs = Path(__file__).resolve().parents[3] / "docs"
    for page in ("operations.md", "orin.md"):
        text = (docs / page).read_text()
        assert "--home-dir /var/lib/adcvsr" in text
        assert "sudo -u adcvsr -H /opt/adcvsr/bin/adcvsr deploy" in text
    for name in ("ADCVSR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/var/lib/adcvsr")
    by_hand = cache_folder()
    lines = [line for line in UNIT.read_text().splitlines() if line.startswith("Environment=")]
    for name, value in (line.removeprefix("Environment=").split("=") for line in lines):
        monkeypatch.setenv(name, value)
    assert cache_folder() == by_hand


def test_the_unit_leaves_the_camera_daemon_its_socket() -> None:
    """/tmp/argus_socket: an own /tmp would hide it. The program's own files go elsewhere then."""
    service_part = unit()["Service"]
    assert service_part["PrivateTmp"] == "false"
    assert "Environment=TMPDIR=/run/adcvsr" in UNIT.read_text().splitlines()
    assert service_part["RuntimeDirectory"] == "adcvsr"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    copy = tmp_path / "adcvsr-live.service"
    text = UNIT.read_text()
    copy.write_text(text.replace("/opt/adcvsr/bin/adcvsr", shutil.which("true") or "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "adcvsr-live" not in done.stderr, done.stderr


def test_a_page_of_all_streams_is_ready_before_any_camera(listener: socket.socket) -> None:
    """A service whose cameras are away must not be started again for it."""

    def looked() -> None:
        if together_.metrics or together_._told_ready:
            raise KeyboardInterrupt

    together_ = together.Together([], come_and_go=True, stays=True, looked=looked)
    together_.run()
    said = heard(listener)
    assert said[0] == "READY=1\nSTATUS=no stream yet"
    assert "WATCHDOG=1" in said


def test_a_live_run_is_ready_with_its_first_picture(listener: socket.socket) -> None:
    with Upscaler("nano", threads=1) as upscaler:
        options = LiveOptions(duration_s=1)
        report = LiveRun(upscaler, "test://?size=64x64&fps=5", "null://", options).run()
    assert report.presented >= 1
    said = heard(listener)
    route = "test://?size=64x64&fps=5 -> null://"
    assert said[:3] == [
        f"{PATIENCE}{route}: making 64x64 ready on ort-cpu",
        f"READY=1\nSTATUS={route}",
        "WATCHDOG=1",
    ]
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
    made_ready = f"{PATIENCE}{route}: making 32x24 ready on ort-cpu"
    assert told == [made_ready, f"READY=1\nSTATUS={route}", *lost, f"STATUS={route}", "STOPPING=1"]
    assert [said[said.index(line) + 1] for line in lost] == ["WATCHDOG=1"] * 2


def test_a_sink_that_drops_frames_keeps_the_watchdog_quiet(listener: socket.socket) -> None:
    """A server that is away is tried again by its sink: the stream itself is well."""
    with Upscaler("nano", threads=1) as upscaler:
        run = LiveRun(upscaler, "test://?size=64x64&fps=5&frames=2", "null://")
        run.sink.present = lambda encoded: False  # type: ignore[method-assign]
        run.run()
    assert heard(listener)[1:] == ["WATCHDOG=1", "STOPPING=1"]


class Systemd:
    """What systemd does with a notify unit: two ends that words move (service.c, 236 and later)."""

    def __init__(self, starting: float, watchdog: float) -> None:
        self.now, self.watchdog = 0.0, watchdog
        self.ends: dict[str, float] = {"starting": starting}
        self.killed: str | None = None

    def hear(self, words: list[str]) -> None:
        for line in (line for each in words for line in each.splitlines()):
            name, _, value = line.partition("=")
            if name == "PASSED":
                self.now += float(value)
                for what, end in self.ends.items():
                    if self.now >= end:
                        self.killed = self.killed or f"{what} at {self.now:.0f} s"
            elif name == "READY":
                self.ends = {"watchdog": self.now + self.watchdog}
            elif name == "WATCHDOG":
                self.ends["watchdog"] = self.now + self.watchdog
            elif name == "EXTEND_TIMEOUT_USEC":
                later = self.now + int(value) / 1e6
                self.ends = {what: max(end, later) for what, end in self.ends.items()}


class SizesSource(VideoSource):
    """Frames of one size, then of another."""

    def frames(self) -> Generator[LiveFrame, None, None]:
        for number, height in enumerate([16] * 6 + [24] * 6):
            picture = np.full((height, 24, 3), number, np.uint8)
            yield LiveFrame(picture, None, self.clock())


@pytest.mark.usefixtures("nano_in_fp32")
@pytest.mark.parametrize(("step_s", "killed"), [(100.0, None), (400.0, "starting at 400 s")])
def test_a_slow_build_is_not_killed_and_one_that_stands_still_is(
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    step_s: float,
    killed: str | None,
) -> None:
    """At the first frame and at another size, on a clock that only the compiler moves."""
    fake_gpu(monkeypatch, tmp_path / "cache")
    now, bell = 0.0, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=lambda: now))
    step = BuildProgress.step
    said: list[str] = []
    over = threading.Event()

    def listen() -> None:  # a socket holds few words
        while not over.wait(0.001):
            said.extend(heard(listener))

    def slow(self: BuildProgress, name: str, number: int) -> bool:
        nonlocal now
        now += step_s
        bell.sendto(f"PASSED={step_s}".encode(), listener.getsockname())
        return step(self, name, number)

    monkeypatch.setattr(BuildProgress, "step", slow)
    thread = threading.Thread(target=listen)
    thread.start()
    try:
        with bell, Upscaler("nano", backend="tensorrt") as upscaler:
            run = LiveRun(upscaler, "test://", "null://", LiveOptions(policy="every"))
            run.source = SizesSource(run.source.address, run.source.stop)
            assert run.run().presented == 12
    finally:
        over.set()
        thread.join()
    said.extend(heard(listener))
    assert sum(line.startswith("PASSED") for line in said) == 8  # two builds of four steps
    assert f"{PATIENCE}test:// -> null://: building an engine, 75% (Building)" in said
    seconds = unit()["Service"]
    systemd = Systemd(float(seconds["TimeoutStartSec"]), float(seconds["WatchdogSec"]))
    systemd.hear(said)
    assert systemd.killed == killed
