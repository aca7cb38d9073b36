"""Lists of files in the place of folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from adcvsr.errors import TrainingDataError
from adcvsr.pictures.clips import VIDEO_SUFFIXES
from adcvsr.train.data.file_lists import read_list
from adcvsr.train.data.sources import _files


def read(path: Path) -> list[Path]:
    return read_list(path, VIDEO_SUFFIXES, "video")


def test_text_and_csv_name_files_beside_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    first, second = tmp_path / "b.mp4", tmp_path / "sub" / "a, b.MKV"
    for path in (first, second):
        path.touch()
    text = tmp_path / "list.txt"
    text.write_text(f"# ours\n\nb.mp4\r\n  sub/a, b.MKV \nb.mp4\n{first}\nmissing.mp4\n")
    assert read(text) == [first, second, tmp_path / "missing.mp4"]  # opened when it is due
    table = tmp_path / "OpenVid.CSV"
    table.write_text('\ufeffcaption,Video,score\n"two\nlines",b.mp4,5\nx,"sub/a, b.MKV",4\ny,,1\n')
    assert read(table) == [first, second]
    assert _files([tmp_path / "sub", table], VIDEO_SUFFIXES, "video") == [second, first, second]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "# nothing\n", "names no video"),
        ("a.txt", "b.mp4\nphoto.png\n", "line 2: 'photo.png' is no video; expected names"),
        ("a.txt", "gone.mp4\n", "gone.mp4', which is not there; names are relative"),
        ("a.csv", "name,caption\nb.mp4,x\n", "has the columns name, caption; expected one of path"),
        ("a.txt", "b\udcff.mp4", "cannot read the list"),
    ],
)
def test_wrong_lists_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / "b.mp4").touch()
    (tmp_path / name).write_text(text, errors="surrogateescape")
    with pytest.raises(TrainingDataError, match=message):
        read(tmp_path / name)


def test_what_is_neither_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="cannot read the list"):
        _files([tmp_path / "none.txt"], VIDEO_SUFFIXES, "video")
    with pytest.raises(TrainingDataError, match="is not a directory, nor a list of files"):
        _files([tmp_path / "none"], VIDEO_SUFFIXES, "video")
