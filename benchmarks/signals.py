"""Stop commands at random moments, by every signal, and look at what they say and leave.

    python benchmarks/signals.py --rounds 40
    python benchmarks/signals.py --rounds 200 --commands upscale,quantize --seed 7

Each round starts a command on inputs of its own, waits a random time, sends SIGINT, SIGTERM, SIGHUP
or SIGKILL, and waits for the end. A fault is a traceback, another error than "interrupted", an end
that takes longer than --patience, an output that is not whole, an input that changed, or a file
left behind: at once, or after a SIGKILL by the command that runs next in the same place. The seed
of each fault is printed; a round depends on nothing else but the machine's speed. On a machine that
is busy otherwise, the processor time from the signal to the end says more than the seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import av

from adcvsr.bundle import open_bundle
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip

COMMANDS = {
    "upscale": ("upscale", "in.mp4", "out.mp4", "--overwrite"),
    "folder": ("upscale", "clips", "out", "--overwrite"),
    "live": ("live", "--source", "in.mp4", "--sink", "live.mkv", "--overwrite"),
    "demo": ("demo", "-o", "demo", "--overwrite"),
    "models": ("models", "--json"),
    "evaluate": ("evaluate", "in.mp4", "--json", "scores.json", "--overwrite"),
    "calibrate": ("calibrate", "in.mp4", "-o", "set", "--overwrite", "--runs", "4"),
    "quantize": (
        *("quantize", "bundle", "--precision", "int8", "--calibration", "given"),
        "--overwrite",
    ),
    "verify": ("verify", "bundle"),
    "bench": ("bench", "bundle", "--duration", "5", "-o", "bench.json", "--overwrite"),
    "profile": (
        *("profile", "bundle", "--clips", "clips", "--duration", "1", "--drift-frames", "100"),
        *("-o", "profile.html", "--overwrite"),
    ),
    "export": ("export", "nano.safetensors", "-o", "exported", "--overwrite"),
    "search": ("search", "bundle", "--budget", "psnr>=60", "--calibration", "given", "-o", "found"),
    "train": (
        *("train", "pretrain", "--config", "run.toml", "--clips", "clips", "-o", "run"),
        *("--max-steps", "100000"),
    ),
    "cache-teacher": (
        *("train", "cache-teacher", "--teacher", "truth", "--config", "run.toml"),
        *("--clips", "clips", "-o", "taught", "--samples", "2000"),
    ),
}
"""What is run, in a folder with what `make_inputs` writes."""

RECIPE = """
stage = "pretrain"
network = "nano"
batch = 2
workers = 1
max_steps = 100
learning_rate = 1e-3
checkpoint_minutes = 0.02
data = {frames = 3, patch_px = 16, crops_per_clip = 8, clips_at_once = 4}
degradation = {preset = "camera"}
"""

CHECKPOINT = Path(__file__).resolve().parents[1] / "train" / "checkpoints" / "nano.safetensors"

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
PROGRAM = (sys.executable, "-m", "adcvsr")


@dataclass
class Round:
    """What one round did."""

    command: str
    number: signal.Signals
    after_s: float
    took_s: float
    """From the signal to the end."""
    processor_s: float
    """What the command computed in that time, its children included; 0 where it is not known."""
    ended: bool
    """Whether the command had ended before the signal came, or not begun."""
    faults: list[str]


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--longest", type=float, default=8.0, help="Seconds until the signal.")
    parser.add_argument("--patience", type=float, default=30.0, help="Seconds until a hang.")
    parser.add_argument("--program", nargs="+", default=PROGRAM, help="Instead of this adcvsr.")
    options = parser.parse_args()
    for number in SIGNALS[:3]:
        # A shell's background job and nohup ignore some, which the commands would inherit and keep.
        signal.signal(number, signal.SIG_DFL)
    names = options.commands.split(",")
    with tempfile.TemporaryDirectory(prefix="signals-") as name:
        given = Path(name) / "given"
        make_inputs(given, calibrate=bool({"quantize", "search"} & {*names}))
        rounds = []
        for index in range(options.seed, options.seed + options.rounds):
            place = Path(name) / str(index)
            shutil.copytree(given, place)
            done = run_round(place, index, names, options)
            shutil.rmtree(place)
            rounds.append(done)
            for fault in done.faults:
                print(f"seed {index}: {done.command}, {done.number.name} after {done.after_s:.2f} s"
                      f": {fault}")  # fmt: skip
    report(rounds)
    sys.exit(any(done.faults for done in rounds))


def make_inputs(folder: Path, *, calibrate: bool) -> None:
    """Write clips, nano as a bundle and a checkpoint, a recipe; a calibration set if needed."""
    (folder / "clips").mkdir(parents=True)
    write_clip(folder / "in.mp4", iter(draw_clip(60, 96, 128)))
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(folder / "in.mp4", folder / "clips" / name)
    shutil.copytree(open_bundle("nano").path, folder / "bundle")
    shutil.copy(CHECKPOINT, folder / "nano.safetensors")
    (folder / "run.toml").write_text(RECIPE)
    if calibrate:
        command = [*PROGRAM, "calibrate", "in.mp4", "-o", "given", "--runs", "2", "--size", "64x48"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


def run_round(place: Path, seed: int, names: list[str], options: argparse.Namespace) -> Round:
    """Start a command, send a signal, look at what came of it."""
    rng = random.Random(seed)
    command, number = rng.choice(names), rng.choice(SIGNALS)
    after = rng.uniform(0.05, options.longest) ** 1.5 / options.longest**0.5
    before = hashes(place)
    before_s = children_seconds()
    started = [*options.program, *COMMANDS[command]]
    pipe = subprocess.PIPE
    with subprocess.Popen(started, cwd=place, stdout=pipe, stderr=pipe, text=True) as process:
        time.sleep(after)
        ended = process.poll() is not None
        if not ended:
            process.send_signal(number)
        began, computed = time.monotonic(), processor_seconds(process.pid)
        faults = []
        try:
            _, said = process.communicate(timeout=options.patience)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
            faults.append(f"no end within {options.patience:g} s")
    took = time.monotonic() - began
    computed = max(children_seconds() - before_s - computed, 0.0)
    if "<frozen site>" in said and "KeyboardInterrupt" in said:
        ended = True  # Python itself was starting: no line of ours had run
    elif "Traceback" in said or "Exception ignored" in said:
        faults.append(f"a traceback: {said.strip().splitlines()[-1][:200]}")
    elif not ended and process.returncode == 1:
        faults.append(f"an error: {said.strip().splitlines()[-1][:200]}")
    if number == signal.SIGKILL:
        follow_up(place, options)
    faults += [f"left behind: {name}" for name in sorted(leftovers(place))]
    faults += [f"changed or gone: {name}" for name in changed(before, place, command)]
    faults += [f"not whole: {name}" for name in torn(place)]
    return Round(command, number, after, took, computed, ended, faults)


def processor_seconds(pid: int) -> float:
    """What a process and the children it waited for have computed; 0 where nothing tells."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return 0.0


def children_seconds() -> float:
    """What all processes computed that were started here and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def follow_up(place: Path, options: argparse.Namespace) -> None:
    """The next runs in each place: they sweep what a killed one left."""
    hidden = {path for path in place.rglob(".*") if path.is_dir()}
    folders = [
        path for path in place.rglob("*") if path.is_dir() and not hidden & {path, *path.parents}
    ]
    for folder in (place, *folders):
        if any(".part" in path.name for path in folder.iterdir()):
            command = [*options.program, "upscale", str(place / "in.mp4"), str(folder / "next.mkv")]
            subprocess.run(command, cwd=place, capture_output=True, check=False)
            (folder / "next.mkv").unlink(missing_ok=True)


def hashes(place: Path) -> dict[str, str]:
    """SHA-256 of every file by its name in the folder."""
    return {
        path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in place.rglob("*")
        if path.is_file()
    }


def changed(before: dict[str, str], place: Path, command: str) -> list[str]:
    """Inputs that are not what they were; quantize may finish its bundle, as a whole."""
    after = hashes(place)
    return [
        name
        for name, value in before.items()
        if after.get(name) != value and not (command == "quantize" and name in after)
    ]


def leftovers(place: Path) -> set[str]:
    """Hidden files and folders of ours."""
    return {
        path.relative_to(place).as_posix()
        for path in place.rglob(".*")
        if ".part" in path.name or path.is_dir()
    }


def torn(place: Path) -> list[str]:
    """Outputs that are there and cannot be read to the end."""
    bad = []
    for path in place.rglob("*"):
        try:
            if path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix in (".mp4", ".mkv") and not path.name.startswith("."):
                with av.open(str(path)) as container:
                    for _ in container.decode(video=0):
                        pass
        except (ValueError, av.FFmpegError) as error:
            bad.append(f"{path.relative_to(place)} ({error})")
    return bad


def report(rounds: list[Round]) -> None:
    """Print the figures."""
    kinds = Counter(fault.split(":")[0] for done in rounds for fault in done.faults)
    met = [done for done in rounds if not done.ended]
    slowest = max(met, key=lambda done: done.took_s, default=None)
    print(f"{len(rounds)} rounds, {len(met)} stopped in the middle, {os.cpu_count()} processors")
    for kind, count in sorted(kinds.items()):
        print(f"  {count} times {kind}")
    print(f"{sum(bool(done.faults) for done in rounds)} rounds with a fault")
    if slowest is None:
        return
    print(f"slowest end: {slowest.took_s:.1f} s ({slowest.command}, {slowest.number.name})")
    for command in sorted({done.command for done in met}):
        those = [done for done in met if done.command == command]
        print(
            f"  {command}: {len(those)} times, at most {max(d.took_s for d in those):.1f} s, "
            f"{max(d.processor_s for d in those):.1f} s of processor time"
        )


if __name__ == "__main__":
    main()
