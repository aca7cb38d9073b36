"""Streams that come and go by the API and by a file read again; what the wall shows and refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adcvsr.arrays import Frame
from adcvsr.errors import ConfigError, OutputNotWritableError
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_runs import LiveRuns, LiveRunsReport
from adcvsr.runtime.live.stream_config import StreamPlan, parse_stream, read_streams
from adcvsr.runtime.live.stream_service import BEAT_S, StreamService
from adcvsr.runtime.upscaler import Upscaler
from live_streams import free_port

TOKEN = "a-token-of-more-than-16"
CAMERA = "test://?size=64x64&fps=20"
DEFAULTS = LiveOptions(cut_reset=False)


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("nano", variant="int8-ort", backend="ort-cpu", threads=1) as ready:
        yield ready


class Running:
    """A service whose main thread is one of its own."""

    def __init__(self, upscaler: Upscaler, token: str, config: Path | None) -> None:
        read = (lambda: read_streams(config, DEFAULTS)) if config else None
        plans = read() if read else []
        address = f"http://127.0.0.1:{free_port()}" + f"?token={token}" * bool(token)
        self.token = token
        self.service = StreamService(address, DEFAULTS, read)
        self.runs = LiveRuns(
            upscaler, plans, stays=True, beside=self.service.beside, looked=self.service.look
        )
        self.service.serve(self.runs, plans)
        self.report: LiveRunsReport | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.report = self.runs.run()

    def end(self) -> LiveRunsReport:
        """As Ctrl-C does, in what is the main thread here."""

        def interrupt() -> None:
            raise KeyboardInterrupt

        self.service._asked.put(interrupt)
        self._thread.join(60)
        self.service.close()
        assert self.report is not None
        return self.report

    def ask(
        self, method: str, path: str, wish: Any = None, **headers: str
    ) -> tuple[int, bytes, str]:
        connection = HTTPConnection("127.0.0.1", self.service.port, timeout=30)
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        body = None
        if wish is not None:
            sent["Content-Type"], body = "application/json", json.dumps(wish)
        connection.request(method, path, body, sent | headers)
        answer = connection.getresponse()
        got = answer.status, answer.read(), answer.getheader("Content-Type", "")
        connection.close()
        return got

    def listed(self) -> dict[str, Any]:
        answer = json.loads(self.ask("GET", "/streams")[1])
        return {each["name"]: each for each in answer["streams"]} | {"failed": answer["failed"]}

    def wait(self, what: Callable[[], Any]) -> Any:
        end = time.monotonic() + 60
        while not (found := what()):
            assert time.monotonic() < end, self.listed()
            time.sleep(0.05)
        return found


@contextmanager
def running(
    upscaler: Upscaler, token: str = TOKEN, config: Path | None = None
) -> Iterator[Running]:
    run = Running(upscaler, token, config)
    try:
        yield run
    finally:
        if run.report is None:
            run.end()


def plan(name: str) -> StreamPlan:
    return parse_stream(f"{name}={CAMERA},sink=null://", DEFAULTS)


def new(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "source": CAMERA, "sinks": ["null://"], **more}


def test_streams_are_added_looked_at_changed_and_removed(upscaler: Upscaler) -> None:
    with running(upscaler) as run:
        assert run.ask("GET", "/readyz")[:2] == (503, b"no stream has given a picture yet\n")
        assert run.ask("GET", "/healthz")[:2] == (200, b"ok\n")
        status, body, _ = run.ask("POST", "/streams", new("door", priority=3))
        assert status == 201
        assert json.loads(body)["name"] == "door"
        assert run.ask("POST", "/streams", new("yard"))[0] == 201
        run.wait(lambda: run.listed()["door"]["presented"] and run.listed()["yard"]["presented"])
        door = run.listed()["door"]
        assert (door["state"], door["priority"], door["input_size"]) == ("runs", 3, [64, 64])
        assert run.ask("GET", "/readyz")[0] == 200
        status, tile, kind = run.ask("GET", "/streams/door/picture")
        assert (status, kind, tile[:2]) == (200, "image/jpeg", b"\xff\xd8")
        assert b"<canvas" in run.ask("GET", "/streams/door/")[1]
        assert b"tiles" in run.ask("GET", "/")[1]
        run.wait(lambda: json.loads(run.ask("GET", "/streams/door/stats")[1]).get("captured"))
        assert json.loads(run.ask("GET", "/streams/door")[1])["stream"] == "door"
        labelled = 'adcvsr_frames_captured_total{stream="yard"}'
        run.wait(lambda: labelled in run.ask("GET", "/metrics")[1].decode())

        assert run.ask("POST", "/streams/door/crop", {"crop": "32x32+0+0"})[0] == 202
        assert run.ask("POST", "/streams/door/reset", {})[0] == 202
        run.wait(lambda: run.listed()["door"]["resets"].get("asked"))
        assert run.listed()["door"]["crop"] == "32x32+0+0"
        assert "asked" not in run.listed()["yard"]["resets"]
        offers = json.loads(run.ask("GET", "/streams/door/models")[1])["offers"]
        other = next(each for each in offers if each["variant"] == "fp32-onnx")
        assert run.ask("POST", "/streams/door/models", other)[0] == 202
        run.wait(lambda: run.listed()["door"]["variant"] == "fp32-onnx")
        assert run.listed()["yard"]["variant"] == "int8-ort"

        assert run.ask("DELETE", "/streams/door")[0] == 202
        run.wait(lambda: "door" not in run.listed())
        assert run.ask("GET", "/streams/door/picture")[0] == 404
        assert run.ask("POST", "/streams", new("door"))[0] == 201  # the name is free again
        report = run.end()
    assert list(report.streams) == ["door", "yard"]
    assert report.streams["yard"].ended == "interrupted"
    assert not report.failed


def test_what_is_refused_and_why(upscaler: Upscaler) -> None:
    with running(upscaler) as run:
        secret = new("gone", source="rtsp://user:geheim77@127.0.0.1:9/stream?timeout=0.2")
        assert run.ask("POST", "/streams", secret)[0] == 201
        for method, path, wish, status, says in (
            ("POST", "/streams", secret, 409, "a stream 'gone' runs already"),
            ("POST", "/streams", new("a", sourec="x"), 400, "unknown key 'sourec'"),
            ("POST", "/streams", {"name": "a", "source": CAMERA}, 400, "'sinks' is missing"),
            ("POST", "/streams", new("a b"), 400, "letters, digits"),
            ("POST", "/streams", {"source": CAMERA, "sinks": []}, 400, "needs a name"),
            ("POST", "/streams", new("a", source="nothing://x"), 400, "nothing"),
            ("POST", "/streams", new("a", priority=1000), 400, "priority=1000"),
            ("POST", "/streams", [1], 400, "expected"),
            ("POST", "/streams/none/reset", {}, 404, "POST goes to"),
            ("POST", "/streams/gone/reset", None, 403, "application/json"),
            ("DELETE", "/streams/none", None, 404, "no stream 'none'"),
            ("DELETE", "/streams", None, 404, "DELETE goes to"),
            ("GET", "/nothing", None, 404, "there are /"),
            ("GET", "/streams/gone/nothing", None, 404, "there are /"),
            ("GET", "/streams/gone/picture", None, 503, "no picture yet"),
        ):
            answer = run.ask(method, path, wish)
            assert answer[0] == status, (path, wish, answer)
            assert says in answer[1].decode(), (path, answer)
        elsewhere = {"Origin": "http://evil.example"}
        assert run.ask("POST", "/streams", new("b"), **elsewhere)[0] == 403
        assert run.ask("DELETE", "/streams/gone", None, **elsewhere)[0] == 403
        for path in ("/", "/streams", "/healthz", "/metrics", "/streams/gone/picture"):
            assert run.ask("GET", path, Authorization="Bearer wrong-token-of-16")[0] == 403
        text = run.ask("GET", "/streams")[1] + run.ask("GET", "/metrics")[1]
        assert b"geheim" not in text
        assert run.listed()["gone"]["state"] in ("starts", "away")
    assert not [line for line in run.runs.together.notes() if "geheim" in line]


def test_without_a_token_nothing_is_added(upscaler: Upscaler, tmp_path: Path) -> None:
    """Who may open this page may not write files with the rights of this program."""
    config = tmp_path / "cameras.toml"
    config.write_text(f'[streams.a]\nsource = "{CAMERA}"\nsinks = ["null://"]\n')
    with running(upscaler, "", config) as run:
        status, body, _ = run.ask("POST", "/streams", new("b"))
        assert status == 403
        assert b"with a token alone" in body
        assert run.ask("GET", "/", Host="evil.example")[0] == 421
        assert run.ask("POST", "/streams/a/reset", {})[0] == 202


def test_the_description_has_every_path_and_no_other(upscaler: Upscaler) -> None:
    with running(upscaler) as run:
        run.ask("POST", "/streams", new("door"))
        run.wait(lambda: run.listed()["door"]["presented"])
        api = json.loads(run.ask("GET", "/openapi.json")[1])
        door = run.listed()["door"]
        assert door.keys() == api["components"]["schemas"]["Stream"]["properties"].keys()
        for path, item in api["paths"].items():
            at = path.replace("{name}", "door")
            if "get" in item and not path.endswith("/pictures"):  # which goes on for ever
                status, _, kind = run.ask("GET", at)
                described = item["get"]["responses"][str(status)]
                assert kind.split(";")[0] in (described.get("content") or {"text/plain": 0}), path
            if "post" in item:
                assert run.ask("POST", at, [])[0] != 404, path
        gone = [path for path, item in api["paths"].items() if "delete" in item]
        assert gone == ["/streams/{name}"]
        assert run.ask("DELETE", "/streams/door")[0] == 202


def test_a_file_read_again_changes_what_changed_and_one_with_an_error_nothing(
    upscaler: Upscaler, tmp_path: Path
) -> None:
    def table(name: str, more: str = "") -> str:
        return f'[streams.{name}]\nsource = "{CAMERA}"\nsinks = ["null://"]\n{more}\n'

    config = tmp_path / "cameras.toml"
    config.write_text(table("a") + table("b"))
    with running(upscaler, config=config) as run:
        run.ask("POST", "/streams", new("guest"))
        before = run.runs.by_name()
        config.write_text(table("a") + "[streams.b]\nsuorce = 1\n")
        run.service.reload_asked.set()
        (line,) = run.wait(
            lambda: [n for n in run.runs.together.own_notes if "new configuration is wrong" in n]
        )
        assert "line 6" in line
        assert "unknown key 'suorce', did you mean 'source'?" in line
        assert run.runs.by_name() == before
        config.write_text(table("a") + table("b", "priority = 2") + table("c"))
        run.service.reload_asked.set()
        run.wait(lambda: run.listed().keys() >= {"a", "b", "c", "guest"})
        run.wait(lambda: run.listed().get("b", {}).get("priority") == 2)
        after = run.runs.by_name()
        assert after["a"] is before["a"]
        assert after["guest"] is before["guest"]
        assert after["b"] is not before["b"]
        config.write_text(table("c"))
        run.service.reload_asked.set()
        run.wait(lambda: run.listed().keys() == {"c", "guest", "failed"})
        report = run.end()
    assert report.streams["a"].ended == "configuration"
    assert not report.failed


def test_streams_that_come_and_go_leave_nothing_behind(upscaler: Upscaler) -> None:
    held = Path("/proc/self/fd")
    with running(upscaler) as run:
        counts = []
        for _ in range(6):
            run.ask("POST", "/streams", new("a"))
            run.wait(lambda: run.listed()["a"]["presented"])
            run.ask("DELETE", "/streams/a")
            run.wait(lambda: "a" not in run.listed())
            counts.append(len(os.listdir(held)) if held.is_dir() else 0)
        assert max(counts[1:]) <= counts[1] + 1  # a connection that is just being closed
        names = [t.name for t in threading.enumerate() if t.name.startswith("adcvsr")]
        assert sorted(set(names)) == ["adcvsr-infer", "adcvsr-page"]
        assert not run.runs.plans


def test_a_fault_of_ours_ends_all_in_order_and_is_raised(upscaler: Upscaler) -> None:
    run = LiveRuns(upscaler, [plan("a"), plan("b")])

    true = run.runs[1].upscaler._processor.push

    def fail(frame: Frame) -> Iterator[Frame]:
        if frame.any():  # else it is made ready
            raise ZeroDivisionError
        return true(frame)

    run.runs[1].upscaler._processor.push = fail  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        run.run()
    assert run._reports["a"].presented == run._reports["a"].captured


def test_who_observes_may_fail_and_recordings_are_kept(upscaler: Upscaler, tmp_path: Path) -> None:
    """Such as a terminal that is gone."""
    recording = parse_stream(f"a={CAMERA},sink={tmp_path}/a.mkv", DEFAULTS)

    def observe(records: object, notes: object) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        LiveRuns(upscaler, [recording], observe=observe).run()
    assert (tmp_path / "a.mkv").exists()
    assert not [t for t in threading.enumerate() if t.name.startswith("adcvsr")]


def test_a_main_thread_that_stands_still_is_not_healthy() -> None:
    service = StreamService(None, DEFAULTS)
    together = SimpleNamespace(ends=False, begun=True, beat=time.monotonic())
    service._runs = cast("Any", SimpleNamespace(together=together))
    assert service.why_not_healthy() == ""
    together.beat -= 2 * BEAT_S
    assert service.why_not_healthy() == "the main thread has not looked around for 600 s"
    together.begun = False  # networks are loaded
    assert service.why_not_healthy() == ""


def test_the_page_listens_with_ipv6_and_says_when_its_port_is_taken() -> None:
    port = free_port()
    service = StreamService(f"http://[::1]:{port}", DEFAULTS)
    try:
        connection = HTTPConnection("::1", port, timeout=30)
        connection.request("GET", "/streams")
        assert json.loads(connection.getresponse().read())["streams"] == []
        connection.close()
        with pytest.raises(OutputNotWritableError, match=f"cannot listen at ::1:{port}"):
            StreamService(f"http://[::1]:{port}", DEFAULTS)
    finally:
        service.close()


@pytest.mark.slow
def test_the_command_reads_its_file_again_and_hands_over(tmp_path: Path) -> None:
    """SIGHUP with an error in the file, with a change, SIGTERM: a recording gets its name."""
    config, port = tmp_path / "cameras.toml", free_port()
    text = f'[streams.a]\nsource = "{CAMERA}"\nsinks = ["{tmp_path}/a.mkv"]\n'
    config.write_text(text)
    command = [sys.executable, "-m", "adcvsr", "live", "--model", "nano", "--config", str(config)]
    process = subprocess.Popen(
        [*command, "--page", f"http://127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    def names() -> list[str]:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/streams")
            found = json.loads(connection.getresponse().read())["streams"]
        except OSError:
            return []
        connection.close()
        return [each["name"] for each in found if each["presented"]]

    def wait(wanted: list[str]) -> None:
        end = time.monotonic() + 90
        while names() != wanted:
            assert time.monotonic() < end
            time.sleep(0.1)

    wait(["a"])
    config.write_text(text + "[streams.b]\nnothing = 1\n")
    process.send_signal(signal.SIGHUP)
    time.sleep(5)  # longer than a signal that nobody notices may stay unnoticed
    assert names() == ["a"]
    config.write_text(text + f'[streams.b]\nsource = "{CAMERA}"\nsinks = ["null://"]\n')
    process.send_signal(signal.SIGHUP)
    wait(["a", "b"])
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "line 5" in said
    assert "unknown key 'nothing'" in said
    assert "0 end, 1 begin, 1 run on" in said
    assert (tmp_path / "a.mkv").exists()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("rtsp://127.0.0.1/x", "expected an address such as"),
        ("http://0.0.0.0:8080", "can be reached from elsewhere"),
        ("http://127.0.0.1:99999", "expected http://HOST:PORT"),
        ("http://127.0.0.1:8080?colour=red", "colour"),
    ],
)
def test_a_page_of_a_bad_address(address: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADCVSR_PAGE_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=says):
        StreamService(address, DEFAULTS)
