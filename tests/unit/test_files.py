"""Files are hashed, replaced and moved in by one place."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from adcvsr import files, leftovers
from adcvsr.errors import OutputExistsError, OutputNotWritableError
from adcvsr.files import check_new, file_entry, replace_file, write_beside
from adcvsr.leftovers import move_in, part_folder


def test_a_file_is_hashed_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_HASH_BLOCK_BYTES", 3)
    path = tmp_path / "a"
    for data in (b"", b"ab", b"abc", b"abcdefgh"):
        path.write_bytes(data)
        assert file_entry(path) == {
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
        }


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("before")

    def half(part: Path) -> None:
        part.write_text("ha")
        raise OSError(28, "no space")

    with pytest.raises(OSError, match="no space"):
        write_beside(path, half)
    with pytest.raises(files.OutputNotWritableError, match="no space.*the one before it is kept"):
        replace_file(path, half)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, r"MiB are free there\); .*Make room and try again"),
        (errno.ENOENT, "x; nothing was left half-written. Create the folder first"),
        (errno.EROFS, "x; nothing was left half-written. Name another folder"),
        (errno.EACCES, "x; nothing was left half-written. Name another folder"),
    ],
)
def test_what_to_do_follows_what_happened(tmp_path: Path, number: int, advice: str) -> None:
    def fail(part: Path) -> None:
        raise OSError(number, "x")

    with pytest.raises(OutputNotWritableError, match=advice):
        replace_file(tmp_path / "a", fail)


def test_outputs_are_checked_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.touch()
    check_new(None, tmp_path / "new", overwrite=False)
    check_new(there, overwrite=True)
    with pytest.raises(OutputExistsError, match="there' exists; pass --overwrite"):
        check_new(tmp_path / "new", there, overwrite=False)
    with pytest.raises(OutputNotWritableError, match="no' does not exist; create it first"):
        check_new(tmp_path / "no" / "new", overwrite=True)
    for inside in ("new", "below/new"):
        with pytest.raises(OutputNotWritableError, match="there' is a file; name a folder"):
            check_new(there / inside, overwrite=True)
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    with pytest.raises(OutputNotWritableError, match="is not writable"):
        check_new(tmp_path / "new", overwrite=False)


@pytest.mark.parametrize("given", [False, True], ids=["part folder", "given"])
def test_what_cannot_be_moved_in_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    place, aside = tmp_path / "bundle", tmp_path / "old" if given else None
    place.mkdir()
    (place / "before").touch()

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "no space")

    with part_folder(tmp_path) as part:
        made = part / "bundle"
        made.mkdir()
        (made / "after").touch()
        with monkeypatch.context() as patched:
            patched.setattr(leftovers.os, "replace", full)
            with pytest.raises(OSError, match="no space"):
                move_in(made, place, aside)
        assert [each.name for each in place.iterdir()] == ["before"]
        move_in(made, place, aside)
        assert [each.name for each in place.iterdir()] == ["after"]
        assert aside is None or [each.name for each in aside.iterdir()] == ["before"]
    assert {each.name for each in tmp_path.iterdir()} == {"bundle", *(["old"] if given else [])}


def test_a_file_takes_a_files_place_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "bundle.zip"
    place.write_text("before")
    seen = []
    done = os.replace

    def watch(source: Path, target: Path) -> None:
        seen.append(place.read_text())
        done(source, target)

    monkeypatch.setattr(leftovers.os, "replace", watch)
    with part_folder(tmp_path) as part:
        (part / "made.zip").write_text("after")
        move_in(part / "made.zip", place)
    assert seen == ["before"]
    assert place.read_text() == "after"
