"""What segments cost, and how fast a long file is planned.

    python benchmarks/job_segments.py                       # time and size, beside a run without
    python benchmarks/job_segments.py --workers 2           # and with two processes
    python benchmarks/job_segments.py --apart               # what is paid once, and what a segment
    python benchmarks/job_segments.py --plan-hours 10       # a plan of a file of 10 hours

Each round runs `adcvsr upscale` on the same clip plainly, as a job of one segment and as a job with
segments of --segment seconds, in turn, forwards and backwards, in processes of their own. So what a
job costs once (plan, probe, join) and what its segments cost stand apart. On a machine that is busy
otherwise the processor time says more than the seconds. Compared are the least of all rounds and
the median of the ratios of each round; the job's results must all have one SHA-256. The clip is
drawn, or a video of yours played over and over.

With --apart all is run in one process whose networks are loaded: the plan, the probe and the join,
which a job pays once, each by itself, and the segments in turn with `Upscaler.upscale_file`: as
jobs make them, each beginning while the one before is encoded to its end, and one by one.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.jobs.folder import Job
from adcvsr.runtime.jobs.join import join
from adcvsr.runtime.jobs.planning import make_plan
from adcvsr.runtime.jobs.settings import JobSettings
from adcvsr.runtime.jobs.work import SegmentWorker, make_leased, work_on
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions

RATE = 25
GROUP = 50
"""Frames from key frame to key frame of what is drawn: 2 s."""


def main() -> int:
    """Measure, print, and tell by the exit status whether all job results were one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path, help="a video in the place of the drawn one")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the input")
    parser.add_argument("--size", default="160x90", help="of what is drawn")
    parser.add_argument("--segment", type=float, default=10.0, help="seconds of a segment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variant", default="int8")
    parser.add_argument("--workers", type=int, default=1, help="also with so many processes")
    parser.add_argument("--apart", action="store_true", help="once and a segment, in one process")
    parser.add_argument("--plan-hours", type=float, help="only plan a file of so many hours")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.plan_hours:
            return plan_long(folder, given.plan_hours)
        source = folder / "in.mp4"
        draw(source, given.seconds, given.size, given.clip)
        return (apart if given.apart else compare)(folder, source, given)


def draw(path: Path, seconds: float, size: str, clip: Path | None) -> None:
    """Write the input: moving pictures, forwards and backwards, or a clip over and over."""
    width, height = map(int, size.split("x"))
    if clip is None:
        frames = list(draw_clip(GROUP, height, width))
    else:
        with av.open(str(clip)) as container:
            decoded = container.decode(video=0)
            frames = [
                each.to_ndarray(format="rgb24")
                for each, _ in zip(decoded, range(300), strict=False)
            ]
    frames += frames[::-1]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=RATE)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = GROUP
        stream.options = {"preset": "ultrafast"}
        for at in range(round(seconds * RATE)):
            frame = av.VideoFrame.from_ndarray(frames[at % len(frames)], format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def compare(folder: Path, source: Path, given: argparse.Namespace) -> int:
    """Run all kinds in turn, and print what each costs beside the plain one."""
    segment = ("--segment-seconds", str(given.segment))
    kinds: dict[str, tuple[str, ...]] = {
        "plain": (),
        "one segment": ("--resume", "--segment-seconds", str(math.ceil(given.seconds) + 1)),
        "segments": ("--resume", *segment),
    }
    if given.workers > 1:
        kinds[f"{given.workers} workers"] = ("--workers", str(given.workers), *segment)
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    sizes: dict[str, int] = {}
    hashes = set()
    for turn in range(given.rounds):
        for name in list(kinds) if turn % 2 == 0 else reversed(kinds):
            output = folder / "out.mp4"
            costs[name].append(run(source, output, given.variant, kinds[name]))
            sizes[name] = output.stat().st_size
            if name not in ("plain", "one segment"):
                hashes.add(hashlib.sha256(output.read_bytes()).hexdigest())
            output.unlink()
    for name, found in costs.items():
        wall, used = least(found)
        base = least(costs["plain"])
        print(
            f"{name:12} {wall:7.2f} s ({over(wall, base[0])})  {used:7.2f} s of processors "
            f"({over(used, base[1])})  {sizes[name]:,} bytes ({over(sizes[name], sizes['plain'])})"
        )
    one, plain = least(costs["one segment"]), least(costs["plain"])
    print(f"a job costs once: {one[0] - plain[0]:.2f} s, {one[1] - plain[1]:.2f} s of processors")
    print(f"segments over one segment, {medians(costs['segments'], costs['one segment'])}")
    print(f"segments over plain, {medians(costs['segments'], costs['plain'])}")
    print(f"{len(hashes)} different job result{'s' * (len(hashes) != 1)}")
    return 0 if len(hashes) == 1 else 1


def least(costs: Sequence[tuple[float, float]]) -> list[float]:
    """The least seconds and the least processor seconds of all rounds."""
    return [min(each[at] for each in costs) for at in range(2)]


def medians(costs: Sequence[tuple[float, float]], bases: Sequence[tuple[float, float]]) -> str:
    """What is more than in the same round, by the median of all rounds."""
    pairs = list(zip(costs, bases, strict=True))
    middle = [statistics.median(each[at] / base[at] for each, base in pairs) for at in range(2)]
    return (
        f"median of {len(pairs)} pairs: {over(middle[0], 1)} s, {over(middle[1], 1)} s of "
        "processors"
    )


def apart(folder: Path, source: Path, given: argparse.Namespace) -> int:
    """Print what a job pays once, and what its segments cost over a run without."""
    settings = JobSettings(
        source=str(source),
        output=str(folder / "out.mp4"),
        variant=given.variant,
        segment_seconds=given.segment,
    )
    make_plan(settings)  # loads what is imported late
    costs: dict[str, list[tuple[float, float]]] = {}

    def measure(name: str, step: Callable[[], Any]) -> Any:
        wall, used = time.monotonic(), time.process_time()
        result = step()
        costs.setdefault(name, []).append((time.monotonic() - wall, time.process_time() - used))
        return result

    plan = measure("plan", lambda: make_plan(settings))
    job = Job.create(folder / "job", plan)
    worker = SegmentWorker(job)

    def one_by_one() -> None:
        for index in places:
            make_leased(worker, index)

    def at_once() -> None:
        work_on(worker, wait=False)

    places = range(len(plan.segments))
    options = EncodeOptions(overwrite=True, threads=plan.encoder_threads)
    plain = folder / "plain.mp4"
    with ExitStack() as opened:
        opened.push(measure("network, probe", worker.__enter__))
        upscaler = opened.enter_context(Upscaler(settings.model, variant=given.variant))
        for _ in range(given.rounds):
            measure("plain", lambda: upscaler.upscale_file(source, plain, options=options))
            for name, make in (("one by one", one_by_one), ("segments", at_once)):
                for index in places:
                    job.facts_of(index).unlink(missing_ok=True)
                measure(name, make)
            measure("join", lambda: join(job))
    base = least(costs["plain"])
    for name, found in costs.items():
        wall, used = least(found)
        is_segments = name in ("one by one", "segments")
        more = f" ({over(wall, base[0])}, {over(used, base[1])})" if is_segments else ""
        share = "" if more else f" ({used / base[1]:.2%} of plain)"
        print(f"{name:15} {wall:7.2f} s  {used:7.2f} s of processors{more or share}")
    for name in ("one by one", "segments"):
        print(f"{name} over plain, {medians(costs[name], costs['plain'])}")
    size = Path(settings.output).stat().st_size
    print(f"{over(size, plain.stat().st_size)} bytes")
    return 0


def run(source: Path, output: Path, variant: str, options: tuple[str, ...]) -> tuple[float, float]:
    """Wall and processor seconds of one command."""
    words = ["-m", "adcvsr", "upscale", str(source), str(output), "--variant", variant, "-q"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, *words, *options], check=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def over(value: float, base: float) -> str:
    """How much more than the plain one."""
    return f"{value / base - 1:+.1%}"


def plan_long(folder: Path, hours: float) -> int:
    """Repeat a minute's packets to a file of so many hours, and plan it."""
    minute, source = folder / "minute.mp4", folder / "long.mp4"
    draw(minute, 60, "64x36", None)
    repeat(minute, source, round(hours * 60))
    settings = JobSettings(
        source=str(source), output=str(folder / "out.mp4"), variant="int8", backend="ort-cpu"
    )
    began, used = time.monotonic(), time.process_time()
    plan = make_plan(settings)
    wall, used = time.monotonic() - began, time.process_time() - used
    data = plan.to_bytes()
    print(
        f"{hours:g} hours, {plan.frames:,} frames, {source.stat().st_size:,} bytes: "
        f"{len(plan.segments):,} segments planned by {plan.scan} in {wall:.1f} s ({used:.1f} s of "
        f"processors), plan.json {len(data):,} bytes"
    )
    return 0


def repeat(minute: Path, path: Path, times: int) -> None:
    """Write a video's packets over and over, each time a minute later."""
    with av.open(str(minute)) as container:
        template = container.streams.video[0]
        packets = [p for p in container.demux(template) if p.size]
        base = Fraction(template.time_base or 1)
        kept = [(bytes(p), p.pts or 0, p.dts or 0, p.is_keyframe) for p in packets]
        length = round(60 / base)
        with av.open(str(path), "w") as output:
            stream = output.add_stream_from_template(template)
            for turn in range(times):
                for data, pts, dts, key in kept:
                    packet = av.Packet(data)
                    packet.pts, packet.dts = pts + turn * length, dts + turn * length
                    packet.time_base, packet.is_keyframe, packet.stream = base, key, stream
                    output.mux(packet)


if __name__ == "__main__":
    sys.exit(main())
