"""Use what is installed, as its first user would: python tests/smoke.py (see .ci/versions).

Doctor, a clip, a photograph with Exif, a live run, and metadata that is not UTF-8.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from fractions import Fraction
from importlib import metadata
from pathlib import Path

import av

from adcvsr.pictures.clips import read_image, write_clip, write_png
from adcvsr.pictures.pyav import open_input, side_data_names
from adcvsr.pictures.synthetic import draw_clip

EXIF = bytes.fromhex("ffe1 0022 457869660000 4d4d002a00000008 0001 0112 0003 00000001 0001 0000")
"""A JPEG's APP1 segment with one tag, the orientation."""


def adcvsr(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "adcvsr", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode or "Traceback" in done.stderr:
        raise SystemExit(f"adcvsr {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def frames_of(path: Path) -> int:
    with open_input(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def require(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"smoke: {what}")


def photo(path: Path) -> Path:
    context = av.VideoCodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = 48, 32, "yuvj420p"
    context.time_base = Fraction(1, 10)
    packets = [*context.encode(av.VideoFrame(48, 32, "yuvj420p")), *context.encode(None)]
    jpeg = b"".join(map(bytes, packets))
    path.write_bytes(jpeg[:2] + EXIF + bytes(4) + jpeg[2:])
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip, big = folder / "clip.mkv", folder / "big.mp4"
        write_clip(folder / "clip.mp4", draw_clip(5, 64, 96))
        remux(folder / "clip.mp4", clip)
        findings = json.loads(adcvsr("doctor", "--json", "--wait", "60"))["findings"]
        video = next(found for found in findings if found["name"] == "PyAV")
        require(video["mark"] == "ok" and video["data"]["clip"], f"doctor says {video}")
        adcvsr("upscale", str(clip), str(big))
        require(frames_of(big) == 5, f"{frames_of(big)} frames of 5")
        require(read_image(big).shape == (256, 384, 3), "the size is not four times")
        adcvsr("upscale", str(photo(folder / "photo.jpg")), str(folder / "photo.mp4"))
        require(frames_of(folder / "photo.mp4") == 1, "the photograph is lost")
        live = folder / "live.mkv"
        adcvsr("live", "--source", str(clip), "--sink", str(live))
        require(frames_of(live) > 0, "live wrote nothing")
        write_png(folder / "a.png", draw_clip(1, 64, 64)[0])
        adcvsr("evaluate", str(folder / "a.png"))
        adcvsr("plan", "--all")
        with open_input(str(clip)) as container:
            require("TITLE" in str(container.metadata), "metadata that is not UTF-8 is lost")
            side_data_names(next(container.decode(video=0)))
    names = ("av", "click", "filelock", "numpy", "rich", "onnxruntime")
    found = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    sys.stdout.write(f"Python {platform.python_version()}: {found}: works\n")


def remux(source: Path, target: Path) -> None:
    """Copy a clip into another container, with a title that is not UTF-8."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        writer.metadata["title"] = "TITLEMARK"
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                writer.mux(packet)
    target.write_bytes(target.read_bytes().replace(b"TITLEMARK", b"TITLE\xff\xfeRK"))


if __name__ == "__main__":
    main()
