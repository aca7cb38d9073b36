"""Without what only POSIX systems have, everything that upscales is imported and runs.

Windows and macOS are not tested for themselves; this keeps what would certainly fail there out of
the imports and of the ordinary path.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from video_facts import VideoMaker, video_facts

WITHOUT = """
import builtins, io, os, signal, sys
# Libraries of others look at the system as they are imported: they come first.
import multiprocessing, socketserver, subprocess, tempfile
import av, click, filelock, numpy, onnxruntime, rich.console, rich.progress

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "readline", "syslog")
CALLS = (
    "nice", "sched_getaffinity", "getloadavg", "fork", "register_at_fork", "sysconf", "getuid",
    "geteuid", "uname", "mkfifo", "killpg", "setsid", "statvfs", "fchmod", "sync", "O_DIRECTORY",
)
SIGNALS = ("SIGHUP", "SIGKILL", "SIGALRM", "SIGUSR1", "pthread_sigmask", "setitimer")
for name in MODULES:
    sys.modules[name] = None
for name in CALLS:
    if hasattr(os, name):
        delattr(os, name)
for name in SIGNALS:
    if hasattr(signal, name):
        delattr(signal, name)


def without_proc(call):
    def asked(path, *rest, **named):
        if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(("/proc", "/sys/")):
            raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
        return call(path, *rest, **named)

    return asked


builtins.open = io.open = without_proc(open)
os.stat = without_proc(os.stat)
os.listdir = without_proc(os.listdir)
os.scandir = without_proc(os.scandir)
"""


def run_without(code: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_files_and_live_streams_run(make_video: VideoMaker, tmp_path: Path) -> None:
    out, live = tmp_path / "out.mp4", tmp_path / "live.mp4"
    said = run_without(
        """
import adcvsr

with adcvsr.Upscaler("nano") as upscaler:
    print(upscaler.upscale_file(sys.argv[1], sys.argv[2]).frames)
    options = adcvsr.LiveOptions(duration_s=1)
    adcvsr.LiveRun(upscaler, "test://?size=64x64&fps=10", sys.argv[3], options).run()
""",
        make_video(),
        out,
        live,
    )
    assert said == "8\n"
    assert len(video_facts(out).times) == 8
    assert video_facts(live).size == (256, 256)


@pytest.mark.parametrize("command", [["--help"], ["models"], ["inspect", "nano"], ["targets"]])
def test_the_command_line_starts(command: list[str]) -> None:
    assert run_without(
        "from adcvsr.cli.start import main\nsys.argv[:1] = ['adcvsr']\nmain()\n", *command
    )
