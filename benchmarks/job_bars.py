"""The same job made in five ways: one file, to the last bit, with the pictures of a plain run.

    python benchmarks/job_bars.py                        # drawn, a few seconds of video
    python benchmarks/job_bars.py --clip film.mp4        # of yours
    python benchmarks/job_bars.py --without-ray

Made by one process, by two, by Ray with two workers, killed (SIGKILL) at three random moments and
gone on with, and with a segment whose bytes were damaged on the disk. The files must have one
SHA-256. They are encoded without loss (x264, crf 0), as is a plain `adcvsr upscale` of the same
input, so that decoded pictures of both must be equal at every bit and time. Exit 1 where anything
differs.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
from job_segments import draw

WORDS = (sys.executable, "-m", "adcvsr")


def main() -> int:
    """Run all, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path, help="a video in the place of the drawn one")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", default="160x90")
    parser.add_argument("--segment", type=float, default=1.0)
    parser.add_argument("--variant", default="fp32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-ray", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return compare(Path(name), given)


def compare(folder: Path, given: argparse.Namespace) -> int:
    """Make the file in every way, and compare."""
    source = given.clip
    if source is None:
        source = folder / "in.mp4"
        draw(source, given.seconds, given.size, None)
    how = ("--variant", given.variant, "--crf", "0", "-q")
    plain = folder / "plain.mp4"
    run("upscale", source, plain, *how)
    job = (*how, "--segment-seconds", str(given.segment))
    made = {"one process": folder / "one.mp4", "two processes": folder / "two.mp4"}
    run("upscale", source, made["one process"], *job, "--resume")
    run("upscale", source, made["two processes"], *job, "--workers", "2")
    if not given.without_ray:
        made["Ray, two workers"] = folder / "ray.mp4"
        run("upscale", source, folder / "ray.mp4", *job, "--ray", "local", "--workers", "2")
    made["killed three times"] = folder / "killed.mp4"
    killed(source, folder / "killed.mp4", job, random.Random(given.seed))
    made["a damaged segment"] = folder / "damaged.mp4"
    damaged(source, folder / "damaged.mp4", folder / "damaged.job", job)
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in made.items()}
    for name, value in hashes.items():
        print(f"{name:20} {value}")
    expected, found = pictures(plain), pictures(made["one process"])
    same = expected == found
    print(
        f"{len(found)} pictures, {'equal' if same else 'NOT equal'} to those of a plain run; "
        f"{len(set(hashes.values()))} different file{'s' * (len(set(hashes.values())) > 1)}"
    )
    return 0 if same and len(set(hashes.values())) == 1 else 1


def run(*words: object) -> None:
    """One command to its end."""
    subprocess.run([*WORDS, *map(str, words)], check=True)


def killed(source: Path, output: Path, job: tuple[str, ...], rng: random.Random) -> None:
    """Kill a run at three random moments, each after a further segment, and let it end."""
    words = [*WORDS, "upscale", str(source), str(output), *job, "--resume"]
    folder = output.with_name(f"{output.name}.job") / "segments"
    for _ in range(3):
        before = done(folder)
        process = subprocess.Popen(words)
        while process.poll() is None and done(folder) <= before:
            time.sleep(0.02)
        time.sleep(rng.random() / 5)
        if process.poll() is not None:
            sys.exit("a run ended before it could be killed: choose longer --seconds")
        process.kill()
        process.wait()
        print(f"killed with {done(folder)} segments finished")
    subprocess.run(words, check=True)


def done(folder: Path) -> int:
    """Finished segments."""
    return len(list(folder.glob("*.json"))) if folder.is_dir() else 0


def damaged(source: Path, output: Path, folder: Path, job: tuple[str, ...]) -> None:
    """Damage a finished segment, and go on."""
    run("upscale", source, output, *job, "--job", folder)
    output.unlink()
    middle = sorted((folder / "segments").glob("*.mp4"))[1]
    data = bytearray(middle.read_bytes())
    data[len(data) // 2] ^= 0x40
    middle.write_bytes(data)
    run("upscale", source, output, *job, "--job", folder, "--resume")


def pictures(path: Path) -> list[tuple[float | None, str]]:
    """Time and hash of each decoded picture."""
    with av.open(str(path)) as container:
        return [
            (frame.time, hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest())
            for frame in container.decode(video=0)
        ]


if __name__ == "__main__":
    sys.exit(main())
