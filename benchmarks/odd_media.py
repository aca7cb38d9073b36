"""Upscale odd media and compare what comes out with what went in, by FFmpeg's own programs.

The media are made by `ffmpeg`: clocks that jump, pixel aspects, sound of many kinds, edit lists,
pauses, rotation, interlaced and 10-bit video. A folder of real files may be given as well. Every
file is upscaled into each container and judged without our own reader: frame count, times,
size, pixel aspect, colours, and where the sound is loud.

What is tried is reading and writing: the network is left out, each pixel becomes sixteen.

    python benchmarks/odd_media.py [FOLDER...] [--to mp4 mkv ...] [--only NAME...] [--no-drawn]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CONTAINERS = ("mp4", "mov", "mkv", "webm", "avi", "ts")
LARGEST_PIXELS, LONGEST_S = 1_000_000, 60
"""Larger and longer real files are passed over, which is said."""

SOUND_SHIFTS_S = {"avi": 0.045, "ts": 0.022}
"""How far sound may seem to lie from the first picture: avi moves pictures by up to half their time
and shows the first one from 0 on; of ts `ffmpeg` leaves out a packet's time of silence at the
beginning, the times in the file are right."""

TIME_LIMITS_S = {"mkv": 0.0011, "webm": 0.0011, "ts": 0.0002, "avi": 1.0}
"""How far a frame's time may be off; avi holds a rate, so that its count alone is judged."""

ASPECT_LIMIT, COLOUR_LIMIT, SOUND_LIMIT, SOUND_WINDOW_S = 0.01, 4.0, 0.3, 0.1
"""Relative; mean levels of a picture; loudness within a window, of the loudest; its length."""

FLASH = "color=gray:s=64x48:r=25:d={0},drawbox=c=white:t=fill:enable='between(t,1,1.2)'"
BEEP = "aevalsrc='0.5*sin(2*PI*1000*t)*between(t,1,1.2)':d={0}:s=48000"

Levels = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """A file that `ffmpeg` makes of flashes and beeps."""

    suffix: str
    arguments: str = ""
    sound: str = "-c:a aac"
    picture: str = "-c:v libx264 -g 25 -bf 2"
    parts: tuple[tuple[float, float], ...] = ()
    """Start on the clock and seconds of sound of transport streams that are joined."""
    cut_s: float = 0
    """Seconds an edit list hides."""
    as_read: bool = False
    """Whether the file's own times are the truth: ffmpeg writes others than it draws."""


DRAWN = {
    "joined_back": Drawn("ts", parts=((50, 1.4), (10, 2))),
    "joined_hour_back": Drawn("ts", parts=((7200, 1.4), (3600, 2)), sound="-c:a mp2"),
    "joined_hour_ahead": Drawn("ts", parts=((10, 2), (3610, 1.4))),
    "joined_half_second": Drawn("ts", parts=((10, 1.4), (11.5, 2))),
    "joined_three": Drawn("ts", parts=((95000, 2), (3600, 1.4), (100, 2)), sound="-c:a ac3"),
    "wrapping_clock": Drawn("ts", "-output_ts_offset 95441.4", sound="-c:a mp2"),
    "aspect_64_45": Drawn("mp4", "-vf setsar=64/45"),
    "aspect_8_9": Drawn("mkv", "-vf setsar=8/9"),
    "edit_list": Drawn("mp4", cut_s=0.61),
    "truehd": Drawn("mkv", sound="-c:a truehd -strict -2"),
    "flac": Drawn("mkv", sound="-c:a flac"),
    "opus": Drawn("mkv", sound="-c:a libopus"),
    "vorbis": Drawn("mkv", sound="-c:a libvorbis"),
    "eac3": Drawn("ts", sound="-c:a eac3"),
    "six_channels": Drawn("ts", sound="-c:a aac -ac 6"),
    "pcm_24": Drawn("mov", sound="-c:a pcm_s24be"),
    "mulaw": Drawn("mov", sound="-c:a pcm_mulaw"),
    "alac": Drawn("mov", sound="-c:a alac"),
    "wma": Drawn("wmv", sound="-c:a wmav2", picture="-c:v wmv2"),
    "ten_bits": Drawn("mp4", picture="-c:v libx265 -x265-params log-level=0 -pix_fmt yuv420p10le"),
    "full_range": Drawn("mkv", picture="-c:v libx264 -pix_fmt yuvj420p"),
    "vp9": Drawn("webm", picture="-c:v libvpx-vp9 -b:v 200k", sound="-c:a libopus"),
    "mpeg2_program": Drawn("mpg", picture="-c:v mpeg2video", sound="-c:a mp2"),
    "flv": Drawn("flv", picture="-c:v flv1", sound="-c:a libmp3lame -ar 44100"),
    "mpeg4_avi": Drawn("avi", picture="-c:v mpeg4", sound="-c:a libmp3lame", as_read=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--to", nargs="+", default=list(CONTAINERS), choices=CONTAINERS)
    parser.add_argument("--only", nargs="+", help="names of drawn files")
    parser.add_argument("--no-drawn", action="store_true", help="real files alone")
    arguments = parser.parse_args()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, _repeating() as upscaler:
        for source in _sources(arguments, Path(folder)):
            for container in arguments.to:
                outcome = _try(upscaler, source, Path(folder) / f"out.{container}")
                outcomes[outcome.partition(":")[0].partition(" (")[0]] += 1
                print(f"{source.name} -> {container}: {outcome}", flush=True)
    print(f"{outcomes.total()} outputs: {json.dumps(dict(outcomes))}")
    sys.exit(bool(set(outcomes) - {"right", "refused", "passed over"}))


def _sources(arguments: argparse.Namespace, folder: Path) -> Iterator[Path]:
    if not arguments.no_drawn:
        for name in arguments.only or DRAWN:
            yield draw(name, folder)
    for each in arguments.folders:
        yield from sorted(path for path in each.rglob("*") if path.is_file())


def draw(name: str, folder: Path) -> Path:
    """Make one of `DRAWN` with ffmpeg."""
    drawn = DRAWN[name]
    path = folder / f"{name}.{drawn.suffix}"
    if drawn.parts:
        pieces = []
        for start, sound_s in drawn.parts:
            _ffmpeg(path, drawn, 2, sound_s, f"-output_ts_offset {start} -f mpegts")
            pieces.append(path.read_bytes())
        path.write_bytes(b"".join(pieces))
    elif drawn.cut_s:
        whole = path.with_name(f"whole_{path.name}")
        _ffmpeg(whole, drawn, 3, 3, drawn.arguments)
        _run(f"ffmpeg -v error -y -ss {drawn.cut_s} -i".split(), whole, "-c", "copy", path)
        whole.unlink()
    else:
        _ffmpeg(path, drawn, 4, 4, drawn.arguments)
    return path


def _ffmpeg(path: Path, drawn: Drawn, seconds: float, sound_s: float, arguments: str) -> None:
    inputs = ["-f", "lavfi", "-i", FLASH.format(seconds), "-f", "lavfi", "-i", BEEP.format(sound_s)]
    options = f"{drawn.picture} {drawn.sound} {arguments}".split()
    _run(["ffmpeg", "-v", "error", "-y"], *inputs, *options, path)


def _run(command: list[str], *more: object) -> bytes:
    done = subprocess.run([*command, *map(str, more)], capture_output=True, check=False)
    if done.returncode and command[0] == "ffmpeg" and "-y" in command:
        raise SystemExit(f"ffmpeg failed: {done.stderr.decode()[-300:]}")
    return done.stdout


def _try(upscaler: Any, source: Path, output: Path) -> str:
    from adcvsr.errors import AdcVsrError

    before, drawn = facts(source), DRAWN.get(source.stem)
    if drawn is None and (before.pixels > LARGEST_PIXELS or before.seconds > LONGEST_S):
        return f"passed over: {before.pixels} pixels, {before.seconds:.0f} s"
    output.unlink(missing_ok=True)
    try:
        notes = upscaler.upscale_file(source, output, cut_reset=False).notes
    except AdcVsrError as error:
        return f"refused: {error}"
    faults = list(compare(before, facts(output), output.suffix[1:], drawn))
    said = "; ".join(note for note in notes if not note.startswith("variant "))
    return ("wrong: " + ", ".join(faults) if faults else "right") + (f" ({said})" if said else "")


@contextmanager
def _repeating() -> Iterator[Any]:
    """An upscaler that makes sixteen pixels of each."""
    from adcvsr.arrays import Frame
    from adcvsr.runtime.processing.processor import StreamProcessor
    from adcvsr.runtime.sessions.frames import check_frame
    from adcvsr.runtime.upscaler import Upscaler

    class Repeated(StreamProcessor):
        def push(self, frame: Frame) -> Iterator[Frame]:
            check_frame(frame)
            yield np.ascontiguousarray(frame.repeat(4, 0).repeat(4, 1))

    with Upscaler("nano", threads=1) as upscaler:
        upscaler._processor = Repeated(upscaler.session)  # type: ignore[arg-type]
        yield upscaler


@dataclass(frozen=True)
class Facts:
    """What FFmpeg's programs find in a file."""

    times: list[float]
    size: tuple[int, int]
    aspect: Fraction
    seconds: float
    streams: Counter[str]
    colours: Levels
    """Means of the first picture's 4x4 parts, (16, 3)."""
    sound: Levels
    """8,000 a second, from the first picture on."""

    @property
    def pixels(self) -> int:
        """Of a picture."""
        return self.size[0] * self.size[1]


def facts(path: Path) -> Facts:
    """Look into a file with ffprobe and ffmpeg."""
    probe = ["ffprobe", "-v", "quiet", "-of", "json"]
    shown = json.loads(
        _run(probe, "-select_streams", "V:0", "-show_frames", "-show_streams", path) or b"{}"
    )
    everything = json.loads(_run(probe, "-show_streams", "-show_format", path) or b"{}")
    video = (shown.get("streams") or [{}])[0]
    times = [
        float(frame["best_effort_timestamp_time"])
        for frame in shown.get("frames", [])
        if "best_effort_timestamp_time" in frame
    ]
    timed = bool(times)
    if not timed:  # avi: the rate alone
        rate = float(Fraction(video.get("avg_frame_rate", "25/1").replace("0/0", "25/1")))
        times = [n / rate for n in range(len(shown.get("frames", [])))]
    rotated = any(abs(s.get("rotation", 0)) % 180 == 90 for s in video.get("side_data_list", []))
    size = (int(video.get("width", 0)), int(video.get("height", 0)))
    aspect = Fraction(video.get("sample_aspect_ratio", "1:1").replace(":", "/").replace("0/1", "1"))
    if rotated:
        size, aspect = size[::-1], 1 / aspect
    first = times[0] if timed else float(video.get("start_time") or 0)
    begin = first - float(everything.get("format", {}).get("start_time") or 0)
    return Facts(
        times,
        size,
        aspect,
        float(everything.get("format", {}).get("duration") or 0),
        Counter(s["codec_type"] for s in everything.get("streams", []) if _is_there(s)),
        _colours(path),
        _sound(path, begin),
    )


def _is_there(stream: dict[str, Any]) -> bool:
    """Whether a stream is sound that says what it is, or another stream."""
    return stream["codec_type"] != "audio" or stream.get("sample_rate", "0") != "0"


def _colours(path: Path) -> Levels:
    scale = "scale=4:4:flags=area+accurate_rnd+full_chroma_int,format=rgb24"
    command = ["ffmpeg", "-v", "quiet", "-i"]
    raw = _run(command, path, "-vf", scale, "-frames:v", "1", "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.uint8).astype(float).reshape(-1, 3)


def _sound(path: Path, begin: float) -> Levels:
    resample = ["-af", "aresample=8000:async=1:first_pts=0", "-ac", "1", "-f", "s16le", "-"]
    raw = _run(["ffmpeg", "-v", "quiet", "-i"], path, "-map", "0:a:0", *resample)
    levels = np.frombuffer(raw[: len(raw) // 2 * 2], np.int16).astype(float)
    return levels[max(round(begin * 8000), 0) :]


def _loudness(levels: Levels) -> Levels:
    """Of each window."""
    window = round(8000 * SOUND_WINDOW_S)
    parts = levels[: len(levels) // window * window].reshape(-1, window)
    return np.sqrt((parts * parts).mean(1)) if len(parts) else np.zeros(0)


def compare(
    before: Facts, after: Facts, container: str, drawn: Drawn | None = None
) -> Iterator[str]:
    """Yield what of an output is wrong."""
    yield from _compare_times(before.times, after.times, container, drawn)
    if after.size != (4 * before.size[0], 4 * before.size[1]):
        yield f"size {after.size} of {before.size}"
    if abs(after.aspect / before.aspect - 1) > ASPECT_LIMIT:
        yield f"pixel aspect {after.aspect} of {before.aspect}"
    if before.colours.shape == after.colours.shape and len(before.colours):
        worst = float(np.abs(before.colours - after.colours).max())
        if worst > COLOUR_LIMIT:
            yield f"colours are off by {worst:.1f} levels"
    if after.streams["audio"] != before.streams["audio"]:
        yield f"{after.streams['audio']} sounds of {before.streams['audio']}"
    elif drawn is not None and drawn.parts:
        yield from _beeps(after)
    elif before.streams["audio"]:
        yield from _compare_sound(before.sound, after.sound, SOUND_SHIFTS_S.get(container, 0))


def _compare_times(
    before: list[float], after: list[float], container: str, drawn: Drawn | None
) -> Iterator[str]:
    limit = TIME_LIMITS_S.get(container, 0.0006)
    if drawn is not None and not (
        drawn.cut_s or drawn.as_read
    ):  # what was drawn is known better than what is read
        before = [n / 25 for n in range(50 * len(drawn.parts) or 100)]
        # A sound that is longer than its picture makes a gap of less than a packet at a joint.
        limit += 0.05 * bool(drawn.parts) + 0.0006
    if len(before) != len(after):
        yield f"{len(after)} frames of {len(before)}"
    elif before:
        old, new = (np.array(times) - times[0] for times in (before, after))
        if (worst := float(np.abs(new - old).max())) > limit:
            yield f"times are off by {worst:.4f} s"


def _compare_sound(before: Levels, after: Levels, shift_s: float) -> Iterator[str]:
    """Hold loudness against loudness, at the best of the shifts that are allowed."""
    wanted, most = _loudness(before), round(8000 * shift_s)
    differences = []
    for shift in range(-most, most + 1, 40):
        moved = np.pad(after, (-shift, 0)) if shift < 0 else after[shift:]
        found = _loudness(moved)
        shared = min(len(wanted), len(found)) - 1
        if shared < len(wanted) - 3:
            yield f"sound of {max(shared, 0) * SOUND_WINDOW_S:.1f} s"
            return
        if shared > 0 and wanted.max() > 0:
            differences.append(float(np.abs(wanted[:shared] - found[:shared]).max() / wanted.max()))
    if differences and min(differences) > SOUND_LIMIT:
        yield f"sound differs by {min(differences):.2f}"


def _beeps(after: Facts) -> Iterator[str]:
    """One second into each two seconds of a joined file."""
    loudness = _loudness(after.sound)
    loud = np.flatnonzero(loudness > loudness.max() / 2) * SOUND_WINDOW_S
    begins = loud[np.flatnonzero(np.diff(loud, prepend=-1) > 0.5)]
    wanted = 1 + 2 * np.arange(len(after.times) // 50)
    if len(begins) != len(wanted) or np.abs(begins - wanted).max() > 0.15:
        yield f"beeps at {', '.join(f'{b:.1f}' for b in begins)} s"


if __name__ == "__main__":
    main()
