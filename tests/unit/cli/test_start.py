"""Signals and descriptors as the command line finds them when it starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adcvsr import interrupts
from video_facts import VideoMaker, video_facts

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PROGRAM = """
import importlib, sys, time
from pathlib import Path
from adcvsr import interrupts
interrupts.GRACE_S = 0.5
interrupts.prepare()
sys.path.insert(0, sys.argv[1])
{before}
print("ready", flush=True)
try:
    {work}
except BaseException as error:
    print(type(error).__name__, flush=True)
"""


@contextmanager
def run_program(folder: Path, work: str, before: str = "") -> Iterator[subprocess.Popen[str]]:
    text = PROGRAM.format(work=work, before=before)
    command = [sys.executable, "-c", text, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        try:
            yield process
        finally:
            process.kill()


SWALLOWING = """
import time
try:
    while True:
        time.sleep(0.01)
except KeyboardInterrupt:
    raise ImportError("the package is broken")
"""
"""A module that takes an interrupt for a fault of its own, as libraries' do."""


@pytest.mark.parametrize("number", SIGNALS)
def test_in_an_import_it_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "swallowing.py").write_text(SWALLOWING)
    with run_program(tmp_path, "importlib.import_module('swallowing')") as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (interrupts.INTERRUPTED, "", "interrupted\n")


PART = """
from adcvsr.leftovers import part_folder
context = part_folder(Path(sys.argv[1]))
context.__enter__()
"""


def test_an_import_that_takes_long_is_not_waited_for(tmp_path: Path) -> None:
    """That of torch takes half a minute from a slow disk."""
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    with run_program(tmp_path, "importlib.import_module('slow')", PART) as process:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (interrupts.INTERRUPTED, "interrupted\n")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_in_an_import_with_files_under_way_it_ends_after_the_import(tmp_path: Path) -> None:
    slow = "import sys, time\ntime.sleep(0.7)\nsys.stdout.write('imported\\n')\n"
    (tmp_path / "slow.py").write_text(slow)
    before = f"interrupts.GRACE_S = 9.0\n{PART}"
    work = "importlib.import_module('slow'); time.sleep(9)"
    with run_program(tmp_path, work, before) as process:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=10)
    assert out.split() == ["imported", "KeyboardInterrupt"]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_call_that_does_not_come_back_is_ended(tmp_path: Path) -> None:
    """No Python runs in the main thread, so no handler does; partial files go all the same."""
    before = (
        "from adcvsr.leftovers import part_beside\n"
        "import ctypes; libc, lock = ctypes.CDLL(None), ctypes.create_string_buffer(128)\n"
        "part_beside(Path(sys.argv[1]) / 'out.mp4').write_text('half')"
    )
    forever = "libc.pthread_mutex_lock(lock), libc.pthread_mutex_lock(lock)"
    with run_program(tmp_path, forever, before) as process:
        began = time.monotonic()
        # Ctrl-C as another thread takes it.
        for task in os.listdir(f"/proc/{process.pid}/task"):
            if int(task) != process.pid:
                signal_thread(process.pid, int(task))
        _, err = process.communicate(timeout=10)
    assert time.monotonic() - began < 5
    assert (process.returncode, err) == (interrupts.INTERRUPTED, "interrupted\n")
    assert not list(tmp_path.iterdir())


def test_a_signal_that_another_thread_took_interrupts_the_main_thread(tmp_path: Path) -> None:
    with run_program(tmp_path, "time.sleep(9)") as process:
        for task in os.listdir(f"/proc/{process.pid}/task"):
            if int(task) != process.pid:
                signal_thread(process.pid, int(task))
        out, err = process.communicate(timeout=8)
    assert (out, err) == ("KeyboardInterrupt\n", "")


def signal_thread(process: int, thread: int) -> None:
    """Send SIGINT to one thread (tgkill)."""
    import ctypes

    numbers = {"x86_64": 234, "aarch64": 131}
    libc = ctypes.CDLL(None, use_errno=True)
    number = numbers.get(os.uname().machine)
    if number is None:
        pytest.skip("the number of tgkill is not known for this processor")
    libc.syscall(number, process, thread, int(signal.SIGINT))


GUARDED = "from adcvsr.fault import guard_threads\nguard_threads(print)\n"
"""As the command line does."""


def test_signals_that_come_together_are_one(tmp_path: Path) -> None:
    """A service manager and a terminal that closes send several."""
    with run_program(tmp_path, "time.sleep(9)", GUARDED) as process:
        for number in (signal.SIGSTOP, *SIGNALS, signal.SIGCONT):
            process.send_signal(number)
        out, err = process.communicate(timeout=8)
    assert (out, err) == ("KeyboardInterrupt\n", "")


@pytest.mark.parametrize("guarded", ["", GUARDED])
def test_an_interrupt_in_a_destructor_comes_again(tmp_path: Path, guarded: str) -> None:
    before = "class Slow:\n    def __del__(self):\n        time.sleep(0.6)\nslow = Slow()"
    before = f"{guarded}{before}"
    with run_program(tmp_path, "del slow; time.sleep(9)", before) as process:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=8)
    assert (out, err) == ("KeyboardInterrupt\n", "")


@pytest.mark.parametrize("number", SIGNALS)
def test_what_was_ignored_stays_ignored(number: signal.Signals) -> None:
    """As `nohup` does with SIGHUP, and a shell with SIGINT of what it starts in the background."""
    text = (
        "import os, signal; from adcvsr import interrupts; interrupts.prepare()\n"
        f"os.kill(os.getpid(), {int(number)}); print('goes on')"
    )
    shell = f'trap \'\' {number.name[3:]}; exec "$0" -c "$1"'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, text], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "goes on\n"), done.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_descriptors(make_video: VideoMaker, tmp_path: Path, closed: str) -> None:
    """Nothing that is printed, by FFmpeg neither, may land in a file that took the number."""
    source = make_video()
    command = f'exec "$0" -m adcvsr upscale "$1" "$2" {closed}'
    output = tmp_path / "out.mp4"
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, str(source), str(output)], check=False
    )
    assert done.returncode == 0
    assert len(video_facts(output).times) == 8


def test_no_further_thread_is_one_line(make_video: VideoMaker, tmp_path: Path) -> None:
    text = (
        "import sys, threading\n"
        "begin = threading.Thread.start\n"
        "def start(thread):\n"
        "    if thread.name == 'adcvsr-infer':\n"
        '        raise RuntimeError("can\'t start new thread")\n'
        "    begin(thread)\n"
        "threading.Thread.start = start\n"
        "from adcvsr.cli.start import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, "upscale", str(make_video()), str(tmp_path / "out.mp4")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: the system gives no thread for 'adcvsr-infer' \(.*\): raise .*\n", done.stderr
    )
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]
