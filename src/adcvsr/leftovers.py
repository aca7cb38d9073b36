"""Names of files and folders that are being written, and what killed programs left of them.

A name carries who writes there, so that the next program that writes in a folder can remove what
a dead one left (`kill -9`, a power cut) and nothing else: not a living program's, not one's on
another machine or in another container, and never a file of the user's.

    part = part_beside(path)
    with part_folder(path.parent) as folder: ...
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

REPLACED = "replaced"
"""Folder inside a part folder: what it is about to replace, under its own name. It goes back to its
place, unless something has that place by then."""

_NAME = re.compile(
    r"\.adcvsr-(?P<place>[0-9a-f]{8})-(?P<boot>[0-9a-f]{8})-(?P<pid>\d+)-(?P<began>\d+)-\d+"
    r"(\.(?P<kept>.{1,40}))?\.part(\.\w{1,16})?",
    re.DOTALL,
)
_LOGGER = logging.getLogger("adcvsr")
_counter = itertools.count()
_KEPT_LENGTH = 40
"""Characters of its own name that a kept file has; file systems allow 255 bytes."""

_used: set[Path] = set()
"""Folders in which this process wrote parts; each was swept once."""


def part_beside(path: Path) -> Path:
    """A hidden name in a file's folder, of the same ending, for the file while it is written.

    The first one in a folder removes what killed programs left there, and says so.
    """
    return _new_part(path.parent, path.suffix if re.fullmatch(r"\.\w{1,16}", path.suffix) else "")


def recording_beside(path: Path) -> Path:
    """Like `part_beside`, for what cannot be made again.

    What a killed program left of it is not removed: it gets a name that is seen, see `keep`.
    """
    part = part_beside(path)
    return part.with_name(part.name.replace(".part", f".{path.stem[:_KEPT_LENGTH]}.part", 1))


def keep(part: Path, stem: str) -> Path:
    """Leave a partial file beside its name, where it is seen and no one sweeps it.

    Args:
        part: The file.
        stem: What its name is to begin with.

    Returns:
        Where it lies now: where it lay, if it cannot be moved.
    """
    for number in range(1, 1000):
        kept = part.with_name(f"{stem[:_KEPT_LENGTH]}.kept-{number}{part.suffix}")
        with suppress(OSError):
            publish(part, kept)
            return kept
    return part


def publish(part: Path, path: Path) -> None:
    """Give a finished file its name, unless something has that name by now.

    Raises:
        FileExistsError: Something has.
        OSError: The file cannot be moved.
    """
    try:
        os.link(part, path)  # fails where the name is taken, which a rename would not
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(path) from None
        os.replace(part, path)
    else:
        part.unlink()


@contextmanager
def part_folder(parent: Path | None = None) -> Iterator[Path]:
    """A hidden empty folder, removed at the end with all that is still in it.

    What lies in its subfolder `REPLACED` goes back beside it first, where its name is free.

    Args:
        parent: Where it is; None for the system's folder for temporary files.

    Raises:
        OSError: It cannot be made.
    """
    folder = _new_part(parent or Path(tempfile.gettempdir()), "")
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        _discard(folder)


def set_aside(path: Path, folder: Path) -> Path:
    """Move what is about to be replaced into a part folder, from where it comes back if need be.

    Args:
        path: The file or folder.
        folder: Made by `part_folder` beside it.

    Returns:
        Where it lies now.
    """
    aside = folder / REPLACED / path.name
    aside.parent.mkdir(exist_ok=True)
    path.rename(aside)
    return aside


def move_in(made: Path, path: Path, aside: Path | None = None) -> None:
    """Move a finished file or folder to its name; if that fails, what had the name comes back.

    Args:
        made: On the path's disk; in a folder of `part_folder` beside the path, unless `aside` is
            given.
        path: Its name.
        aside: Where a folder that lies there goes, for the caller to remove; None for the part
            folder, with which it goes.

    Raises:
        OSError: It cannot be moved.
    """
    old = None
    if path.is_dir() or (path.exists() and made.is_dir()):  # a file takes a file's place at once
        old = set_aside(path, made.parent) if aside is None else path.rename(aside)
    try:
        os.replace(made, path)
    except BaseException:
        if old is not None:
            old.rename(path)
        raise


def remove_own() -> None:
    """Remove all parts of this process, which is about to end at once; recordings are kept."""
    for folder in list(_used):
        for part in _parts_in(folder):
            own = part.name.startswith(f".adcvsr-{'-'.join(_me())}-")
            if own and _keep_recording(part) is None:
                _discard(part)


def own_name() -> str:
    """This process's name, as in the names of its parts: machine, boot, number and begin."""
    return "-".join(_me())


def is_gone(name: str) -> bool:
    """Whether the process of a name (`own_name`) ran here since the last boot and is gone."""
    parts = name.split("-")
    if len(parts) != 4 or parts[:2] != list(_me()[:2]) or os.name != "posix":
        return False
    pid, began = parts[2:]
    if not pid.isdigit():
        return False
    return not _is_there(int(pid)) or (began != "0" and _began(int(pid)) not in (began, "0"))


def any_in_use() -> bool:
    """Whether this process has written parts; they may be gone by now."""
    return bool(_used)


def sweep(folder: Path) -> None:
    """Remove what dead programs of this user and machine left in a folder, and say so.

    What they recorded is kept under a name that is seen.
    """
    count, size = 0, 0
    for part in _parts_in(folder):
        if not _is_dead(part):
            continue
        if kept := _keep_recording(part):
            _LOGGER.warning("note: what a killed run had recorded is '%s'", kept)
        else:
            size += _bytes_of(part)
            _discard(part)
            count += not part.exists()
    if count:
        _LOGGER.warning(
            "note: removed what %d killed run%s left unfinished in '%s' (%.1f MB)",
            count,
            "s"[: count > 1],
            folder,
            size / 1e6,
        )


def _new_part(folder: Path, suffix: str) -> Path:
    if folder not in _used:
        _used.add(folder)
        sweep(folder)
    return folder / f".adcvsr-{'-'.join(_me())}-{next(_counter)}.part{suffix}"


def _parts_in(folder: Path) -> list[Path]:
    """What has a name of ours and belongs to this user."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not _NAME.fullmatch(entry.name):
                continue
            with suppress(OSError):
                facts = entry.stat(follow_symlinks=False)
                if not entry.is_symlink() and facts.st_uid == _user():
                    found.append(Path(entry.path))
    return found


def _keep_recording(part: Path) -> Path | None:
    """Give a recording that was begun a name that is seen; None for what may be removed."""
    match = _NAME.fullmatch(part.name)
    if match is None or not match["kept"]:
        return None
    with suppress(OSError):
        if part.lstat().st_size:
            return keep(part, match["kept"])
    return None


def _discard(part: Path) -> None:
    """Remove a part; what it was about to replace goes back first."""
    with suppress(OSError):
        for old in (part / REPLACED).iterdir() if part.is_dir() else ():
            place = part.parent / old.name
            if not os.path.lexists(place):
                old.rename(place)
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        with suppress(OSError):
            part.unlink()


def _is_dead(part: Path) -> bool:
    """Whether the process that made a part is gone for certain."""
    match = _NAME.fullmatch(part.name)
    assert match is not None
    place, boot, pid, began = match.group("place", "boot", "pid", "began")
    mine = _me()
    if place != mine[0] or os.name != "posix":
        return False
    if boot != mine[1]:
        # Of before this machine was started, or of a machine that was copied from it.
        with suppress(OSError):
            return part.lstat().st_mtime < _booted_at()
        return False
    return is_gone("-".join((place, boot, pid, began)))


def _is_there(pid: int) -> bool:
    """Whether a process runs under a number; one that waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return _stat_of(pid)[:1] not in (["Z"], ["X"])


def _me() -> tuple[str, str, str, str]:
    """Machine and container, boot, process number and the process's begin, as in names."""
    pid = os.getpid()
    return _place(), _boot(), str(pid), _began(pid)


@cache
def _place() -> str:
    """The machine and, on Linux, the space in which its process numbers count."""
    known = [os.uname().nodename if hasattr(os, "uname") else ""]
    with suppress(OSError):
        known.append(Path("/etc/machine-id").read_text())
    with suppress(OSError):
        known.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(known).encode()).hexdigest()[:8]


@cache
def _boot() -> str:
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return "0" * 8
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _booted_at() -> float:
    """When this machine started, seconds since the epoch; 0 where it does not tell."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/stat").read_text().splitlines():
            if line.startswith("btime "):
                return float(line.split()[1])
    return 0.0


def _began(pid: int) -> str:
    """When a process began, in ticks since the boot (proc(5)); "0" where nothing tells."""
    fields = _stat_of(pid)
    return fields[19] if len(fields) > 19 else "0"


def _stat_of(pid: int) -> list[str]:
    """The fields after the program's name, which may hold anything: state first."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return []


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def _bytes_of(part: Path) -> int:
    """Bytes that removing a part frees: links to files that stay count for nothing."""
    files = part.rglob("*") if part.is_dir() else [part]
    with suppress(OSError):
        facts = [file.lstat() for file in files if file.is_file()]
        return sum(each.st_size for each in facts if each.st_nlink == 1)
    return 0
