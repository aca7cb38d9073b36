"""What the system refuses reaches a user with what to do, whichever command met it."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from adcvsr.cli.train import _told_to_torchrun
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.system_errors import ADVICE, MOST_SHOWN, UNKNOWN, system_message, system_reason
from warm_program import run_program

LONG = "x" * 300


@pytest.mark.parametrize("number", sorted(ADVICE))
def test_each_number_has_its_advice(number: int) -> None:
    said = system_message(OSError(number, os.strerror(number), "some/file"))
    assert said == f"{os.strerror(number)}: 'some/file': {ADVICE[number]}"
    assert system_reason(OSError(number, os.strerror(number), "some/file")) == (
        f"{os.strerror(number)}: {ADVICE[number]}"
    )


def test_others() -> None:
    assert system_message(OSError(9999, "odd")) == f"odd: {UNKNOWN}"
    assert system_message(OSError("words of a library")) == "words of a library"
    assert system_message(OSError()) == f"OSError: {UNKNOWN}"
    assert system_message(MemoryError()).startswith("out of memory: ")
    two = system_message(OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"))
    assert "'a', 'b'" in two


def test_a_write_names_no_file_so_its_place_is_named() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert system_message(full, Path("out.mp4")).startswith("No space left on device: 'out.mp4': ")
    named = OSError(errno.ENOSPC, "No space left on device", "other")
    assert "'out.mp4'" not in system_message(named, Path("out.mp4"))


def test_a_long_path_is_shortened() -> None:
    said = system_message(OSError(errno.ENAMETOOLONG, "File name too long", LONG))
    (shown,) = re.findall("'(x.*?)'", said)
    assert len(shown) == MOST_SHOWN + len("...")


def test_a_file_that_was_opened_by_its_number() -> None:
    assert "Input/output error: '3': " in system_message(
        OSError(errno.EIO, "Input/output error", 3)
    )


@pytest.mark.parametrize(
    "given",
    [
        ["upscale", f"{LONG}.mp4"],
        ["upscale", "in.mp4", f"{LONG}.mp4"],
        ["upscale", "in.mp4", "out.mp4", "--model", f"./{LONG}"],
        ["inspect", LONG],
        ["evaluate", LONG],
        ["bench", "nano", "-o", f"{LONG}.json"],
        ["calibrate", LONG, "-o", "set"],
        ["live", "--source", f"{LONG}.mp4", "--sink", "null://"],
        ["live", "--source", "test://?size=16x16", "--sink", f"{LONG}.mp4"],
        ["demo", "-o", LONG],
        ["report", "-o", f"{LONG}.zip"],
        ["plan", "nano", "--target", "orin-nano", "-o", f"{LONG}.html"],
    ],
    ids=lambda given: f"{given[0]} {len(given)}",
)
def test_a_name_that_is_too_long(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("in.mp4"), draw_clip(2, 16, 16))
    done = run_program(*given)
    assert done.returncode == 1
    assert "take a shorter name" in done.stderr
    assert "[Errno" not in done.stderr


def test_torchrun_is_told_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(told))
    with pytest.raises(OSError, match="No space left"), _told_to_torchrun():
        raise OSError(errno.ENOSPC, "No space left on device", "runs/checkpoint")
    assert "free some space" in told.read_text()
