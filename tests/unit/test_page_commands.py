"""Every command of the how-to pages runs on small stand-ins, or is named here with what it needs.

The tutorials have a test of their own (test_tutorials.py), as have the Python examples
(test_python_page.py). Options of every command on every page are checked in test_readme.py.
"""

from __future__ import annotations

import re
import shlex
import shutil
import socket
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from foreign_networks import ncnn_upscaler, upscaler

from adcvsr.bundle import PACKAGED
from adcvsr.cli.commands import cli
from adcvsr.pictures.clips import write_png
from adcvsr.pictures.synthetic import draw_clip
from video_facts import VideoMaker

DOCS = Path(__file__).resolve().parents[2] / "docs"

RUN = (
    *("adopt", "bench", "doctor", "engines", "export", "files", "jobs", "live", "metrics"),
    *("profile", "quantization", "report", "usage", "windows-and-tiles"),
)
"""Pages whose commands run here, each page in a folder of its own."""

NEEDS = {
    "a camera, a server or a screen": r"rtsp://|v4l2://|csi://|gst:|udp://",
    "a GPU, or TensorRT's compiler": r"^(build|deploy)|tensorrt",
    "ModelOpt: tests/unit/export/modelopt": r"-trt|--target (orin|rtx)\S*$|--precision fp8|--fp16",
    "Ray: tests/unit/runtime/jobs/test_ray.py": r"--ray",
    "torch and minutes: test_tutorials.py, tests/unit/train": r"^train ",
    "published weights: tests/unit/model": r"^import |realesr",
    "10 GB of memory": r"--untrained paper|my-paper-bundle",
    "an ffmpeg with libvmaf": r"--ffmpeg",
    "a benchmark's clips: tests/unit/calibration/test_protocols.py": r"--protocol",
    "a run until Ctrl-C: test_tutorials.py, tests/unit/runtime/live": r"--page|^live --config",
    "a pipe: tests/unit/runtime/test_pipes.py": r" - ",
    "a quarter of an hour of every processor": r"^report$|^report -o",
    "the data the packaged networks were made on": r"clips/train|quantize nano ",
    "more than an hour of trials: tests/unit/export/test_search.py": r"^search |found/",
    "a statement's minutes: tests/unit/calibration/statement": r"--store",
    "a gate that a tiny set does not pass: tests/unit/export": r"^quantize ",
}
"""What a command that is not run here asks for, and where that is tested; by its words."""

SMALLER = (
    ("--start 1:30 --duration 10", "--start 0.1 --duration 0.1"),
    ("--start 10 --duration 5", "--start 0.1 --duration 0.1"),
    ("--duration 60", "--duration 0.5"),
    ("--crop 320x180+100+50", "--crop 32x32+16+16"),
    ("--reduce 4", "--reduce 1"),
    ("size=320x180", "size=64x64"),
    ("--centre 512", "--centre 64"),
    ("/mnt/", ""),
    ("theirs.json", "mine.json"),
    ("--range 0-255 --colour BGR", "--range 0-1 --colour RGB"),  # as the stand-in's are
)
SHORT = {
    "bench": ["--duration=0.1", "--size=32x32", "--no-start"],
    "profile": ["--duration=0.1", "--drift-frames=8", "--no-statement"],
    "calibrate": ["--runs=2", "--size=32x32"],
    "evaluate": ["--frames=4"],
}
"""What is added to a command that does not have it, for the sake of time."""

PLACES = {"BUNDLE": "nano", "nano-set": "my-set"}


def commands(page: str) -> Iterator[str]:
    """Words behind `adcvsr` of every command of a page's blocks."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if block.startswith("# Needs"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            told = re.split(r"\s#\s", line)[0]
            yield from (part.strip() for part in re.findall(r"(?:^|\| )adcvsr ([^|]+)", told))


def needs(command: str) -> str | None:
    """What a command asks for that is not here."""
    return next((why for why, words in NEEDS.items() if re.search(words, f"{command} ")), None)


def test_pages_that_are_not_run_have_only_commands_that_need_something() -> None:
    others = {page.stem for page in DOCS.glob("*.md")} - {*RUN, "decisions", "python"}
    left = [(page, each) for page in sorted(others) for each in commands(page) if not needs(each)]
    plain = {"inspect", "doctor", "job", "export", "blend"}  # run elsewhere, with these options
    assert [each for each in left if each[1].split()[0] not in plain] == []


def test_nothing_is_named_that_no_page_has() -> None:
    every = [f"{each} " for page in DOCS.glob("*.md") for each in commands(page.stem)]
    for why, words in NEEDS.items():
        assert any(re.search(words, each) for each in every), why


@pytest.fixture
def things(tmp_path: Path, make_video: VideoMaker, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything the pages name."""
    monkeypatch.chdir(tmp_path)
    size = (128, 72)
    for folder in ("clips/val", "more", "films", "folder", "photos", "my/videos", "truth", "given"):
        Path(folder).mkdir(parents=True)
    for name in ("in.mp4", "in.mkv", "in.mov", "in.ts", "a.mp4", "b.mp4", "film.mkv"):
        make_video(name, size=size, audio=name == "in.mp4")
    for name in ("clips/a.mp4", "clips/val/b.mp4", "more/c.mp4", "films/d.mp4", "my/videos/e.mp4"):
        shutil.copy("in.mp4", name)
    shutil.copy("in.mp4", "folder/f.mp4")
    Path("old-films").mkdir()
    make_video("old-films/g.mp4", size=size)
    for name, colour in (("hdr.mp4", (9, 1, 9, 16)), ("hdr.mkv", (9, 1, 9, 18))):
        make_video(name, size=size, pixel_format="yuv420p10le", encoder="libx265", colour=colour)
    picture = draw_clip(1, 96, 96)[0]
    for name in ("photo.png", "photos/p.png", "truth/t.png", "frame_00001.png", "frame_00002.png"):
        write_png(Path(name), picture)
    write_jpeg(Path("photo.jpg"), picture)
    Path("given-inputs").mkdir()
    write_png(Path("given-inputs/t.png"), picture[::4, ::4].copy())
    for name in ("my-bundle", "mine", "adopted", "anime"):
        shutil.copytree(PACKAGED / "nano", name)
    checkpoint = DOCS.parent / "train/checkpoints/nano.safetensors"
    Path("runs/nano").mkdir(parents=True)
    for name in ("checkpoint.safetensors", "runs/nano/checkpoint.safetensors"):
        shutil.copy(checkpoint, name)
    for name in ("model_card.md", "LICENSE"):
        Path(name).write_text("Terms, and what the network is for\n")
    ncnn_upscaler(Path("model.param"))
    onnx.save(upscaler(), "model.onnx")
    return tmp_path


def write_jpeg(path: Path, picture: object) -> None:
    import av

    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuvj420p"
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")  # type: ignore[arg-type]
        container.mux(stream.encode(frame.reformat(format="yuvj420p")))
        container.mux(stream.encode())


def as_run(command: str) -> list[str]:
    for given, instead in SMALLER:
        command = command.replace(given, instead)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        command = command.replace("127.0.0.1:8080", f"127.0.0.1:{listener.getsockname()[1]}")
    words = [PLACES.get(word, word) for word in shlex.split(command)]
    if words[:2] == ["bench", "compare"]:
        return words
    return [*words, *(each for each in SHORT.get(words[0], []) if each.split("=")[0] not in words)]


def remove_outputs(words: list[str]) -> None:
    """Each example is one of its own: what an earlier one wrote to the same place goes."""
    places = [
        Path(words[at + 1]) for at, word in enumerate(words[:-1]) if word in ("-o", "--trace")
    ]
    if words[0] == "upscale":
        named = list(takewhile(lambda word: not word.startswith("--"), words[1:]))
        unnamed = (*Path().glob("*_x[24].*"), *Path().glob("in_*x*.mp4"))
        places += [*map(Path, named[1:][-1:]), *unnamed]
    if words[:2] == ["job", "plan"]:
        places += map(Path, words[3:5])
    places += [path.with_suffix(".json") for path in places if path.suffix == ".html"]
    for path in places:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run(page: str, things: Path) -> None:
    ran = 0
    for command in commands(page):
        if needs(command):
            continue
        words = as_run(command)
        if "--skip-existing" not in words:
            remove_outputs(words)
        done = CliRunner().invoke(cli, words)
        wanted = (0, 3) if command.startswith("plan") else (0,)
        assert done.exit_code in wanted, f"adcvsr {command}\n{done.output}\n{done.exception!r}"
        ran += 1
    assert ran
