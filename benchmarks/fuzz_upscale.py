"""Upscale damaged copies of clips: every one gives a file or one clear error, and nothing else.

Copies are damaged by flipped bits, overwritten, removed and repeated blocks, cut ends, and by the
middle of one clip put into another. They are upscaled in worker processes, so that a crash or a
hang of any library is seen: it is reported with the seed that makes the copy again, and the copy is
kept. Nothing may lie in the output folder but a finished file.

What is tried is reading, timing, muxing and cleaning up: the network is left out, each picture is
its own result, of the input's size. So 2,000 copies take about half an hour of one processor.

    python benchmarks/fuzz_upscale.py FOLDER_OF_CLIPS [--copies 2000] [--seed 0] [--seconds 120]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from judging import Worker

from adcvsr.pictures.pyav import open_input

LARGEST_BYTES, LARGEST_PIXELS = 1_100_000, 800_000
"""Larger clips and larger frames are left out: they only take longer."""

READ_SECONDS = Fraction(1)
"""How much of each copy is upscaled."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first copy")
    parser.add_argument("--seconds", type=float, default=120, help="after which a copy hangs")
    parser.add_argument("--minutes", type=float, default=1e9, help="end earlier")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    arguments = parser.parse_args()
    clips = sorted(filter(is_small, arguments.folder.iterdir()))
    if not clips:
        raise SystemExit(
            f"no clips of up to {LARGEST_BYTES} bytes and {LARGEST_PIXELS} pixels in "
            f"'{arguments.folder}'"
        )
    outcomes: Counter[str] = Counter()
    began = time.monotonic()
    end = time.monotonic() + arguments.minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker([sys.executable, __file__, "--worker"])
        for seed in range(arguments.seed, arguments.seed + arguments.copies):
            if time.monotonic() > end:
                break
            copy, name = damaged_copy(clips, seed, Path(folder))
            output = Path(folder) / "out"
            outcome = worker.judge(json.dumps([str(copy), str(output)]), arguments.seconds)
            outcomes[outcome.split(":")[0]] += 1
            if not outcome.startswith(("done", "refused")):
                arguments.keep.mkdir(exist_ok=True)
                (arguments.keep / copy.name).write_bytes(copy.read_bytes())
                print(f"seed {seed} ({name}): {outcome}", flush=True)
            copy.unlink()
            if outcomes.total() % 100 == 0:
                print(f"... {outcomes.total()}: {json.dumps(dict(outcomes))}", flush=True)
        worker.stop()
    minutes = (time.monotonic() - began) / 60
    print(f"{outcomes.total()} copies in {minutes:.1f} minutes: {json.dumps(dict(outcomes))}")
    sys.exit(bool(set(outcomes) - {"done", "refused"}))


def is_small(path: Path) -> bool:
    """Whether a clip is to be damaged; those that are broken already are."""
    if not path.is_file() or not 0 < path.stat().st_size <= LARGEST_BYTES:
        return False
    try:
        with open_input(str(path)) as container:
            sizes = [stream.width * stream.height for stream in container.streams.video]
    except (av.FFmpegError, OSError, ValueError, AttributeError):
        return True
    return max(sizes, default=0) <= LARGEST_PIXELS


def damaged_copy(clips: list[Path], seed: int, folder: Path) -> tuple[Path, str]:
    """Write the copy of a seed; returns its path and the clip's name."""
    rng = random.Random(seed)
    clip, other = rng.choice(clips), rng.choice(clips)
    data = bytearray(clip.read_bytes())
    for _ in range(rng.randint(1, 3)):
        damage = rng.choice((flip_bits, overwrite, remove, repeat, cut))
        damage(data, rng)
    if rng.random() < 0.1:
        foreign = other.read_bytes()
        middle = len(foreign) // 3
        at = rng.randrange(len(data) + 1)
        data[at:at] = foreign[middle : 2 * middle]
    path = folder / f"{seed}{clip.suffix}"
    path.write_bytes(data)
    return path, clip.name


def flip_bits(data: bytearray, rng: random.Random) -> None:
    # Half of the time in the header, where most of what a demuxer trusts lies.
    reach = min(len(data), 2048) if rng.random() < 0.5 else len(data)
    for _ in range(rng.randint(1, 64)):
        if reach:
            data[rng.randrange(reach)] ^= 1 << rng.randrange(8)


def overwrite(data: bytearray, rng: random.Random) -> None:
    start, stop = _block(data, rng)
    filler: Callable[[int], bytes] = rng.choice((bytes, rng.randbytes, lambda n: b"\xff" * n))
    data[start:stop] = filler(stop - start)


def remove(data: bytearray, rng: random.Random) -> None:
    start, stop = _block(data, rng)
    del data[start:stop]


def repeat(data: bytearray, rng: random.Random) -> None:
    start, stop = _block(data, rng)
    data[start:start] = data[start:stop]


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _block(data: bytearray, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.randint(1, 4096))


def work() -> None:
    """Answer each request on stdin with a line on stdout."""
    import shutil

    from adcvsr.arrays import Frame
    from adcvsr.errors import AdcVsrError
    from adcvsr.runtime.processing.processor import StreamProcessor
    from adcvsr.runtime.sessions.frames import check_frame
    from adcvsr.runtime.upscaler import Upscaler
    from adcvsr.runtime.video import sink
    from adcvsr.runtime.video.encoders import EncodeOptions
    from adcvsr.runtime.video.read_options import ReadOptions

    class Unchanged(StreamProcessor):
        def push(self, frame: Frame) -> Iterator[Frame]:
            check_frame(frame)
            yield frame

    sink.SCALE = 1  # type: ignore[attr-defined]
    options = EncodeOptions(preset="ultrafast")
    with Upscaler("nano", threads=1) as upscaler:
        upscaler._clips = Unchanged(upscaler.session)  # type: ignore[arg-type]
        for line in sys.stdin:
            copy, output = map(Path, json.loads(line))
            shutil.rmtree(output, ignore_errors=True)
            output.mkdir()
            try:
                upscaler.upscale_file(
                    copy,
                    output / "out.mp4",
                    options=options,
                    read=ReadOptions(duration=READ_SECONDS),
                )
                answer = "done"
            except AdcVsrError as error:
                answer = f"refused: {type(error).__name__}"
            except Exception as error:
                answer = f"traceback: {error!r}"
            left = [path.name for path in output.iterdir()]
            if left != (["out.mp4"] if answer == "done" else []):
                answer = f"leftover: {left} after {answer}"
            print(answer.replace("\n", " "), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        work()
    else:
        main()
