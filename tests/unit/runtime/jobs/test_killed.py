"""A run that is killed at random moments goes on, and its file has the bits of one that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest

from adcvsr.files import file_sha256
from adcvsr.runtime.jobs.folder import Job
from video_facts import VideoMaker

KILLS = 3


@pytest.mark.slow
def test_killed_three_times_and_resumed(tmp_path: Path, make_video: VideoMaker) -> None:
    film = make_video("film.mp4", size=(96, 64), pts=range(150), time_base=Fraction(1, 25))
    words = [sys.executable, "-m", "adcvsr", "upscale", str(film)]
    options = ["--segment-seconds", "0.5", "--variant", "fp32", "--threads", "1"]
    whole, torn = tmp_path / "whole.mp4", tmp_path / "torn.mp4"
    subprocess.run([*words, str(whole), *options, "--resume"], check=True)
    rng, folder = random.Random(5), tmp_path / "torn.mp4.job"
    resumed = [*words, str(torn), *options, "--resume"]
    for _ in range(KILLS):
        process = subprocess.Popen(resumed)
        before = _done(folder)
        until = time.monotonic() + 60
        while _done(folder) <= before and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(rng.random() / 4)
        process.kill()
        process.wait()
    assert not torn.exists()
    assert 0 < _done(folder) < len(Job(folder).plan.segments)
    interrupted = subprocess.Popen(resumed, stderr=subprocess.PIPE)
    time.sleep(3)
    os.kill(interrupted.pid, signal.SIGINT)
    interrupted.communicate()
    if interrupted.returncode:
        assert interrupted.returncode == 130
        subprocess.run(resumed, check=True)
    assert file_sha256(torn) == file_sha256(whole)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["film.mp4", "torn.mp4", "whole.mp4"]


def _done(folder: Path) -> int:
    return len(list((folder / "segments").glob("*.json"))) if folder.exists() else 0
