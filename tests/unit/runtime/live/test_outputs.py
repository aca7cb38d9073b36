"""Several sinks of one stream: a slow one misses pictures alone, a blocking one holds up none."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adcvsr.cli.commands import load_command
from adcvsr.cli.live import SinkAddress
from adcvsr.errors import ConfigError, OutputNotWritableError
from adcvsr.pictures.clips import read_clip
from adcvsr.runtime.live.accounting import prometheus_text
from adcvsr.runtime.live.live_report import LiveOptions, LiveReport
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.pattern import read_time
from adcvsr.runtime.live.sink import open_sinks
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from live_streams import free_port, write_coded_clip

SOURCE = "test://?size=64x64&fps=40&frames=40"


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("nano", variant="fp32-onnx", threads=1) as ready:
        yield ready


def balanced(report: LiveReport) -> bool:
    lost = sum(count for reason, count in report.drops.items() if reason != "damaged")
    return report.captured == report.presented + lost + report.unfinished


def slowed(sink: Any, wait: Callable[[], Any]) -> None:
    """Have a sink wait before it presents."""
    present = sink.present

    def present_late(encoded: object) -> bool:
        wait()
        return bool(present(encoded))

    sink.present = present_late


def test_a_file_and_a_page_get_every_picture(upscaler: Upscaler, tmp_path: Path) -> None:
    clip = write_coded_clip(tmp_path / "in.mp4", frames=12, fps=60)
    files = [tmp_path / "a.mp4", tmp_path / "b.mkv"]
    sinks = [*map(str, files), f"http://127.0.0.1:{free_port()}"]
    encode = EncodeOptions(crf=30)  # for the files; a page has no such choice
    run = LiveRun(upscaler, str(clip), sinks, LiveOptions(policy="every"), encode=encode, offer=[])
    report = run.run()
    assert (report.captured, report.presented, report.drops) == (12, 12, {})
    for file in files:
        assert [read_time(picture) for picture in read_clip(file)] == list(range(12))
    assert [(each["presented"], each["drops"]) for each in report.sinks] == [(12, {})] * 3
    assert [each["encoder"] for each in report.sinks] == ["libx264", "libx264", "mjpeg"]
    assert report.sink == ", ".join([*map(str, files), run.sinks[2].address.text])


def test_a_slow_sink_misses_pictures_alone(upscaler: Upscaler) -> None:
    run = LiveRun(upscaler, SOURCE, ["null://", "null://"])
    slowed(run.sinks[1], lambda: time.sleep(0.3))
    report = run.run()
    fast, slow = report.sinks
    assert balanced(report)
    assert report.presented == fast["presented"]
    assert not fast["drops"]
    assert slow["drops"]["newer"] >= 1
    assert slow["presented"] + slow["drops"]["newer"] == fast["presented"]
    assert fast["ms"]["present"]["p50"] < 150 < slow["ms"]["present"]["p50"]
    record = run.record({})
    text = prometheus_text([record], [run.accounting])
    missed = slow["drops"]["newer"]
    assert f'adcvsr_sink_frames_dropped_total{{sink="null://",reason="newer"}} {missed}' in text
    assert f'adcvsr_sink_frames_presented_total{{sink="null://"}} {fast["presented"]}' in text


def test_with_every_the_slowest_sets_the_pace_and_nothing_is_missed(upscaler: Upscaler) -> None:
    options = LiveOptions(policy="every")
    run = LiveRun(upscaler, "test://?size=64x64&fps=40&frames=12", ["null://", "null://"], options)
    slowed(run.sinks[1], lambda: time.sleep(0.05))
    report = run.run()
    assert [each["presented"] for each in report.sinks] == [12, 12]
    assert report.drops == {}


def test_a_sink_that_blocks_for_ever_holds_up_none_and_is_left_behind(
    upscaler: Upscaler, tmp_path: Path
) -> None:
    released = threading.Event()
    output = tmp_path / "out.mkv"
    run = LiveRun(upscaler, SOURCE, [str(output), "null://"])
    run.sinks[1].patience_s = 0.5
    slowed(run.sinks[1], released.wait)
    try:
        with pytest.raises(OutputNotWritableError, match=r"'null://' has taken nothing for 0.5 s"):
            run.run()
        file, blocked = (output.figures() for output in run.stages.outputs)
        assert file["presented"] == len(list(read_clip(output))) == run.accounting.presented > 5
        assert blocked["presented"] == 0
        assert blocked["drops"]["newer"] >= 1
        made = file["presented"] + sum(file["drops"].values())
        assert sum(blocked["drops"].values()) == made - 1  # the one that it holds
    finally:
        released.set()


def test_the_only_sink_blocks_and_the_run_ends_all_the_same(upscaler: Upscaler) -> None:
    released = threading.Event()
    for policy in ("newest", "every"):
        options = LiveOptions(policy=policy, duration_s=0.3)  # type: ignore[arg-type]
        run = LiveRun(upscaler, "test://?size=64x64&fps=40", "null://", options)
        run.sink.patience_s = 0.3
        slowed(run.sink, released.wait)
        with pytest.raises(OutputNotWritableError, match="left behind"):
            run.run()
    released.set()


def test_one_that_fails_ends_the_stream_and_the_others_keep_what_they_have(
    upscaler: Upscaler, tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    run = LiveRun(upscaler, "test://?size=64x64&fps=40", [str(output), "null://"])

    def fail() -> None:
        if run.accounting.presented >= 5:
            raise OutputNotWritableError("the far end is gone")

    slowed(run.sinks[1], fail)
    with pytest.raises(OutputNotWritableError, match="the far end is gone"):
        run.run()
    assert len(list(read_clip(output))) >= 5


def test_two_of_one_place_and_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    for texts in ([str(path), f"file:{tmp_path}/./out.mp4"], ["udp://127.0.0.1:5"] * 2):
        with pytest.raises(ConfigError, match="two sinks are"):
            open_sinks(texts, EncodeOptions())
    with pytest.raises(ConfigError, match="needs a sink"):
        open_sinks([], EncodeOptions())
    with pytest.raises(ConfigError, match="leave encoder options out"):
        open_sinks([f"http://127.0.0.1:{free_port()}"], EncodeOptions(crf=20))
    port = free_port()
    with pytest.raises(ConfigError, match="no sink 'nul"):
        open_sinks([f"http://127.0.0.1:{port}", "nul://"], EncodeOptions())
    for sink in open_sinks([f"http://127.0.0.1:{port}"], EncodeOptions()):  # the port is free
        sink.close()


def test_the_command_takes_several(tmp_path: Path) -> None:
    clip = write_coded_clip(tmp_path / "in.mp4", frames=5, fps=60)
    arguments = ["--source", str(clip), "--policy", "every", "--model", "nano"]
    sinks = ["--sink", str(tmp_path / "a.mkv"), "--sink", "null://", "--sink", "null://"]
    result = CliRunner().invoke(load_command("live"), [*arguments, *sinks, "--json"])
    assert result.exit_code == 0, result.output
    assert [each["presented"] for each in json.loads(result.stdout)["sinks"]] == [5, 5, 5]
    result = CliRunner().invoke(load_command("live"), [*arguments, *sinks, "--overwrite"])
    assert "a.mkv: 5 frames, latency p50" in result.stdout
    same = ["--sink", str(tmp_path / "b.mkv"), "--sink", str(tmp_path / "b.mkv")]
    result = CliRunner().invoke(load_command("live"), [*arguments, *same])
    assert result.exit_code == 1
    assert "are both" in str(result.exception)


def test_the_environment_holds_one_sink_or_several() -> None:
    split = SinkAddress().split_envvar_value
    assert split("my recording.mkv") == ["my recording.mkv"]
    assert split("http://127.0.0.1:8080  file:my recording.mkv\nnull://") == [
        "http://127.0.0.1:8080",
        "file:my recording.mkv",
        "null://",
    ]
