"""Whole runs: what goes in comes out or is counted; figures, resets and sizes are right."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

from adcvsr.cli.commands import load_command
from adcvsr.cli.live import _Status
from adcvsr.errors import (
    ClipNetworkError,
    ConfigError,
    InputNotFoundError,
    OutputExistsError,
    OutputNotWritableError,
)
from adcvsr.host.machine import Host
from adcvsr.pictures.clips import read_clip
from adcvsr.pictures.colour import SDR_BT709
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.live.accounting import Accounting, FrameTimes, Histogram
from adcvsr.runtime.live.device_figures import DeviceFigures
from adcvsr.runtime.live.live_report import LiveOptions, LiveReport
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.notes import MAX_LINES, Notes
from adcvsr.runtime.live.pattern import read_time
from adcvsr.runtime.live.sink import FinishedFrame, open_sink
from adcvsr.runtime.live.source import LiveFrame, VideoSource
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from live_streams import free_port, write_coded_clip
from video_facts import VideoMaker


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("nano", threads=1) as ready:
        yield ready


def balanced(report: LiveReport) -> bool:
    """Whether every captured frame is accounted for."""
    lost = sum(count for reason, count in report.drops.items() if reason != "damaged")
    return report.captured == report.presented + lost + report.unfinished


def test_udp_out_and_in_again_with_the_time_read_from_the_pixels(upscaler: Upscaler) -> None:
    url = f"udp://127.0.0.1:{free_port()}"
    # Its reader waits for pictures as long as its time-out, after the last as well.
    options = LiveOptions(duration_s=3, glass=f"{url}?timeout=1", policy="newest")
    report = LiveRun(upscaler, "test://?size=64x64&fps=12", url, options).run()
    assert report.ended == "duration"
    assert report.unfinished == 0
    assert balanced(report)
    assert report.output_size == (256, 256)
    glass, latency = report.ms["glass"], report.ms["latency"]
    assert glass["p50"] is not None, report.notes
    assert latency["p50"] is not None
    assert 0 < latency["p50"] <= glass["p50"] * 1.5  # clocks of the two start apart by a few ms
    assert glass["p50"] < 20_000


def test_every_frame_of_a_file_is_recorded_in_its_time(upscaler: Upscaler, tmp_path: Path) -> None:
    clip = write_coded_clip(tmp_path / "in.mp4", frames=12, fps=60)
    output, stats = tmp_path / "out.mp4", tmp_path / "stats.jsonl"
    options = LiveOptions(policy="every", stats_path=stats)
    report = LiveRun(upscaler, str(clip), str(output), options).run()
    assert (report.captured, report.presented, report.drops) == (12, 12, {})
    assert report.ended == "end of source"
    assert [read_time(picture) for picture in read_clip(output)] == list(range(12))
    with av.open(str(output)) as container:
        times = [float(frame.time or 0) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(12) / 60, atol=2e-3)
    records = [json.loads(line) for line in stats.read_text().splitlines()]
    assert records[-1]["presented"] == 12
    assert {"time", "ms", "fps", "drops", "device", "rss_bytes"} <= records[-1].keys()


def test_a_slow_network_drops_frames_and_counts_them(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Upscaler, "__call__", slowly(Upscaler.__call__, 0.1))
    options = LiveOptions(max_latency_ms=2000)
    source = "test://?size=64x64&fps=100&frames=60"
    report = LiveRun(upscaler, source, "null://", options).run()
    assert report.drops["newer"] >= 10
    assert balanced(report)
    assert report.unfinished == 0
    assert report.ms["latency"]["max"] is not None
    assert report.resets == {}


def slowly(call: Any, seconds: float) -> Any:
    def slow(self: Upscaler, frame: Any) -> Any:
        time.sleep(seconds)
        return call(self, frame)

    return slow


class SizesSource(VideoSource):
    """Frames of one size and then of another, of one scene."""

    def frames(self) -> Generator[LiveFrame, None, None]:
        index = 0
        for height, width in ((48, 64), (36, 64), (48, 64)):
            for picture in draw_clip(3, height, width):
                yield LiveFrame(picture, index / 25, self.clock())
                index += 1


def test_a_change_of_size_starts_anew_and_keeps_the_output_size(
    upscaler: Upscaler, tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    run = LiveRun(upscaler, "test://", str(output), LiveOptions(policy="every", cut_reset=False))
    run.source = SizesSource(run.source.address, run.source.stop)
    report = run.run()
    assert report.resets == {"size": 2}
    assert report.output_size == (256, 192)
    assert [note for note in report.notes if "scaled to 256x144" in note]
    pictures = list(read_clip(output))
    assert [picture.shape for picture in pictures] == [(192, 256, 3)] * 9
    # 24 lines each; 16 share no macroblock with the picture, whose edge rings within its own.
    bars = np.concatenate([pictures[4][:16], pictures[4][-16:]])
    assert bars.max() < 12
    assert pictures[4][30:-30].std() > 20
    assert pictures[1][:20].std() > 5


def test_interrupting_keeps_the_recording(upscaler: Upscaler, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    seen = threading.Event()

    def observe(record: dict[str, Any], notes: list[str]) -> None:
        if record["presented"] and not seen.is_set():
            seen.set()
            os.kill(os.getpid(), signal.SIGINT)

    source = "test://?size=64x64&fps=20"
    report = LiveRun(upscaler, source, str(output), observe=observe).run()
    assert report.ended == "interrupted"
    assert report.unfinished == 0
    assert len(list(read_clip(output))) == report.presented
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_a_source_that_fails_keeps_what_was_recorded(upscaler: Upscaler, tmp_path: Path) -> None:
    class Failing(VideoSource):
        def frames(self) -> Generator[LiveFrame, None, None]:
            for index, picture in enumerate(draw_clip(4, 48, 64)):
                yield LiveFrame(picture, index / 25, self.clock())
            raise InputNotFoundError("the camera is gone")

    run = LiveRun(upscaler, "test://", str(tmp_path / "out.mkv"), LiveOptions(policy="every"))
    run.source = Failing(run.source.address, run.source.stop)
    with pytest.raises(InputNotFoundError, match="the camera is gone"):
        run.run()
    assert len(list(read_clip(tmp_path / "out.mkv"))) == 4


def test_a_sink_that_fails_ends_the_run(upscaler: Upscaler, monkeypatch: Any) -> None:
    run = LiveRun(upscaler, "test://?size=64x64&fps=50", "null://")

    def fail(encoded: object) -> bool:
        raise OutputNotWritableError("the disk is full")

    monkeypatch.setattr(run.sink, "present", fail)
    with pytest.raises(OutputNotWritableError, match="the disk is full"):
        run.run()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("adcvsr")]


class TestSinks:
    def test_what_makes_no_sense_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "there.mp4").write_bytes(b"")
        for address, options, error, says in (
            ("nul://", EncodeOptions(), ConfigError, "did you mean 'null'"),
            ("null://?a=1", EncodeOptions(), ConfigError, "has no option a"),
            (str(tmp_path / "out.xyz"), EncodeOptions(), ConfigError, "expected one of"),
            (str(tmp_path / "there.mp4"), EncodeOptions(), OutputExistsError, "--overwrite"),
            ("udp://127.0.0.1:9", EncodeOptions(encoder="none"), ConfigError, "no encoder"),
            ("http://127.0.0.1:1x", EncodeOptions(), ConfigError, "expected SCHEME://HOST:PORT"),
        ):
            with pytest.raises(error, match=says):
                open_sink(address, options)

    def test_an_encoder_that_refuses_is_named(self, tmp_path: Path) -> None:
        picture = draw_clip(1, 48, 64)[0]
        frame = FinishedFrame(picture, picture, 0.0, Fraction(25), SDR_BT709)
        for address in (str(tmp_path / "out.mp4"), f"udp://127.0.0.1:{free_port()}"):
            with (
                open_sink(address, EncodeOptions(preset="nonsense")) as sink,
                pytest.raises(ConfigError, match="'libx264' refuses 64x48 .* preset nonsense"),
            ):
                sink.encode(frame)
        assert not list(tmp_path.iterdir())

    def test_a_file_made_meanwhile_is_kept_and_the_recording_too(self, tmp_path: Path) -> None:
        picture = draw_clip(1, 48, 64)[0]
        with open_sink(str(tmp_path / "out.mp4"), EncodeOptions()) as sink:
            frame = FinishedFrame(picture, picture, 0.0, Fraction(25), SDR_BT709)
            sink.present(sink.encode(frame))
            (tmp_path / "out.mp4").write_bytes(b"mine")
            with pytest.raises(OutputExistsError, match="the recording is"):
                sink.finish()
        assert (tmp_path / "out.mp4").read_bytes() == b"mine"
        (kept,) = [path for path in tmp_path.iterdir() if path.name != "out.mp4"]
        assert len(list(read_clip(kept))) == 1


def test_a_network_that_is_not_causal_is_refused(clip_bundle: Path) -> None:
    with (
        Upscaler(clip_bundle, allow_untrained=True) as clip,
        pytest.raises(ClipNetworkError, match="cannot run live"),
    ):
        LiveRun(clip, "test://", "null://")


def test_a_limit_on_latency_needs_dropping() -> None:
    with pytest.raises(ConfigError, match="'newest'"):
        LiveOptions(policy="every", max_latency_ms=100)


def test_the_command(make_video: VideoMaker, tmp_path: Path) -> None:
    video = make_video(size=(32, 24), pts=range(0, 5 * 512, 512))
    arguments = ["--source", str(video), "--sink", str(tmp_path / "o.mkv"), "--policy", "every"]
    result = CliRunner().invoke(load_command("live"), [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["captured"], report["presented"]) == (5, 5)
    result = CliRunner().invoke(load_command("live"), [*arguments, "--overwrite"])
    assert "5 of 5 frames" in result.stdout
    assert "latency p50" in result.stdout
    assert "CPU-ms a frame" in result.stdout


def test_every_line_is_said_once_wherever_it_comes_up(capsys: pytest.CaptureFixture[str]) -> None:
    show = _Status()
    for notes in (
        ["source", "sink"],
        ["source", "lost", "sink"],
        ["source", "lost", "lost", "sink"],
    ):
        show({}, notes)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"note: {note}" for note in ("source", "sink", "lost", "lost")]


def test_lines_for_people_are_bounded() -> None:
    notes = Notes()
    for index in range(1000):
        notes.add(f"line {index}")
    notes.add("line 1", once=True)
    assert len(notes) == MAX_LINES
    assert notes[:2] == ["line 0", "line 1"]
    assert "left out" in notes[-1]


class TestFigures:
    def test_percentiles_are_right_within_two_percent(self, rng: np.random.Generator) -> None:
        times = rng.lognormal(3, 1, 5000)
        histogram = Histogram()
        for ms in times:
            histogram.add(ms)
        for percent in (50, 95, 99):
            found, exact = histogram.percentile(percent), np.percentile(times, percent)
            assert found == pytest.approx(exact, rel=0.025)
        assert histogram.summary()["max"] == pytest.approx(times.max(), abs=0.01)
        assert Histogram().summary() == {"p50": None, "p95": None, "p99": None, "max": None}

    def test_stages_add_up_and_intervals_are_their_own(self) -> None:
        accounting = Accounting()
        times = FrameTimes(1.0, 1.01, 1.04, 1.05, 1.06)
        assert sum(times.stages_ms().values()) == pytest.approx(2 * 60)
        accounting.frame_presented(times)
        assert accounting.ahead_seconds() == pytest.approx(0.05)
        assert accounting.end_interval()["latency"]["p50"] == 60
        assert accounting.end_interval()["latency"]["p50"] is None
        assert accounting.percentiles()["latency"]["p50"] == 60

    def test_a_boards_rails_zones_and_load(self, tmp_path: Path) -> None:
        """Files as JetPack 6 has them on an Orin."""
        rail = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
        zone = tmp_path / "sys/class/thermal/thermal_zone0"
        load = tmp_path / "sys/devices/platform/gpu.0"
        for folder in (rail, zone, load):
            folder.mkdir(parents=True)
        (rail / "in1_label").write_text("VDD_IN\n")
        (rail / "in1_input").write_text("5064\n")
        (rail / "curr1_input").write_text("1200\n")
        (zone / "type").write_text("gpu-thermal\n")
        (zone / "temp").write_text("51250\n")
        (load / "load").write_text("873\n")
        figures = DeviceFigures(Host(root=tmp_path))
        assert figures.read() == {
            "VDD_IN_power_w": pytest.approx(6.0768),
            "gpu_celsius": 51.25,
            "gpu_load_percent": 87.3,
        }
        figures.close()
