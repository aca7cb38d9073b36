"""What killed programs leave is removed, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adcvsr import leftovers
from adcvsr.files import replace_file
from adcvsr.leftovers import part_beside, part_folder, set_aside

WRITER = """
import sys, time
from pathlib import Path
from adcvsr.leftovers import part_beside, part_folder, set_aside
folder = Path(sys.argv[1])
part_beside(folder / "out.mp4").write_bytes(bytes(1000))
with part_folder(folder) as part:
    set_aside(folder / "bundle", part)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test writes in a folder for the first time."""
    monkeypatch.setattr(leftovers, "_used", set())


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that replaces `bundle` and writes `out.mp4`, in the middle of both."""
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("precious")
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_living_programs_parts_stay(writer: subprocess.Popen[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    replace_file(tmp_path / "mine.json", lambda part: part.write_text("{}"))
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "mine.json"])


@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_programs_parts_go_and_what_it_replaced_comes_back(
    writer: subprocess.Popen[str], tmp_path: Path, reaped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    writer.kill()
    if reaped:
        writer.wait()
    else:
        time.sleep(0.3)
    replace_file(tmp_path / "mine.json", lambda part: part.write_text("{}"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "mine.json"]
    assert (tmp_path / "bundle" / "manifest.json").read_text() == "precious"
    (line,) = caplog.messages
    assert line.startswith("note: removed what 2 killed runs left unfinished in ")


RECORDER = """
import os, sys
from pathlib import Path
from adcvsr.leftovers import recording_beside, remove_own
folder = Path(sys.argv[1])
recording_beside(folder / "cam.1.part.mkv").write_text("an hour")
recording_beside(folder / "empty.mkv").touch()
if sys.argv[2] == "cut":
    os.kill(os.getpid(), 9)
remove_own()
"""


@pytest.mark.parametrize("end", ["cut", "hurry"])
def test_a_recording_is_kept(tmp_path: Path, end: str, caplog: pytest.LogCaptureFixture) -> None:
    """It cannot be made again: not by a service that starts anew after a power cut, not after a
    library that did not come back."""
    (tmp_path / "cam.1.part.kept-1.mkv").write_text("of last week")
    subprocess.run([sys.executable, "-c", RECORDER, str(tmp_path), end], check=False)
    part_beside(tmp_path / "other.mkv")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "cam.1.part.kept-1.mkv": "of last week",
        "cam.1.part.kept-2.mkv": "an hour",
    }
    said = f"note: what a killed run had recorded is '{tmp_path}/cam.1.part.kept-2.mkv'"
    assert (said in caplog.messages) == (end == "cut")


def test_only_names_of_dead_processes_of_this_machine(tmp_path: Path) -> None:
    """Another machine's, a process number that was given anew, links, and files of the user's."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    place, boot, pid, began = leftovers._me()
    other = "0" * 8 if place != "0" * 8 else "1" * 8
    stay = [
        f".adcvsr-{other}-{boot}-{gone.pid}-{began}-0.part.mp4",
        f".adcvsr-{place}-{other}-{gone.pid}-{began}-0.part.mp4",  # another boot, and yet new
        f".adcvsr-{place}-{boot}-{pid}-{began}-99.part.mp4",
        f".adcvsr-{place}-{boot}-{gone.pid}-{began}-0.part.mp4.mine",
        ".adcvsr-notes.part.mp4",
        ".abcd1234.part.mp4",
        "film.mp4",
    ]
    go = [
        f".adcvsr-{place}-{boot}-{gone.pid}-{began}-0.part.mp4",
        f".adcvsr-{place}-{boot}-{pid}-{int(began) + 1}-0.part",  # the number was given anew
        f".adcvsr-{place}-{other}-{gone.pid}-{began}-7.part.mp4",  # from before this boot
    ]
    for name in (*stay, *go):
        (tmp_path / name).write_text("x")
    os.utime(tmp_path / go[2], (1, 1))
    link = tmp_path / f".adcvsr-{place}-{boot}-{gone.pid}-{began}-3.part.mp4"
    link.symlink_to("film.mp4")
    part_beside(tmp_path / "out.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*stay, link.name])


def test_an_interrupt_between_two_moves_loses_nothing(tmp_path: Path) -> None:
    mine = tmp_path / "set"
    mine.mkdir()
    (mine / "frames").write_text("precious")
    with pytest.raises(KeyboardInterrupt), part_folder(tmp_path) as part:  # noqa: PT012
        set_aside(mine, part)
        raise KeyboardInterrupt
    assert (mine / "frames").read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_link_that_is_replaced_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "report.json"
    link.symlink_to("real/report.json")
    replace_file(link, lambda part: part.write_text("new"))
    assert link.is_symlink()
    assert (tmp_path / "real" / "report.json").read_text() == "new"
