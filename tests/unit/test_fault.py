from __future__ import annotations

import re
import sys
from pathlib import Path

import click
import pytest

import adcvsr.cli.commands
from adcvsr.fault import without_any_secret


def test_an_unexpected_error_is_one_line_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise KeyError("rtsp://user:pass@camera/x?token=abc")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(adcvsr.cli.commands, "cli", click.Command("adcvsr", callback=broken))
    monkeypatch.setattr(adcvsr.cli.commands, "guard_threads", lambda say: None)
    monkeypatch.setattr(adcvsr.cli.commands.interrupts, "prepare", lambda: None)
    monkeypatch.setattr(sys, "argv", ["adcvsr"])
    monkeypatch.delenv("ADCVSR_DEBUG", raising=False)
    with pytest.raises(SystemExit) as ended:
        adcvsr.cli.commands.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: this should not have happened (KeyError")
    assert said.count("\n") == 1
    (written,) = tmp_path.glob("adcvsr-fault-*.txt")
    assert str(written) in said
    assert "Traceback" in written.read_text()
    assert not re.search("pass@|abc", said + written.read_text().replace("password", ""))
    assert written.stat().st_mode & 0o077 == 0


def test_secrets_are_hidden() -> None:
    assert (
        without_any_secret("rtsp://u:p@h/x?tok=1 password=abc") == "rtsp://***@h/x?*** password=***"
    )
