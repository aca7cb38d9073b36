"""A damaged file that can be made again is set aside with a line; nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from adcvsr.damaged import read_or_set_aside
from adcvsr.errors import EngineError
from adcvsr.reading import read_json


def read(path: Path) -> dict[str, object] | None:
    return read_or_set_aside(
        path, lambda: read_json(path, error=EngineError).mapping(), EngineError
    )


def test_a_whole_file_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    assert read(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert not caplog.messages


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b'{"a": NaN}', b"[" * 5000])
def test_a_damaged_one_is_kept_beside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "a.json"
    for name in ("a.json.damaged", "a.json.damaged-2"):
        path.write_bytes(content)
        assert read(path) is None
        assert not path.exists()
        assert (tmp_path / name).read_bytes() == content
        assert f"the damaged file is now '{name}' (" in caplog.messages[-1]


def test_what_cannot_be_read_is_not_damaged(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path / "folder.json", tmp_path / "loop.json"):
        if path.stem == "folder":
            path.mkdir()
        elif path.stem == "loop":
            path.symlink_to(path)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(EngineError, match="cannot read"):
            read(path)
        assert sorted(tmp_path.iterdir()) == before


def test_another_process_set_it_aside_meanwhile(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.json"

    def damaged() -> None:
        path.unlink(missing_ok=True)
        raise EngineError("is not valid JSON")

    path.write_text("{")
    assert read_or_set_aside(path, damaged, EngineError) is None
    assert list(tmp_path.iterdir()) == []
    assert not caplog.messages


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(EngineError, match="is not valid JSON"):
        read(tmp_path / "a.json")
