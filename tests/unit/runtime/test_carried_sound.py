"""Sound on its way into every container: copied, encoded anew, damaged, silent, cut away."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from click.testing import CliRunner

from adcvsr.cli.commands import cli
from adcvsr.errors import OutputNotWritableError
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.sink import FileSink
from adcvsr.runtime.video.sound import is_adts
from video_facts import video_facts

SECONDS, RATE = 1.2, 48_000
BEEP = (0.4, 0.8)


@pytest.fixture(scope="module")
def upscaler() -> Any:
    with Upscaler("nano", threads=1) as ready:
        yield ready


def write_beep(
    path: Path,
    encoder: str,
    *,
    layout: str = "stereo",
    gap: bool = False,
    begin: float = 0,
    rate: int = RATE,
) -> Path:
    """Grey pictures that are white while a tone sounds; with a gap, sound is missing before it."""
    scaler = VideoReformatter()
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        sound: Any = container.add_stream(encoder, rate=rate)
        sound.layout = layout
        sound.codec_context.options = {"strict": "-2"}
        channels = sound.layout.nb_channels
        step = rate // 50
        for index in range(round(SECONDS * 50)):
            time = index / 50
            if index % 2 == 0:
                white = BEEP[0] <= time < BEEP[1]
                image = np.full((32, 32, 3), 255 if white else 80, np.uint8)
                picture = av.VideoFrame.from_ndarray(image, format="rgb24")
                picture.pts, picture.time_base = index // 2, Fraction(1, 25)
                container.mux(video.encode(scaler.reformat(picture, format="yuv420p")))
            if (gap and 0.1 < time < 0.3) or time < begin:
                continue
            times = time + np.arange(step) / rate
            wave = 0.5 * np.sin(2 * np.pi * 1000 * times) * ((times >= BEEP[0]) & (times < BEEP[1]))
            samples = (np.repeat(wave, channels)[None] * 32_767).astype(np.int16)
            heard = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            heard.sample_rate, heard.time_base = rate, Fraction(1, rate)
            heard.pts = index * step
            container.mux(sound.encode(heard))
        container.mux(video.encode())
        container.mux(sound.encode())
    return path


def beep_of(path: Path) -> tuple[float, float]:
    """When the tone begins and ends, from the first picture on."""
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
        # avi holds no times: PyAV's are late by the decoder's delay.
        begin = float(first.pts * first.time_base) if path.suffix != ".avi" else 0.0
    loud = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            levels = frame.to_ndarray().astype(float)
            scale = 1 if "flt" in frame.format.name else 2.0 ** (8 * frame.format.bytes - 1)
            if not frame.format.is_planar:
                levels = levels.reshape(-1, frame.layout.nb_channels).T
            assert frame.pts is not None
            time = float(frame.pts * frame.time_base) + np.arange(levels.shape[1]) / frame.rate
            loud += list(time[np.abs(levels[0]) / scale > 0.2] - begin)
    return min(loud), max(loud)


@pytest.mark.parametrize(
    ("encoder", "source", "target", "codec"),
    [
        ("flac", "in.mkv", "out.mkv", "flac"),
        ("flac", "in.mkv", "out.mov", "aac"),
        ("libopus", "in.mkv", "out.mov", "aac"),
        ("libopus", "in.mkv", "out.mp4", "opus"),
        ("flac", "in.mkv", "out.avi", "mp3float"),
        ("aac", "in.ts", "out.avi", "mp3float"),
        ("aac", "in.ts", "out.mp4", "aac"),
        ("aac", "in.ts", "out.mkv", "aac"),
        ("aac", "in.mp4", "out.ts", "aac"),
        ("aac", "in.mp4", "out.webm", "opus"),
        ("pcm_s24le", "in.mov", "out.mp4", "aac"),
        ("pcm_s16le", "in.mov", "out.ts", "aac"),
        ("ac3", "in.mkv", "out.webm", "opus"),
    ],
)
def test_every_container_gets_sound_in_step(
    upscaler: Upscaler, tmp_path: Path, encoder: str, source: str, target: str, codec: str
) -> None:
    path = write_beep(tmp_path / source, encoder)
    report = upscaler.upscale_file(path, tmp_path / target)
    with av.open(str(tmp_path / target)) as written:
        found = written.streams.audio[0].codec_context.codec.canonical_name
    assert found == codec.replace("mp3float", "mp3")
    anew = any("is encoded again" in note for note in report.notes)
    assert anew == (found != encoder.replace("lib", "")) or (found, anew) == ("aac", False)
    begin, end = beep_of(tmp_path / target)
    assert begin == pytest.approx(BEEP[0], abs=0.045)
    assert end == pytest.approx(BEEP[1], abs=0.045)
    assert report.frames == 30


@pytest.mark.parametrize("layout", ["mono", "5.1", "quad"])
def test_layouts(upscaler: Upscaler, tmp_path: Path, layout: str) -> None:
    """Those an encoder holds are kept; others are mixed to stereo, which is said."""
    path = write_beep(tmp_path / "in.mkv", "flac", layout=layout)
    report = upscaler.upscale_file(path, tmp_path / "out.mov")
    with av.open(str(tmp_path / "out.mov")) as written:
        channels = written.streams.audio[0].layout.nb_channels
    assert channels == {"mono": 1, "5.1": 6, "quad": 2}[layout]
    assert any(f"AAC, {layout if layout != 'quad' else 'stereo'}," in n for n in report.notes)


@pytest.mark.parametrize("encoder", ["aac", "mp2", "ac3", "pcm_s16le"])
def test_sound_that_begins_late_is_in_step_in_avi(
    upscaler: Upscaler, tmp_path: Path, encoder: str
) -> None:
    path = write_beep(tmp_path / "in.mkv", encoder, begin=0.3)
    report = upscaler.upscale_file(path, tmp_path / "out.avi")
    begin, end = beep_of(tmp_path / "out.avi")
    assert begin == pytest.approx(BEEP[0], abs=0.03)
    assert end == pytest.approx(BEEP[1], abs=0.03)
    assert any("avi holds neither a late beginning of sound" in note for note in report.notes)


def test_a_pause_of_a_broadcast_is_kept_in_avi(upscaler: Upscaler, tmp_path: Path) -> None:
    path = write_beep(tmp_path / "in.ts", "mp2", gap=True)
    upscaler.upscale_file(path, tmp_path / "out.avi")
    assert beep_of(tmp_path / "out.avi")[0] == pytest.approx(BEEP[0], abs=0.03)


def test_aac_that_changes_its_channels_and_rate_is_encoded_anew(
    upscaler: Upscaler, tmp_path: Path
) -> None:
    first = write_beep(tmp_path / "a.ts", "aac", layout="mono")
    same = upscaler.upscale_file(first, tmp_path / "same.mp4")
    assert not [note for note in same.notes if "encoded again" in note]
    second = write_beep(tmp_path / "b.ts", "aac", rate=32_000)
    joined = tmp_path / "in.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    report = upscaler.upscale_file(joined, tmp_path / "out.mp4")
    assert any("rate or channels change on the way" in note for note in report.notes)
    loud = beep_of(tmp_path / "out.mp4")
    assert loud[0] == pytest.approx(BEEP[0], abs=0.045)
    assert loud[1] == pytest.approx(SECONDS + BEEP[1], abs=0.1)
    with av.open(str(tmp_path / "out.mp4")) as written:
        wave = np.concatenate([f.to_ndarray()[0] for f in written.decode(audio=0)])
        rate = written.streams.audio[0].rate
    middle = round(rate * (SECONDS + 0.55))
    tone = wave[middle : middle + rate // 10]
    crossings = np.count_nonzero(np.diff(np.signbit(tone)))
    assert crossings == pytest.approx(200, abs=6), "1 kHz for a tenth of a second"


def test_lost_packets_do_not_make_sound_early(upscaler: Upscaler, tmp_path: Path) -> None:
    whole, holed = write_beep(tmp_path / "whole.mkv", "ac3"), tmp_path / "holed.mkv"
    with av.open(str(whole)) as reader, av.open(str(holed), "w") as writer:
        streams = [writer.add_stream_from_template(s) for s in reader.streams]
        count = 0
        for packet in reader.demux():
            count += packet.stream.type == "audio"
            if not packet.size or (packet.stream.type == "audio" and count in (3, 6, 9)):
                continue  # 32 ms each, before the tone
            packet.stream = streams[packet.stream.index]
            writer.mux(packet)
    begins = []
    for path in (whole, holed):
        upscaler.upscale_file(path, tmp_path / f"{path.stem}.webm")
        begins.append(beep_of(tmp_path / f"{path.stem}.webm")[0])
    assert begins[1] == pytest.approx(begins[0], abs=0.005)


def test_silence_that_a_copy_loses_is_said(upscaler: Upscaler, tmp_path: Path) -> None:
    path = write_beep(tmp_path / "in.mkv", "mp2", begin=0.3)
    options = EncodeOptions(audio="copy")
    report = upscaler.upscale_file(path, tmp_path / "out.avi", options=options)
    (note,) = [note for note in report.notes if "of silence in audio stream #1 are lost" in note]
    assert float(note.split()[0]) == pytest.approx(0.3, abs=0.03)
    whole = write_beep(tmp_path / "whole.mkv", "mp2")
    report = upscaler.upscale_file(whole, tmp_path / "whole.avi", options=options)
    assert not [note for note in report.notes if "audio" in note]


def test_what_lies_before_zero_does_not_move_avi(upscaler: Upscaler, tmp_path: Path) -> None:
    path = write_beep(tmp_path / "in.mp4", "aac")  # the first packet is the encoder's delay
    report = upscaler.upscale_file(path, tmp_path / "out.avi")
    assert not [note for note in report.notes if "encoded again" in note or "shifted" in note]
    assert beep_of(tmp_path / "out.avi")[0] == pytest.approx(BEEP[0], abs=0.012)


def test_a_gap_becomes_silence(upscaler: Upscaler, tmp_path: Path) -> None:
    path = write_beep(tmp_path / "in.mkv", "flac", gap=True)
    upscaler.upscale_file(path, tmp_path / "out.avi")
    begin, end = beep_of(tmp_path / "out.avi")
    assert begin == pytest.approx(BEEP[0], abs=0.06)
    assert end == pytest.approx(BEEP[1], abs=0.06)


@pytest.mark.parametrize(
    ("mode", "target", "kept"),
    [
        ("copy", "out.mov", 0),
        ("copy", "out.mkv", 1),
        ("none", "out.mkv", 0),
        ("auto", "out.mov", 1),
    ],
)
def test_audio_option(tmp_path: Path, mode: str, target: str, kept: int) -> None:
    path, output = write_beep(tmp_path / "in.mkv", "flac"), tmp_path / target
    done = CliRunner().invoke(cli, ["upscale", str(path), str(output), "--audio", mode])
    assert done.exit_code == 0, done.output
    with av.open(str(output)) as written:
        assert len(written.streams.audio) == kept
    said = "audio stream #1 is left out: mov does not take this flac" in done.stderr
    assert said == (mode == "copy" and not kept)


def sound_packets(path: Path, change: Callable[[bytearray, int], bool]) -> None:
    """Change the transport packets of the sound; `change` says which of them stay."""
    data = path.read_bytes()
    kept, count = [], 0
    for at in range(0, len(data), 188):
        packet = bytearray(data[at : at + 188])
        if (packet[1] & 31) << 8 | packet[2] == 0x101:
            if packet[1] & 0x40:
                count += 1
            if not change(packet, count):
                continue
        kept.append(bytes(packet))
    path.write_bytes(b"".join(kept))


@pytest.mark.parametrize("target", ["out.mp4", "out.mov", "out.mkv", "out.ts", "out.avi"])
def test_one_damaged_packet_costs_that_packet(
    upscaler: Upscaler, tmp_path: Path, target: str
) -> None:
    path = tmp_path / "in.ts"
    write_beep(path, "aac")

    def damage(packet: bytearray, count: int) -> bool:
        header = bytes(packet).find(b"\xff\xf1", 4)
        if count == 2 and packet[1] & 0x40 and header > 0:
            packet[header : header + 2] = b"\x00\x13"
        return True

    whole = video_facts(path).packets["audio"]
    sound_packets(path, damage)
    report = upscaler.upscale_file(path, tmp_path / target)
    assert report.frames == 30
    assert video_facts(tmp_path / target).packets["audio"] > whole // 2
    if target not in ("out.avi",):
        assert any("1 damaged packet of audio stream #1 is left out" in n for n in report.notes)
    begin, end = beep_of(tmp_path / target)
    assert begin == pytest.approx(BEEP[0], abs=0.12)
    assert end == pytest.approx(BEEP[1], abs=0.045)


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv", "out.ts", "out.avi"])
def test_a_silent_stream_is_left_out(upscaler: Upscaler, tmp_path: Path, target: str) -> None:
    path = write_beep(tmp_path / "in.ts", "aac")
    sound_packets(path, lambda packet, count: False)
    report = upscaler.upscale_file(path, tmp_path / target)
    assert report.frames == 30
    assert any("audio stream #1 is left out: no sound comes from it" in n for n in report.notes)


class TestRefusedByTheMuxer:
    """What the muxer refuses late, when a packet of another stream comes."""

    def refuse(self, monkeypatch: pytest.MonkeyPatch, of_kind: str) -> None:
        real, seen = FileSink._mux, [0]

        def mux(self: FileSink, packet: Any) -> None:
            container = self._container
            if (
                packet.stream.type == of_kind
                and (seen.__setitem__(0, seen[0] + 1), seen[0])[1] == 5
            ):

                class Refusing:
                    def mux(self, packet: Any) -> None:
                        raise av.error.InvalidDataError(1094995529, "Invalid data")

                self._container = Refusing()  # type: ignore[assignment]
            try:
                real(self, packet)
            finally:
                self._container = container

        monkeypatch.setattr(FileSink, "_mux", mux)

    def test_sound_is_left_out(
        self, upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_beep(tmp_path / "in.mp4", "aac")
        self.refuse(monkeypatch, "audio")
        report = upscaler.upscale_file(path, tmp_path / "out.mp4")
        assert any("1 packet is left out, which .mp4 refuses" in n for n in report.notes)
        assert len(video_facts(tmp_path / "out.mp4").times) == 30

    def test_a_lost_picture_is_an_error(
        self, upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_beep(tmp_path / "in.mp4", "aac")
        self.refuse(monkeypatch, "video")
        with pytest.raises(OutputNotWritableError, match="refused 1 of 30 packets"):
            upscaler.upscale_file(path, tmp_path / "out.mp4")
        assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_what_an_adts_header_is() -> None:
    frame = bytes([0xFF, 0xF1, 0x4C, 0x80, 0x01, 0x3F, 0xFC]) + bytes(10)
    length = (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5
    assert is_adts(frame) == (7 <= length <= len(frame))
    assert not is_adts(b"\x00\x13" + frame[2:])
    assert not is_adts(frame[:6])
    assert not is_adts(frame[:2] + bytes([0x3C | 0x40]) + frame[3:])


def test_sound_cut_away_by_an_edit_list_stays_away(upscaler: Upscaler, tmp_path: Path) -> None:
    """An mp4 whose edit list begins 0.4 s late: readers hide what lies before, and so do we."""
    source = tmp_path / "in.mp4"
    write_beep(tmp_path / "whole.mp4", "aac")
    # FFmpeg's muxer writes an edit list for what begins before zero.
    with av.open(str(tmp_path / "whole.mp4")) as whole, av.open(str(source), "w") as cut:
        streams = {s.index: cut.add_stream_from_template(s, opaque=True) for s in whole.streams}
        for packet in whole.demux():
            if packet.dts is None or packet.pts is None:
                continue
            shift = round(Fraction(2, 5) / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = streams[packet.stream.index]
            cut.mux(packet)
    with av.open(str(source)) as container:
        hidden = sum(p.is_discard for p in container.demux(audio=0))
    assert hidden > 10
    for name in ("out.mkv", "out.mp4"):
        report = upscaler.upscale_file(source, tmp_path / name)
        begin, end = beep_of(tmp_path / name)
        assert report.frames == len(video_facts(source).times) < 30
        assert end == pytest.approx(BEEP[1] - 0.4, abs=0.045), begin
        facts = video_facts(tmp_path / name)
        assert facts.times[0] < 0.05
        shifted = [n for n in report.notes if "times are shifted" in n]
        assert all(int(n.split("shifted by ")[1].split()[0]) < 50 for n in shifted)


def test_options_know_the_modes() -> None:
    assert EncodeOptions().audio == "auto"
