"""Several streams over one network: each is what it would be alone, whatever the others do."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from adcvsr.arrays import Levels
from adcvsr.cli._secrets import _shown_argument
from adcvsr.cli.commands import load_command
from adcvsr.errors import ConfigError, UnreadableVideoError
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.redaction import learn
from adcvsr.runtime.live import source_av
from adcvsr.runtime.live.accounting import Accounting
from adcvsr.runtime.live.address import Address
from adcvsr.runtime.live.content_watch import ContentWatch
from adcvsr.runtime.live.infer_turns import InferTurns
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_runs import LiveRuns
from adcvsr.runtime.live.live_stages import LiveStages
from adcvsr.runtime.live.sink import FinishedFrame
from adcvsr.runtime.live.sink_null import NullSink
from adcvsr.runtime.live.source import LiveFrame, VideoSource
from adcvsr.runtime.live.stream_config import parse_stream, read_streams
from adcvsr.runtime.live.zoom import Zoom
from adcvsr.runtime.sessions.stream_session import StreamSession
from adcvsr.runtime.threads.worker import Worker
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from live_streams import free_port

SIZES = ((16, 12), (15, 9), (20, 12))
CLIPS = {size: draw_clip(6, size[1], size[0]) for size in SIZES}
EVERY = LiveOptions(policy="every", cut_reset=False, stall_frames=1000)  # a busy machine makes none


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("nano", variant="fp32-onnx", backend="ort-cpu", threads=1) as ready:
        assert isinstance(ready.session, StreamSession)
        assert ready.session.prepare_batches() == ""  # as `LiveRuns` does
        yield ready


@dataclass(frozen=True)
class Step:
    """What a camera does before it gives its next frame."""

    picture: int
    size: tuple[int, int]
    what: str


class Scripted(VideoSource):
    """A camera that gives frames when it is told to."""

    def __init__(self) -> None:
        super().__init__(Address.parse("test://"), threading.Event())
        self.steps: queue.Queue[Step | None] = queue.Queue()

    def frames(self) -> Generator[LiveFrame, None, None]:
        connection, media, later = 0, 0.0, 0.0
        while (step := self.steps.get()) is not None:
            connection += step.what == "reconnect"
            media += {"stall": 100.0, "seek": -1.0}.get(step.what, 1 / 30)
            later += 100.0 * (step.what == "stall")
            time.sleep(0.002 * (step.what == "pause"))
            picture = CLIPS[step.size][step.picture]
            yield LiveFrame(picture, media, self.clock() + later, connection)


class Kept(NullSink):
    def __init__(self) -> None:
        super().__init__(Address.parse("null://"), EncodeOptions())
        self.pictures: list[Levels] = []

    def encode(self, frame: FinishedFrame) -> Any:
        self.pictures.append(frame.picture)
        return frame


class Stream:
    """A stream at the level of the stage."""

    def __init__(self, upscaler: Upscaler, bell: threading.Event) -> None:
        self.source, self.sink, self.accounting = Scripted(), Kept(), Accounting()
        self.stages = LiveStages(
            self.source,
            upscaler,
            [self.sink],
            EVERY,
            self.accounting,
            self.source.stop,
            bell=bell,
            zoom=Zoom(None, print),
            content=ContentWatch(print),
            swap=lambda: False,
            passed=lambda: None,
        )

    def start(self) -> None:
        self.threads = self.stages.start()

    def wait(self) -> None:
        for thread in self.threads:
            assert thread.wait(60)
        for output in self.stages.outputs:
            assert output.wait(60)
        assert self.stages.error is None


def alone(upscaler: Upscaler, script: list[Step]) -> Stream:
    """The same script as a run of its own."""
    bell = threading.Event()
    stream = Stream(upscaler, bell)
    upscaler.reset()
    stream.start()
    for step in [*script, None]:
        stream.source.steps.put(step)
    InferTurns(bell, [stream.stages]).run()
    stream.wait()
    return stream


steps = st.builds(
    Step,
    picture=st.integers(0, 5),
    size=st.sampled_from((SIZES[0], SIZES[0], *SIZES)),
    what=st.sampled_from(("", "", "", "reconnect", "stall", "seek", "pause")),
)
scripts = st.lists(st.lists(steps, min_size=1, max_size=6), min_size=2, max_size=4)


@settings(max_examples=25, deadline=None)
@given(scripts, st.randoms(use_true_random=False))
def test_streams_together_are_bit_for_bit_what_each_is_alone(
    upscaler: Upscaler, scripts: list[list[Step]], random: Any
) -> None:
    """They join, leave, stall, reset and change their sizes in any order."""
    turns = [index for index, script in enumerate(scripts) for _ in (*script, None)]
    random.shuffle(turns)
    bell = threading.Event()
    with ExitStack() as stack:
        streams = [Stream(stack.enter_context(upscaler.another_stream()), bell) for _ in scripts]
        first = turns[0]  # the others join when their first frame comes
        network = InferTurns(bell, [streams[first].stages])
        streams[first].start()
        worker = Worker(network.run, name="network")
        joined, left = {first}, [iter([*script, None]) for script in scripts]
        held = Stream(stack.enter_context(upscaler.another_stream()), bell)  # keeps it running
        held.start()
        network.join(held.stages)
        worker.start()
        for index in turns:
            if index not in joined:
                joined.add(index)
                streams[index].start()
                network.join(streams[index].stages)
            streams[index].source.steps.put(next(left[index]))
        held.source.steps.put(None)
        for stream in (*streams, held):
            stream.wait()
        assert worker.wait(60)
    for stream, script in zip(streams, scripts, strict=True):
        single = alone(upscaler, script)
        assert len(stream.sink.pictures) == len(script)
        assert stream.accounting.resets == single.accounting.resets
        for mine, expected in zip(stream.sink.pictures, single.sink.pictures, strict=True):
            assert np.array_equal(mine, expected)


def test_cameras_of_one_size_run_in_batches_and_one_of_more_priority_first(
    upscaler: Upscaler,
) -> None:
    many = [
        plan(f"{name}=test://?size=64x64&fps=500&frames=20,sink=null://", EVERY) for name in "abc"
    ]
    report = LiveRuns(upscaler, many, oversubscribe=True).run()
    assert [each.presented for each in report.streams.values()] == [20, 20, 20]
    assert sum(report.batches.values()) > 0
    assert set(report.batches) <= {2, 3}
    order: list[str] = []
    bell = threading.Event()
    with ExitStack() as stack:
        streams = {
            name: Stream(stack.enter_context(upscaler.another_stream()), bell) for name in "abc"
        }
        for name, stream in streams.items():
            stream.stages.options = replace(EVERY, priority={"a": 0, "b": -1, "c": 7}[name])
            stream.stages.turn = lambda name=name: bool(order.append(name))  # type: ignore[method-assign, misc, func-returns-value]
        InferTurns(bell, [stream.stages for stream in streams.values()]).round()
    assert order == ["c", "a", "b"]


def test_a_camera_that_is_overdue_is_not_waited_for(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    with upscaler.another_stream() as one:
        stream = Stream(one, threading.Event())
        monkeypatch.setattr(Scripted, "rate", Fraction(10))
        stream.stages._put_at = 100.0  # the next one is due at 100.1
        assert stream.stages.is_due(100.097, 100.101)
        assert stream.stages.is_due(100.101, 100.105)  # a little late is jitter
        assert not stream.stages.is_due(100.0, 100.004)
        assert not stream.stages.is_due(100.2, 100.204)
        assert not stream.stages.batches  # nor is one whose size nobody knows


def test_a_fast_camera_takes_no_turns_from_a_slow_one(upscaler: Upscaler) -> None:
    bell = threading.Event()
    order: list[int] = []
    with ExitStack() as stack:
        streams = [Stream(stack.enter_context(upscaler.another_stream()), bell) for _ in range(3)]
        for index, stream in enumerate(streams):
            waiting = [1] * (5 if index == 0 else 2)

            def turn(index: int = index, waiting: list[int] = waiting) -> bool:
                if waiting:
                    order.append(waiting.pop() and index)
                return bool(waiting)

            stream.stages.turn = turn  # type: ignore[method-assign]
        network = InferTurns(bell, [stream.stages for stream in streams])
        while network.round():
            pass
    assert order == [0, 1, 2, 0, 1, 2, 0, 0, 0]


def plan(text: str, options: LiveOptions | None = None) -> Any:
    return parse_stream(text, options or LiveOptions(duration_s=1.0))


def test_cameras_of_different_sizes_and_rates_and_one_that_fails(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [
        plan("door=test://?size=64x64&fps=20,sink=null://"),
        plan(f"yard=test://?size=48x64&fps=1,sink={tmp_path / 'yard.mkv'},sink=null://"),
        plan(f"gone={tmp_path / 'none.mp4'},sink=null://"),
    ]
    seen: list[list[str]] = []
    texts: list[str] = []

    def observe(records: object, notes: list[str]) -> None:
        seen.append(notes)
        texts.append(runs.together.metrics)

    runs = LiveRuns(upscaler, plans, observe=observe)
    report = runs.run()
    assert list(report.streams) == ["door", "yard", "gone"]
    door, yard = report.streams["door"], report.streams["yard"]
    assert door.captured >= 3
    assert door.captured == door.presented + sum(door.drops.values())
    assert door.output_size == (256, 256)
    assert (yard.presented, yard.drops, yard.ended) == (
        1,
        {},
        "end of source",
    ) or yard.presented >= 1
    assert (tmp_path / "yard.mkv").exists()
    assert list(report.failed) == ["gone"]
    assert "none.mp4" in report.failed["gone"]
    assert any(note.startswith("gone: ended: ") for note in seen[-1])
    text = next(text for text in reversed(texts) if 'stream="door"' in text)
    assert f'adcvsr_frames_captured_total{{stream="door"}} {door.captured}' in text
    text = texts[0]
    assert 'adcvsr_sink_frames_presented_total{stream="yard",sink="null://"}' in text
    assert 'stream="door",stage="latency",quantile="0.99"' in text
    families = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("adcvsr")]


def test_one_camera_that_is_away_is_tried_on_and_one_alone_is_an_error(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_av, "wait_before_try", lambda tries: 0.1)
    away = "udp://127.0.0.1:9?timeout=0.2"
    runs = LiveRuns(
        upscaler, [plan("a=test://?size=64x64&fps=20,sink=null://"), plan(f"b={away},sink=null://")]
    )
    away_run = runs.runs[1]
    threading.Timer(2.0, lambda: [run.end("enough") for run in runs.runs]).start()
    report = runs.run()
    assert not report.failed
    assert report.streams["a"].presented >= 1
    assert report.streams["b"].captured == 0
    assert away_run.source.tries >= 1
    alone = LiveRuns(upscaler, [plan(f"b={away},sink=null://")])
    alone.runs[0].source.waits = False  # as `live --source` has it
    assert "gives no video" in alone.run().failed["b"]


def test_garbage_from_udp_is_one_cameras_own_trouble(upscaler: Upscaler) -> None:
    port, over = free_port(), threading.Event()

    def send() -> None:
        random = np.random.default_rng(0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not over.wait(0.005):
                for junk in (random.bytes(1316), b"", b"G" * 188):
                    sender.sendto(junk, ("127.0.0.1", port))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        report = LiveRuns(
            upscaler,
            [
                plan("a=test://?size=64x64&fps=20,sink=null://"),
                plan(f"b=udp://127.0.0.1:{port}?timeout=0.5,sink=null://"),
            ],
        ).run()
    finally:
        over.set()
        thread.join()
    assert report.streams["a"].presented >= 1
    assert not report.streams["a"].drops.get("damaged")
    assert report.streams["b"].presented == 0
    assert not report.failed


def test_the_duration_ends_a_camera_that_is_away_all_the_time(upscaler: Upscaler) -> None:
    away = plan("b=udp://127.0.0.1:9?timeout=0.2,sink=null://")
    report = LiveRuns(upscaler, [plan("a=test://?size=64x64&fps=20,sink=null://"), away]).run()
    assert {name: each.ended for name, each in report.streams.items()} == {
        "a": "duration",
        "b": "duration",
    }


class TestConfig:
    def write(self, tmp_path: Path, text: str) -> Path:
        path = tmp_path / "cameras.toml"
        path.write_text(text)
        return path

    def test_streams_in_their_order_with_what_all_have(self, tmp_path: Path) -> None:
        path = self.write(
            tmp_path,
            """
            [streams.yard]
            source = "rtsp://u:hidden-word@camera/stream?a=1,b=2"
            sinks = ["yard.mkv", "null://"]
            policy = "every"
            cut_reset = false
            [streams.door]
            source = "test://"
            sinks = ["null://"]
            crop = "64x48+8+0"
            """,
        )
        defaults = LiveOptions(max_latency_ms=200, stall_frames=5)
        yard, door = read_streams(path, defaults)
        assert (yard.name, yard.sinks) == ("yard", ("yard.mkv", "null://"))
        assert (yard.options.policy, yard.options.max_latency_ms) == ("every", None)
        assert (yard.options.cut_reset, yard.options.stall_frames) == (False, 5)
        assert (door.options.max_latency_ms, str(door.options.crop)) == (200, "64x48+8+0")
        assert "hidden-word" not in repr(yard)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", r"has no stream; expected a table \[streams.NAME\]"),
            ("\nstream = 1\n", r"', line 2: unknown key 'stream', did you mean 'streams'"),
            (
                "[streams.a]\nsource='test://'\nsinks=['null://']\n[streams.b]\nsource='x'\n"
                "sinks=['null://']\nsuorce='y'\n",
                r", line 7 \[streams.b\]: unknown key 'suorce', did you mean 'source'",
            ),
            ("[streams.a]\nsinks=['null://']\n", r"\[streams.a\]: 'source' is missing"),
            ("[streams.a]\nsource='test://'\nsinks=[]\n", "needs a sink"),
            ("[streams.a]\nsource=5\nsinks=['null://']\n", "source=5, expected text"),
            ("[streams.a]\nsource='x'\nsinks='null://'\n", "expected a list of values"),
            ("[streams.'a b']\nsource='x'\nsinks=['null://']\n", "letters, digits, _ and -"),
            ("[streams.a]\nsource='x'\nsinks=['y']\npolicy='all'\n", "policy 'all', expected"),
            ("[streams.a]\nsource='x'\nsinks=['y']\ncrop='5'\n", "expected WIDTHxHEIGHT"),
            ("[streams.a]\nsource='x'\nsinks=['y']\nmax_latency_ms=-1\n", "expected 1 or more"),
            ("[streams.a]\nsource='x'\n[streams.a]\nsource='x'\n", r"not valid TOML: .*line 3"),
            ("streams = 5", "has no stream"),
            ("[streams]\na = 5", r"\[streams.a\] is no table"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path: Path, text: str, says: str) -> None:
        with pytest.raises(ConfigError, match=says):
            read_streams(self.write(tmp_path, text), LiveOptions())

    def test_no_message_shows_a_password(self, tmp_path: Path) -> None:
        text = "[streams.a]\nsource=['rtsp://u:open-sesame@camera/x']\nsinks=['null://']\n"
        with pytest.raises(ConfigError) as caught:
            read_streams(self.write(tmp_path, text), LiveOptions())
        assert "open-sesame" not in str(caught.value)

    def test_one_stream_as_text(self) -> None:
        found = plan("a=rtsp://cam/x,sink=a.mkv,sink=null://,policy=every,cut-reset=false")
        assert (found.name, found.source, found.sinks) == (
            "a",
            "rtsp://cam/x",
            ("a.mkv", "null://"),
        )
        assert (found.options.policy, found.options.cut_reset) == ("every", False)
        assert plan("a=x,sink=y,max-latency-ms=80,crop=8x8+1+2").options.max_latency_ms == 80
        for text, says in (
            ("x", "a stream is NAME=URI"),
            ("a b=x,sink=y", "a stream is NAME=URI"),
            ("a=x", "needs a sink"),
            ("a=x,sinc=y", "unknown key 'sinc', did you mean 'sink'.*%2C"),
            ("a=x,sink=y,policy=every,policy=newest", "'policy' is given twice"),
            ("a=x,sink=y,stall-frames=many", "stall_frames='many', expected whole number"),
        ):
            with pytest.raises(ConfigError, match=says):
                plan(text)

    def test_what_the_list_of_processes_shows(self) -> None:
        text = "door=rtsp://u:very-secret@camera/x,sink=rtsp://v:most-secret@server/y"
        learn(text)
        for argument in (text, f"--stream={text}"):
            assert "very-secret" not in _shown_argument(argument)
            assert "most-secret" not in _shown_argument(argument)


def test_names_and_places_are_each_streams_own(upscaler: Upscaler, tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    path.write_bytes(b"")
    for texts, says in (
        (["a=test://,sink=null://", "a=test://,sink=null://"], "two streams are called 'a'"),
        (
            ["a=test://,sink=x.mkv", "b=test://,sink=./x.mkv"],
            "'a' and 'b' have a sink at one place",
        ),
        ([f"a={path},sink=null://", f"b=test://,sink={path}"], "what stream 'a' reads"),
        ([], "no stream"),
    ):
        with pytest.raises(ConfigError, match=says):
            LiveRuns(upscaler, [plan(text) for text in texts], encode=EncodeOptions(overwrite=True))


def test_streams_come_and_go_and_nothing_is_left(upscaler: Upscaler) -> None:
    frame = CLIPS[SIZES[0]][0]
    upscaler(frame)
    held = Path("/proc/self/fd")
    descriptors = len(list(held.iterdir())) if held.is_dir() else 0
    before = threading.active_count()
    for _ in range(100):
        with upscaler.another_stream() as stream:
            stream(frame)
    assert threading.active_count() == before
    assert not held.is_dir() or len(list(held.iterdir())) <= descriptors
    assert stream.session._ring.sets == []  # type: ignore[attr-defined]
    upscaler(frame)


def test_the_command(tmp_path: Path) -> None:
    config = tmp_path / "cameras.toml"
    config.write_text(
        '[streams.door]\nsource = "test://?size=64x64&fps=20&frames=8"\nsinks = ["null://"]\n'
    )
    run, command = CliRunner().invoke, load_command("live")
    yard = "yard=test://?size=48x64&fps=20&frames=4,sink=null://"
    common = ["--model", "nano", "--policy", "every"]
    several = ["--config", str(config), "--stream", yard, *common]
    result = run(command, [*several, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert {name: each["presented"] for name, each in report["streams"].items()} == {
        "door": 8,
        "yard": 4,
    }
    result = run(command, [*several, "--stream", f"none={tmp_path / 'none.mp4'},sink=null://"])
    assert result.exit_code == 1
    assert "1 of 3 streams failed: none: " in str(result.exception)
    assert "door: null://: 8 of 8 frames" in result.stdout
    for arguments, says in (
        ([*several, "--source", "test://"], "leave --source and --sink out"),
        ([*several, "--glass-to-glass", "udp://127.0.0.1:5"], "measures a single stream"),
        (["--source", "test://"], "Missing option '--sink'"),
        ([], "Missing option '--source'"),
    ):
        result = run(command, arguments)
        assert result.exit_code == 2
        assert says in result.output


def test_a_sink_that_blocks_for_ever_is_left_and_not_closed(upscaler: Upscaler) -> None:
    released, closed = threading.Event(), []
    texts = [f"{name}=test://?size=64x64&fps=20,sink=null://" for name in "ab"]
    runs = LiveRuns(upscaler, [plan(text) for text in texts])
    sink = runs.runs[1].sink
    sink.patience_s = 0.3
    sink.present = lambda encoded: released.wait()  # type: ignore[method-assign]
    sink.close = lambda: closed.append(1)  # type: ignore[method-assign,func-returns-value]
    report = runs.run()
    assert "has taken nothing for 0.3 s" in report.failed["b"]
    assert report.streams["a"].presented >= 1
    assert not closed
    released.set()


def test_an_error_of_a_stream_is_its_own(upscaler: Upscaler) -> None:
    runs = LiveRuns(
        upscaler,
        [
            plan("a=test://?fps=20&size=48x64,sink=null://"),
            plan("b=test://?size=48x64,sink=null://"),
        ],
    )

    def fail() -> Generator[LiveFrame, None, None]:
        raise UnreadableVideoError("no picture")
        yield

    runs.runs[1].source.frames = fail  # type: ignore[method-assign]
    report = runs.run()
    assert report.failed == {"b": "no picture"}
    assert report.streams["a"].presented > 0
