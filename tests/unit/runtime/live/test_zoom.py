"""A part of the picture is upscaled: files and streams, chosen at first or while it runs."""

from __future__ import annotations

import json
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from adcvsr.cli.commands import load_command
from adcvsr.errors import ConfigError
from adcvsr.pictures.clips import read_clip
from adcvsr.pictures.crop import Crop
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.live.live_report import LiveOptions, LiveReport
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.sink import FinishedFrame
from adcvsr.runtime.live.zoom import Zoom
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.read_options import ReadOptions
from adcvsr.runtime.video.source import FileSource, SourceFrame
from browser import Browser
from live_streams import free_port
from video_facts import VideoMaker


@given(st.integers(0, 3), st.data())
def test_a_part_of_a_turned_picture_is_found_in_the_stored_one(turns: int, data: Any) -> None:
    stored = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3)
    shown = np.ascontiguousarray(np.rot90(stored, turns))
    height, width = shown.shape[:2]
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    crop = Crop(
        data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)), left, top
    )
    part = crop.turned_back(turns, width, height).of(stored)
    assert np.array_equal(np.rot90(part, turns), crop.of(shown))
    assert Crop.parse(str(crop)) == crop


@pytest.mark.parametrize(
    "text",
    ["", "10x10", "10x10+5", "0x5+0+0", "5x0+0+0", "-5x5+0+0", "5x5-1+0", "5x5+0+0x", "axb+c+d"],
)
def test_what_is_no_part_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected WIDTHxHEIGHT\+LEFT\+TOP"):
        Crop.parse(text)
    arguments = ["--source", "test://", "--sink", "null://", "--crop", text]
    result = CliRunner().invoke(load_command("live"), arguments)
    assert result.exit_code == 2
    assert "320x180+100+50" in result.output


@pytest.mark.parametrize("rotation", [0, 90, 180])
def test_a_files_part_is_that_of_the_shown_picture(make_video: VideoMaker, rotation: int) -> None:
    video = make_video(size=(48, 32), rotation=rotation)
    crop = Crop(15, 9, 4, 11)
    with FileSource(video) as whole, FileSource(video, ReadOptions(crop=crop)) as part:
        assert whole.info.rotation % 360 == part.info.rotation % 360 == rotation % 360
        turns = whole.info.rotation // 90
        pairs = zip(whole, part, strict=True)
        frames = [(a.rgb, b.rgb) for a, b in pairs if isinstance(a, SourceFrame)]  # type: ignore[union-attr]
        assert (part.info.width, part.info.height) == frames[0][1].shape[1::-1]
    assert frames
    for full, cut in frames:
        assert np.array_equal(
            np.rot90(cut, turns), crop.of(np.ascontiguousarray(np.rot90(full, turns)))
        )


def test_upscale_gives_the_part_alone(make_video: VideoMaker, tmp_path: Path) -> None:
    video, output = make_video(size=(48, 32)), tmp_path / "out.mkv"
    arguments = [str(video), str(output), "--crop", "20x12+8+6", "--model", "nano"]
    result = CliRunner().invoke(load_command("upscale"), arguments)
    assert result.exit_code == 0, result.output
    assert "20x12 -> 80x48" in result.stdout
    assert {picture.shape for picture in read_clip(output)} == {(48, 80, 3)}
    arguments[3] = "20x12+29+6"
    result = CliRunner().invoke(load_command("upscale"), [*arguments, "--overwrite"])
    assert result.exit_code == 1
    assert "20x12+29+6 reaches to 49,18, outside of" in str(result.exception)
    assert "48x32" in str(result.exception)


def test_a_part_asked_for_while_it_runs() -> None:
    said: list[str] = []
    zoom = Zoom(None, said.append)
    assert zoom.part("cam", 64, 48) is None
    for crop in ("32x24+0+0", "32x24+8+0", "16x16+8+0"):  # a place, a size
        zoom.ask(crop)
        assert str(zoom.part("cam", 64, 48)) == crop
        assert zoom.changed
        zoom.part("cam", 64, 48)
        assert not zoom.changed
    with pytest.raises(ConfigError, match="outside of 'the picture' with its 64x48"):
        zoom.ask("64x48+1+0")
    assert str(zoom.part("cam", 64, 48)) == "16x16+8+0"
    assert zoom.part("cam", 16, 16) is None  # the camera changed its size
    assert zoom.changed
    assert "16x16+8+0 is outside of 16x16: the whole picture is upscaled" in said
    with pytest.raises(ConfigError, match="'cam'"):
        Zoom(Crop(64, 48, 1, 0), said.append).part("cam", 64, 48)


def test_outside_of_the_first_frame_is_an_error_before_anything_runs() -> None:
    with Upscaler("nano", variant="fp32-onnx", threads=1) as upscaler:
        options = LiveOptions(crop=Crop(64, 64, 1, 0))
        with pytest.raises(ConfigError, match="outside of 'test://"):
            LiveRun(upscaler, "test://?size=64x64", "null://", options).run()


def ask(port: int, wish: object, **headers: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    kind = {"Content-Type": "application/json"}
    connection.request("POST", "/crop", json.dumps(wish), kind | headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_by_http_with_the_pages_rules_and_the_state_follows() -> None:
    """The stream's pictures are those of fresh runs on each part."""
    seen: list[FinishedFrame] = []
    token = "0123456789abcdef"
    with Upscaler("nano", variant="fp32-onnx", threads=1) as upscaler:
        port = free_port()
        sinks = ["null://", f"http://127.0.0.1:{port}?token={token}"]
        options = LiveOptions(crop=Crop(32, 24, 0, 0), policy="every", cut_reset=False)
        run = LiveRun(upscaler, "test://?size=64x64&fps=30", sinks, options, offer=[])
        news = threading.Condition()

        def encode(frame: FinishedFrame) -> FinishedFrame:
            with news:
                seen.append(frame)
                news.notify_all()
            return frame

        run.sinks[0].encode = encode  # type: ignore[method-assign]
        reports: list[LiveReport] = []
        thread = threading.Thread(target=lambda: reports.append(run.run()))
        thread.start()
        bearer = {"Authorization": f"Bearer {token}"}

        def wait(shape: tuple[int, int]) -> None:
            with news:
                assert news.wait_for(
                    lambda: [f.source.shape[:2] for f in seen[-2:]] == [shape] * 2, 60
                )

        wait((24, 32))
        assert ask(port, {"crop": None})[0] == 403
        assert ask(port, {"crop": None}, Origin="http://elsewhere", **bearer)[0] == 403
        for wish in (
            {},
            {"crop": 5},
            {"crop": "5x5"},
            {"crop": "64x64+1+0"},
            [],
            {"crop": None, "x": 1},
        ):
            status, text = ask(port, wish, **bearer)
            assert status == 400, wish
            assert "expected" in text or "outside of" in text
        status, text = ask(port, {"crop": "24x16+8+8"}, **bearer)
        assert (status, json.loads(text)) == (202, {"crop": "24x16+8+8", "size": [64, 64]})
        wait((16, 24))
        assert ask(port, {"crop": "24x16+9+8"}, **bearer)[0] == 202  # another place
        with news:
            assert news.wait_for(lambda: run.accounting.resets["crop"] == 2, 60)
        assert ask(port, {"crop": None}, **bearer)[0] == 202
        wait((64, 64))
        run.end("enough")
        thread.join()
    (report,) = reports
    assert report.resets == {"crop": 3}
    assert any("upscaled is now 24x16+9+8" in line for line in report.notes)
    with Upscaler("nano", variant="fp32-onnx", threads=1) as fresh:
        # A past of before would show: the first picture of each part is a fresh network's.
        shapes = [frame.source.shape for frame in seen]
        firsts = [i for i in range(len(seen)) if i == 0 or shapes[i] != shapes[i - 1]]
        assert len(firsts) == 3
        for index in firsts:
            fresh.reset()
            assert np.array_equal(fresh(seen[index].source), seen[index].picture)


def test_a_part_is_contiguous_and_reaches_up_to_the_edges() -> None:
    picture = draw_clip(1, 48, 64)[0]
    assert Crop(64, 48, 0, 0).of(picture).flags.c_contiguous
    assert Crop(3, 5, 61, 43).of(picture).shape == (5, 3, 3)


def test_in_a_browser_a_part_is_typed(browser: Browser) -> None:
    typed = """
        const field = document.getElementById("crop");
        field.value = "%s";
        document.getElementById("zoom").requestSubmit();
    """
    width = "return document.getElementById('canvas').width === %d"
    port = free_port()
    with Upscaler("nano", variant="fp32-onnx", threads=1) as upscaler:
        sink = f"http://127.0.0.1:{port}"
        run = LiveRun(upscaler, "test://?size=96x64&fps=10", sink, LiveOptions(), offer=[])
        thread = threading.Thread(target=run.run)
        thread.start()
        try:
            browser.open(f"{sink}/")
            browser.wait(width % 384)
            browser.wait("return !document.getElementById('zoom').hidden")
            browser.run(typed % "48x32+90+0")
            said = browser.wait("return document.getElementById('switched').textContent")
            assert "outside of 'the picture' with its 96x64" in said
            browser.run(typed % "48x32+20+30")
            browser.wait(width % 192)
            assert browser.run("return document.getElementById('crop').value") == "48x32+20+30"
            browser.run(typed % "")
            browser.wait(width % 384)
        finally:
            run.end("enough")
            thread.join()
    assert run.accounting.resets["crop"] == 2
