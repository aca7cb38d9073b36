"""Every example of docs/python.md runs, one after the other, in a folder that holds a clip."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import adcvsr
from video_facts import VideoMaker, video_facts

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_example_runs(
    tmp_path: Path,
    make_video: VideoMaker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = video_facts(make_video())
    assert len(EXAMPLES) == 5
    for example in EXAMPLES:
        exec(compile(example, str(PAGE), "exec"), {})
    assert "missing.mp4" in capsys.readouterr().out
    for name in ("out.mp4", "loop.mp4"):
        made = video_facts(tmp_path / name)
        assert made.size == (4 * given.size[0], 4 * given.size[1])
        assert [float(time) for time in made.times] == pytest.approx(
            [float(time) for time in given.times], abs=1e-3
        )
    assert len(video_facts(tmp_path / "live.mp4").times) >= 3


def test_the_table_of_errors_names_every_layer() -> None:
    layers = {
        each.__name__ for each in adcvsr.AdcVsrError.__subclasses__() if each.__subclasses__()
    }
    table = set(re.findall(r"^\| `(\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert table == layers
    assert layers <= set(adcvsr.__all__)
