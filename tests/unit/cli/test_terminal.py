"""What steers a terminal is shown instead of done, whoever wrote it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adcvsr.cli._terminal import clean, clean_streams, one_line, raw


def test_what_is_cleaned() -> None:
    assert clean("plain é 日本 \t\n") == "plain é 日本 \t\n"
    assert clean("a\x1b[2Jb\rc\x07\x9b1m\x7f") == r"a\x1b[2Jb\x0dc\x07\x9b1m\x7f"
    assert clean("gpj.\u202eexe\u2028") == r"gpj.\u202eexe\u2028"
    assert clean("\udcff\ud800") == r"\xff\ud800"
    assert one_line("a\n b\r\n\nc") == "a b c"


def test_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with clean_streams():
        sys.stdout.write("\x1b[1m")
        sys.stderr.writelines(["\x07"])
        raw(sys.stderr).write("\r\x1b[K")
        assert not hasattr(sys.stdout, "buffer")
    assert out.getvalue() == r"\x1b[1m"
    assert err.getvalue() == "\\x07\r\x1b[K"
    assert sys.stdout is out


def adcvsr(*arguments: bytes | str, models: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "ADCVSR_MODELS": str(models)}
    command = [sys.executable, "-m", "adcvsr", *arguments]
    return subprocess.run(command, capture_output=True, env=environment, check=False, timeout=60)


def test_names_of_files_and_manifests(tmp_path: Path) -> None:
    """A file's name with an escape and a byte that is no text; one bad bundle among good ones."""
    bad = tmp_path / "bad\x1b]0;x\x07"
    bad.mkdir()
    (bad / "manifest.json").write_bytes(b'\xff{"schema": "\x1b[2J"}')
    done = adcvsr("models", models=tmp_path)
    assert done.returncode == 0
    assert b"nano" in done.stdout
    assert b"BAD, not usable" in done.stdout
    assert b"not UTF-8 text" in done.stdout
    failed = adcvsr("upscale", b"/none\x1b]0;x\x07\n\xff.mp4", "out.mp4", models=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.count(b"\n") == 1
    assert b"\\x1b]0;x\\x07" in failed.stderr
    assert b"\x1b" not in done.stdout + done.stderr + failed.stderr
