"""What the system refused, for people: its words, the file, what to do.

system_message(error)  # "File name too long: 'aaa...': take a shorter name, of at most 255 bytes"
"""

from __future__ import annotations

import errno
import os

MOST_SHOWN = 120
"""Characters of a path that a message shows; the middle of a longer one is left out."""

_OWNER = "take a place that you may use, or change its owner or its rights ('ls -ld' shows them)"
_ROOM = "free some space, then run the same command again"

ADVICE = {
    errno.ENAMETOOLONG: "take a shorter name: most file systems allow 255 bytes for a name, and "
    "4,096 for a path",
    **dict.fromkeys((errno.EACCES, errno.EPERM), _OWNER),
    errno.EROFS: "it lies on a disk that cannot be written; name a place on another",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _ROOM),
    errno.EFBIG: "this disk, or 'ulimit -f', allows no file of that size; name a place elsewhere",
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE), "raise the limit of open files, such as 'ulimit -n 4096'"
    ),
    errno.ENOENT: "check the path; a folder has to be there before a file can lie in it",
    errno.EEXIST: "name another place, or remove what is there",
    errno.ENOTDIR: "a part of this path is a file, where a folder was expected; check the path",
    errno.EISDIR: "this is a folder, where a file was expected; name a file",
    errno.ENOTEMPTY: "the folder was expected to be empty; name another",
    errno.ELOOP: "links lead in a circle here; name the file itself",
    errno.EXDEV: "both places must be on one disk; name another place",
    errno.EIO: "the disk or the network share failed; 'dmesg' may say more. Try another",
    errno.ESTALE: "the network share lost this file; mount the share again",
    errno.ENOMEM: "the system has no memory left; end other programs, or take smaller input",
    errno.EADDRINUSE: "another program uses this port; take another port",
    errno.EADDRNOTAVAIL: "no network card of this machine has this address; 'ip addr' lists them",
    errno.ECONNREFUSED: "nothing listens there; check host and port, and start the other end first",
    errno.ETIMEDOUT: "the other end did not answer; check its address, and the network",
}
"""What to do, by the system's number."""

UNKNOWN = "adcvsr knows no remedy for this; ADCVSR_DEBUG=1 before the command shows where it failed"


def system_message(
    error: OSError | MemoryError, place: str | os.PathLike[str] | None = None
) -> str:
    """Return what the system refused, of which file, and what to do.

    Args:
        error: As Python raised it. One without a number of the system keeps its own words.
        place: What was worked on, for an error that names no file, as that of a write does.
    """
    if isinstance(error, MemoryError):
        return f"out of memory: {ADVICE[errno.ENOMEM]}"
    if error.errno is None or not error.strerror:
        return str(error) or f"{type(error).__name__}: {UNKNOWN}"
    files = [each for each in (error.filename, error.filename2) if each is not None]
    if not files and place is not None:
        files = [place]
    named = ", ".join(f"'{_shortened(_name(each))}'" for each in files if each != "")
    where = f": {named}" if named else ""
    return f"{error.strerror}{where}: {ADVICE.get(error.errno, UNKNOWN)}"


def system_reason(error: OSError) -> str:
    """Return what the system refused and what to do, for a message that names the file itself."""
    return system_message(OSError(error.errno, error.strerror))


def _name(file: object) -> str:
    """A path as text; a file that was opened by its number has that alone."""
    return os.fsdecode(file) if isinstance(file, str | bytes | os.PathLike) else str(file)


def _shortened(path: str) -> str:
    if len(path) <= MOST_SHOWN:
        return path
    half = MOST_SHOWN // 2
    return f"{path[:half]}...{path[-half:]}"
