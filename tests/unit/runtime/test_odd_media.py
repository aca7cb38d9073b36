"""The smallest of the sweep over odd media, judged by FFmpeg's own programs where they are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = Path(__file__).parents[3] / "benchmarks" / "odd_media.py"


@pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="no ffmpeg and ffprobe here"
)
def test_the_smallest_of_the_sweep() -> None:
    command = [sys.executable, str(SWEEP), "--only", "joined_back", "aspect_64_45", "flac"]
    done = subprocess.run([*command, "--to", "mov"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '3 outputs: {"right": 3}' in done.stdout
