"""Sinks of FFmpeg's muxers: HLS folders, RTMP against a server, virtual cameras."""

from __future__ import annotations

import shutil
import subprocess
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from adcvsr.errors import ConfigError, OutputExistsError, OutputNotWritableError
from adcvsr.pictures.clips import read_clip
from adcvsr.pictures.colour import SDR_BT709
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.live.pattern import read_time, write_time
from adcvsr.runtime.live.sink import FinishedFrame, open_sink
from adcvsr.runtime.live.sink_v4l2 import V4l2Sink
from adcvsr.runtime.video.encoders import EncodeOptions
from live_streams import free_port


def send(address: str, frames: int, fps: int) -> None:
    """Give a sink pictures with their numbers in them."""
    picture = draw_clip(1, 64, 96)[0]
    with open_sink(address, EncodeOptions(preset="ultrafast")) as sink:
        for index in range(frames):
            shown = picture.copy()
            write_time(shown, index)
            frame = FinishedFrame(shown, shown, index / fps, Fraction(fps), SDR_BT709)
            encoded = sink.encode(frame)
            assert sink.present(encoded)
        sink.finish()


class TestHls:
    def test_a_folder_holds_the_last_segments_and_plays(self, tmp_path: Path) -> None:
        send(f"hls:{tmp_path}?seconds=1&keep=3", 70, 10)
        segments = sorted(path.name for path in tmp_path.glob("*.ts"))
        listed = [
            line for line in (tmp_path / "index.m3u8").read_text().splitlines() if line[0] != "#"
        ]
        assert listed == [f"segment_{number:06d}.ts" for number in (4, 5, 6)]
        assert set(listed) <= set(segments)
        assert "segment_000000.ts" not in segments
        codes = [read_time(picture) for picture in read_clip(tmp_path / "index.m3u8")]
        assert codes == list(range(40, 70))

    def test_what_is_there_stays(self, tmp_path: Path) -> None:
        (tmp_path / "index.m3u8").touch()
        with pytest.raises(OutputExistsError, match="--overwrite"):
            open_sink(f"hls:{tmp_path}", EncodeOptions())
        with pytest.raises(OutputNotWritableError, match="create it first"):
            open_sink(f"hls:{tmp_path}/none", EncodeOptions())
        with pytest.raises(OutputNotWritableError, match="is a file; name a folder"):
            open_sink(f"hls:{tmp_path}/index.m3u8", EncodeOptions())
        with pytest.raises(ConfigError, match="expected 2 to 10000"):
            open_sink(f"hls:{tmp_path}?keep=1", EncodeOptions())


class TestRtmp:
    def test_a_server_gets_every_picture(self, tmp_path: Path) -> None:
        if shutil.which("ffmpeg") is None:
            pytest.skip("no ffmpeg, which is the server: apt-get install ffmpeg")
        url = f"rtmp://127.0.0.1:{free_port()}/live/key"
        command = ["ffmpeg", "-v", "error", "-listen", "1", "-i", url, "-c", "copy"]
        with subprocess.Popen([*command, str(tmp_path / "got.mkv")]) as server:
            for _ in range(100):
                try:
                    send(url, 30, 30)
                    break
                except OutputNotWritableError as error:
                    if "Connection refused" not in str(error):
                        raise
                    time.sleep(0.1)
            server.wait(10)
        assert [read_time(each) for each in read_clip(tmp_path / "got.mkv")] == list(range(30))

    def test_nobody_there_is_an_error_without_the_key(self) -> None:
        with pytest.raises(OutputNotWritableError, match="Connection refused") as caught:
            send(f"rtmp://127.0.0.1:{free_port()}/live/Qkey1234", 1, 30)
        assert "Qkey1234" not in str(caught.value)


class TestVirtualCamera:
    @pytest.mark.parametrize(
        ("device", "says"),
        [
            ("/dev/video99", "modprobe v4l2loopback"),
            ("/dev/null", "it refuses 96x64 yuv420p .* --output-size"),
            ("/tmp", "is no device"),
        ],
    )
    def test_what_is_no_output_device_is_told(self, device: str, says: str) -> None:
        with pytest.raises(OutputNotWritableError, match=says):
            write_to(device)

    def test_a_busy_device_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def busy(*_: object, **__: object) -> None:
            raise av.error.OSError(16, "Device or resource busy")

        monkeypatch.setattr("adcvsr.runtime.live.sink_v4l2.av.open", busy)
        with pytest.raises(OutputNotWritableError, match="another program holds it"):
            write_to("/dev/null")

    def test_a_device_gets_whole_frames_in_the_first_ones_size(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """By contract: FFmpeg's v4l2 muxer writes what its rawvideo muxer writes."""
        real, asked = av.open, []

        def opened(path: str, mode: str, **options: object) -> object:
            asked.append((path, mode, options))
            return real(str(tmp_path / "frames"), "w", format="rawvideo")

        monkeypatch.setattr("adcvsr.runtime.live.sink_v4l2.av.open", opened)
        flat = np.full((64, 96, 3), 200, np.uint8)
        with open_sink("v4l2:///dev/null", EncodeOptions()) as sink:
            for index, picture in enumerate((flat, flat, flat[:32])):
                frame = FinishedFrame(picture, picture, index / 30, Fraction(30), SDR_BT709)
                assert sink.present(sink.encode(frame))
            sink.finish()
        assert asked == [("/dev/null", "w", {"format": "v4l2"})]
        assert (sink.size, sink.copies) == ((96, 64), 1)
        data = np.frombuffer((tmp_path / "frames").read_bytes(), np.uint8).reshape(3, -1)
        assert data.shape[1] == 96 * 64 * 3 // 2
        assert (data[0] == data[1]).all()
        luma = data[:, : 96 * 64].reshape(3, 64, 96)
        assert np.ptp(luma[0]) == 0
        assert (luma[2, :10] == 16).all()  # letterboxed: black above

    def test_a_device_that_goes_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def gone(*_: object) -> None:
            raise av.error.OSError(19, "No such device")

        real = av.open
        monkeypatch.setattr(
            "adcvsr.runtime.live.sink_v4l2.av.open",
            lambda *_, **__: real("/dev/null", "w", format="rawvideo"),
        )
        picture = draw_clip(1, 64, 96)[0]
        with open_sink("v4l2:///dev/null", EncodeOptions()) as sink:
            encoded = sink.encode(FinishedFrame(picture, picture, 0.0, Fraction(30), SDR_BT709))
            monkeypatch.setattr(sink, "_container", SimpleNamespace(mux=gone, close=gone))
            with pytest.raises(OutputNotWritableError, match="No such device"):
                sink.present(encoded)

    def test_encoder_options_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="leave encoder options out"):
            open_sink("v4l2:///dev/null", EncodeOptions(crf=20))


def write_to(device: str) -> None:
    """Give a device one picture."""
    picture = draw_clip(1, 64, 96)[0]
    with open_sink(f"v4l2://{device}", EncodeOptions()) as sink:
        assert isinstance(sink, V4l2Sink)
        sink.encode(FinishedFrame(picture, picture, 0.0, Fraction(30), SDR_BT709))
