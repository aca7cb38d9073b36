"""Speed of `adcvsr upscale`, and how far it is from the sum of its parts.

Measures on one clip, in one run: CPU milliseconds a frame of decoding, of the network (its threads
added, spinning off) and of encoding, each alone; then the whole command. The bar is that the whole
takes at most 1.10 times the parts' CPU time divided by the processors. The ratio has two factors:
`dearer`, the CPU time of the parts together over that of each alone (they share caches, memory and
the two halves of a core), and `idle`, the processors' time over the CPU time that was used of it.

With `--before PYTHON`, the interpreter of an environment that a checkout of before is installed in
(`pip install -e CHECKOUT`), whole commands of both take turns instead: the ratio of the frames a
second, of the CPU time and of the peak memory, medians of pairs. On a busy machine the CPU time is
what to go by.

    python benchmarks/upscale_speed.py [CLIP] [--frames 250] [--model nano] [--json]
    python benchmarks/upscale_speed.py --before /tmp/before/bin/python --variant fp32 --size 640x360
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adcvsr.bundle import open_bundle
from adcvsr.graph.yuv_ends import YuvEnds
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv_picture import YuvPicture
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.sessions.stream_session import StreamSession
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.sink import FileSink
from adcvsr.runtime.video.source import FileSource, SourceFrame

WARM_UP_FRAMES = 5
ENCODED_FRAMES = 400
"""Pictures held in memory to time the encoder alone: 2.8 MB each at 1280x720."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", nargs="?", type=Path, help="default: a drawn 320x180 clip")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--rounds", type=int, default=3, help="runs of the whole command")
    parser.add_argument("--size", default="320x180", help="of the drawn clip")
    parser.add_argument("--variant", help="of the whole command; default: what it takes itself")
    parser.add_argument("--before", metavar="PYTHON", help="compare with another version")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        width, height = map(int, arguments.size.split("x"))
        clip = arguments.clip or drawn_clip(Path(folder), arguments.frames, height, width)
        if arguments.before:
            chosen = ["--model", arguments.model]
            chosen += ["--variant", arguments.variant] if arguments.variant else []
            found = compare(clip, Path(folder), arguments.before, chosen, arguments.rounds)
            print(json.dumps(found, indent=1))
            return
        result = measure(clip, Path(folder), arguments.model, arguments.rounds)
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{result['frames']} frames on {result['processors']} processors, {arguments.model}")
    alone, together = result["cpu_ms"], result["cpu_ms_together"]
    for part in ("decode", "infer", "encode"):
        print(f"  {part:8} {alone[part]:6.1f} CPU-ms a frame alone, {together[part]:6.1f} together")
    print(f"  sum      {result['cpu_ms_sum']:6.1f} CPU-ms a frame")
    print(f"whole command: {result['fps']:.1f} fps ({result['fps_all']})")
    print(
        f"wall over (sum / processors): {result['ratio']:.2f} ({result['ratio_all']}), of which "
        f"dearer together {result['dearer']:.2f}, idle {result['idle']:.2f}"
    )
    print(f"share of the processors taken by other machines meanwhile: {result['stolen']}")


def drawn_clip(folder: Path, frames: int, height: int, width: int) -> Path:
    clip = folder / "clip.mp4"
    drawn = draw_clip(25, height, width)
    write_clip(clip, (drawn[i % 25 if i // 25 % 2 == 0 else 24 - i % 25] for i in range(frames)))
    return clip


def compare(
    clip: Path, folder: Path, before: str, chosen: list[str], rounds: int
) -> dict[str, Any]:
    """Whole commands of two versions in turn; ratios are now over before."""
    rows: list[dict[str, dict[str, float]]] = []
    for index in range(rounds):
        order = {"before": before, "now": sys.executable}
        names = list(order) if index % 2 == 0 else list(order)[::-1]
        rows.append({name: one_command(order[name], clip, folder, chosen) for name in names})

    def medians(key: str) -> dict[str, float]:
        values = {name: [row[name][key] for row in rows] for name in ("before", "now")}
        pairs = [row["now"][key] / row["before"][key] for row in rows]
        found = {name: round(statistics.median(each), 2) for name, each in values.items()}
        return found | {"ratio": round(statistics.median(pairs), 3)}

    return {"rounds": rounds} | {key: medians(key) for key in ("fps", "cpu_ms", "peak_mb")}


def one_command(python: str, clip: Path, folder: Path, chosen: list[str]) -> dict[str, float]:
    """Frames a second and CPU-ms a frame of the pipeline; peak memory of the whole process."""
    command = [python, "-m", "adcvsr", "upscale", str(clip), str(folder / "compared.mp4")]
    with (folder / "report.json").open("w+") as report:
        child = subprocess.Popen([*command, *chosen, "--json", "--overwrite"], stdout=report)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
        report.seek(0)
        found = json.load(report)
    cpu_ms = sum(together_ms(found).values())
    return {"fps": found["fps"], "cpu_ms": cpu_ms, "peak_mb": used.ru_maxrss / 1024}


def measure(clip: Path, folder: Path, model: str, rounds: int) -> dict[str, Any]:
    processors = len(os.sched_getaffinity(0))
    rows: list[dict[str, float]] = []
    for index in range(rounds):  # parts and whole in turn, so that drift meets them alike
        row = {"decode": decode_ms(clip), "infer": infer_ms(clip, model)}
        row["encode"] = encode_ms(clip, folder, model)
        stolen, began = stolen_seconds(), time.monotonic()
        report = whole_command(clip, folder, model, index)
        wall = time.monotonic() - began
        row["fps"] = float(report["fps"])
        row["stolen"] = (stolen_seconds() - stolen) / (wall * processors)
        alone = row["decode"] + row["infer"] + row["encode"]
        together = together_ms(report)
        row["ratio"] = 1000 / row["fps"] / (alone / processors)
        row["dearer"] = sum(together.values()) / alone
        row["idle"] = row["ratio"] / row["dearer"]
        row |= {f"{name}_together": ms for name, ms in together.items()}
        rows.append(row)

    def median(key: str) -> float:
        return statistics.median(row[key] for row in rows)

    cpu_ms = {key: round(median(key), 2) for key in ("decode", "infer", "encode")}
    return {
        "frames": report["frames"],
        "processors": processors,
        "cpu_ms": cpu_ms,
        "cpu_ms_sum": round(sum(cpu_ms.values()), 2),
        "fps": median("fps"),
        "fps_all": [round(row["fps"], 1) for row in rows],
        "cpu_ms_together": {key: round(median(f"{key}_together"), 2) for key in cpu_ms},
        "ratio": round(median("ratio"), 3),
        "ratio_all": [round(row["ratio"], 3) for row in rows],
        "dearer": round(median("dearer"), 3),
        "idle": round(median("idle"), 3),
        "stolen": [round(row["stolen"], 3) for row in rows],
    }


def together_ms(report: dict[str, Any]) -> dict[str, float]:
    """CPU milliseconds a frame of each stage in the whole command."""
    return {
        name: 1000 * float(times["cpu_seconds"] or 0) / report["frames"]
        for name, times in report["stages"].items()
    }


def stolen_seconds() -> float:
    """Processor time the hypervisor gave to others so far; 0 where the system does not tell."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return 0.0
    return int(stat.read_text().split()[8]) / os.sysconf("SC_CLK_TCK")


def frames_of(clip: Path) -> list[SourceFrame]:
    """As the whole command has them: YUV 4:2:0 where that is what the clip is."""
    with FileSource(clip) as source:
        source.keep(yuv=source.why_not_yuv() is None)
        return [item for item in source if isinstance(item, SourceFrame)]


@contextmanager
def network_for(frames: list[SourceFrame], model: str) -> Iterator[Callable[[Any], Any]]:
    """The network, as a function of a frame's picture."""
    session = create_session(open_bundle(model))
    first = frames[0].picture
    if isinstance(first, YuvPicture):
        assert isinstance(session, StreamSession)
        colours = first.colours
        with session.of_yuv(YuvEnds(colours.matrix, colours.full_range)) as planes:
            yield planes.infer_yuv
        return
    with session:
        assert isinstance(session, StreamSession)
        yield session.infer


def cpu_seconds() -> float:
    """CPU time of this process, all threads."""
    return time.process_time()


def decode_ms(clip: Path) -> float:
    began = cpu_seconds()
    count = len(frames_of(clip))
    return 1000 * (cpu_seconds() - began) / count


def infer_ms(clip: Path, model: str) -> float:
    frames = frames_of(clip)
    with network_for(frames, model) as network:
        for frame in frames[:WARM_UP_FRAMES]:
            network(frame.picture)
        times = []
        for frame in frames:
            began = cpu_seconds()
            network(frame.picture)
            times.append(cpu_seconds() - began)
    return 1000 * statistics.median(times)


def encode_ms(clip: Path, folder: Path, model: str) -> float:
    frames = frames_of(clip)[:ENCODED_FRAMES]
    with network_for(frames, model) as network:
        pictures = [network(frame.picture) for frame in frames]
    with (
        FileSource(clip) as source,
        FileSink(folder / "encoded.mp4", source, EncodeOptions(overwrite=True), print) as sink,
    ):
        if isinstance(pictures[0], YuvPicture):
            sink.expect_yuv()
        began = cpu_seconds()  # x264 works in threads of its own: nothing else may run meanwhile
        sink.open_encoder()
        for frame, picture in zip(frames, pictures, strict=True):
            sink.write(picture, frame.pts)
        sink.flush()
        seconds = cpu_seconds() - began
        sink.finish()
    return 1000 * seconds / len(frames)


def whole_command(clip: Path, folder: Path, model: str, index: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "adcvsr", "upscale", str(clip), str(folder / f"{index}.mp4")]
    command += ["--model", model, "--json", "--overwrite"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


if __name__ == "__main__":
    main()
