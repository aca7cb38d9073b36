"""Every command where only `.[cpu]` is installed: it works, or one line has the pip command.

As a program it runs them in the environment of its Python: python tests/without_extras.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adcvsr.bundle import open_bundle
from adcvsr.cli.commands import COMMANDS
from adcvsr.errors import EXTRA_OF
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip

HERE = ("onnxruntime",)
"""Optional packages that the extra `cpu` brings."""

BLOCK = f"""
import sys
for name in {sorted(set(EXTRA_OF) - set(HERE))!r}:
    sys.modules[name] = None
"""
"""Makes a complete environment look like one without extras."""

RUN = """
import sys
from adcvsr.cli.commands import main
sys.argv[0] = "adcvsr"
main()
"""

QUICK = ("cache", "deploy", "inspect", "models", "plan", "targets")
"""Commands that work and run no network."""


@dataclass(frozen=True)
class Call:
    """A call of a command and what becomes of it."""

    arguments: tuple[str, ...]
    extra: str | None = None
    """The extra its one line must name; None where the command works."""

    exits: int = 0
    """Where it works."""

    says: str = ""
    """What must stand in the output."""

    @property
    def is_quick(self) -> bool:
        """Whether it ends before any network runs."""
        return self.extra is not None or self.arguments[0] in QUICK


def calls(folder: Path) -> list[Call]:
    """One or more calls of every command; `folder` holds what `prepare` put there."""
    at = {path.name: str(path) for path in folder.iterdir()}
    clip, bundle = at["clip.mp4"], at["bundle"]
    out, network = str(folder / "out"), str(Path(bundle) / "fp32-onnx.onnx")
    setting = ("--clips", str(folder), "-o", out)
    losses = ("--teacher", "truth", "--dists", "none")
    return [
        Call(("adopt", network, "-o", out, "--licence", "MIT"), extra="export"),
        Call(("bench", "nano", "--size", "32x32", "--duration", "0.2", "--no-start")),
        Call(("blend", "nano", "nano-restore", "-o", out), extra="train"),
        Call(("build", bundle, "--backend", "tensorrt-rtx", "--target", "rtx-40"), extra="rtx"),
        Call(("cache", "list")),
        Call(("calibrate", clip, "-o", str(folder / "new-set"), "--runs", "2", "--size", "32x32")),
        Call(("demo", "-o", str(folder / "demo"))),
        Call(("deploy", bundle), exits=1, says="error: "),  # there is no GPU to build for
        Call(("doctor", "--wait", "30"), says="ran a convolution"),
        Call(("evaluate", clip, "--frames", "2")),
        Call(("evaluate", clip, "--frames", "2", "--degradation", "camera"), extra="train"),
        Call(("export", at["file"], "-o", out), extra="export"),
        Call(("export", "--untrained", "nano", "-o", out), extra="export"),
        Call(("import", "adcsr", at["file"], at["file"], "-o", out), extra="export"),
        Call(("import", "stable-diffusion", str(folder), "-o", out), extra="export"),
        Call(("inspect", "nano")),
        Call(("inspect", "nano", "--size", "320x180"), says="a frame of 320x180: 1.51 GMAC"),
        Call(("inspect", "small", "--size", "320x180"), says="a frame of 320x180: 15.27 GMAC"),
        Call(("job", "plan", clip, f"{out}.mkv", str(folder / "job")), says="segment"),
        Call(("live", "--source", clip, "--sink", str(folder / "live.mkv"))),
        Call(("models",)),
        Call(
            ("plan", "nano", "--target", "orin-nano", "--source", "320x180@30"),
            says="feasible: up to ",
        ),
        Call(("plan", "--all")),
        Call(
            ("profile", "nano", "--clips", clip, "--no-statement", "-o", f"{out}.html"),
            says="no layers",
        ),
        Call(("report", "--dry-run"), says="doctor"),
        Call(("quantize", bundle, "--precision", "int8", "--calibration", at["set"]), "export"),
        Call(
            (
                *("search", bundle, "--precision", "int8", "--calibration", at["set"]),
                *("--budget", "psnr=1", "-o", str(folder / "found.toml")),
            ),
            extra="export",
        ),
        Call(("targets",)),
        Call(("train", "pretrain", "--config", "nano", *setting), extra="train"),
        Call(("train", "distill", "--config", "nano-restore", *losses, *setting), extra="train"),
        Call(
            (
                *("train", "adversarial", "--config", "nano-adversarial"),
                *("--start-from", at["file"], *losses, *setting),
            ),
            extra="train",
        ),
        Call(
            ("train", "cache-teacher", "--config", "nano-restore", "--teacher", "truth", *setting),
            extra="train",
        ),
        Call(("train", "show-data", "--config", "nano", *setting), extra="train"),
        Call(("upscale", clip, str(folder / "big.mp4"), "--overwrite")),
        Call(("verify", "nano", "--variant", "fp32-onnx")),
    ]


def prepare(folder: Path) -> None:
    """Write what the calls take."""
    write_clip(folder / "clip.mp4", draw_clip(8, 64, 64))
    shutil.copytree(open_bundle("nano").path, folder / "bundle")
    (folder / "set").mkdir()
    (folder / "file").write_bytes(b"no weights")


def run_call(call: Call, *, block: bool) -> str | None:
    """Run a call; return what is wrong with it, or None.

    Args:
        call: See `calls`.
        block: Whether optional packages are made to look missing.
    """
    code = (BLOCK if block else "") + RUN
    done = subprocess.run(
        [sys.executable, "-c", code, *call.arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1"},
    )
    said = done.stdout + done.stderr
    if "Traceback" in said or "should not have happened" in said:
        return f"a fault: {said[-3000:]}"
    if call.extra is None:
        if done.returncode != call.exits or call.says not in said:
            return f"exit {done.returncode}, expected {call.exits} and '{call.says}': {said[-800:]}"
        return None
    errors = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    if done.returncode != 1 or len(errors) != 1 or not errors[0].startswith("error: "):
        return f"exit {done.returncode}, expected exit 1 and one line: {said[-800:]}"
    if f"pip install 'adcvsr[{call.extra}]'" not in errors[0]:
        return f"expected the pip command for [{call.extra}]: {errors[0]}"
    return None


def missing_commands(found: list[Call]) -> set[str]:
    """Commands that no call runs."""
    return set(COMMANDS) - {call.arguments[0] for call in found}


def main() -> Iterator[str]:
    """Run all calls here; yield a line for each that is wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for call in calls(folder):
            if wrong := run_call(call, block=False):
                yield f"adcvsr {' '.join(call.arguments)}: {wrong}"


if __name__ == "__main__":
    problems = list(main())
    sys.stdout.write(("\n".join(problems) or "every command works or names its extra") + "\n")
    sys.exit(bool(problems))
