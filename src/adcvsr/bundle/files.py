"""Reading the files of a bundle, a directory or a zip file alike, in blocks and within limits.

for block in read_blocks(Path("nano.zip"), "golden.npz", limit=1 << 20): ...
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from ..errors import BundleError
from ..given import MANIFEST

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

BLOCK_BYTES = 16 << 20
"""Files are read in blocks of this, so that memory stays bounded."""

PACKED_BYTES, MOST_PACKED = 1 << 20, 100
"""Entries of a zip file beyond the first may not unpack to more than the second times their packed
size: weights hardly get smaller, JSON twenty times."""

DIRECTORY_LIMIT_BYTES = 1 << 20
"""Of a zip file's list of entries; a bundle's has about a dozen of 100 bytes."""

_END_LENGTH, _WIDE_LENGTH = 22, 20 + 56
"""Of a zip file's end record, and of what stands before it in files of more than 4 GiB."""


def read_blocks(path: Path, name: str, *, limit: int) -> Iterator[bytes]:
    """Read a file of a bundle.

    Args:
        path: The bundle.
        name: The file's name in it.
        limit: Largest size in bytes.

    Raises:
        BundleError: The name leaves the bundle; the file is missing, unreadable or longer.
    """
    check_member_name(path, name)
    length = 0
    try:
        with _open(path, name, limit) as file:
            while block := file.read(BLOCK_BYTES):
                length += len(block)
                if length > limit:
                    raise BundleError(
                        f"'{path}': '{name}' is longer than the {limit} bytes expected"
                    )
                yield block
    except BundleError:
        raise
    except (FileNotFoundError, KeyError) as error:
        raise BundleError(
            f"'{path}' is not a bundle: it has no '{name}'"
            if name == MANIFEST
            else f"'{path}': '{name}' is listed in the manifest but missing"
        ) from error
    except Exception as error:
        if not isinstance(error, (*_zip_errors(), EOFError, OSError, RuntimeError)):
            raise
        raise BundleError(f"'{path}' cannot be read as a bundle: {error}") from error


def check_member_name(path: Path, name: str) -> None:
    """Refuse names that leave the bundle.

    Raises:
        BundleError: The name is absolute, has `..`, or is not a plain relative path.
    """
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name:
        raise BundleError(f"'{path}': the manifest names {name!r}, which leaves the bundle")
    if not name.isprintable():
        raise BundleError(f"'{path}': the manifest names {name!r}, which is no file's name")


@contextmanager
def _open(path: Path, name: str, limit: int) -> Iterator[IO[bytes]]:
    if path.is_dir():
        # A pipe would be waited for, a device read for ever; links are followed, their content is
        # hashed as any file's.
        mode = (path / name).stat().st_mode
        if not stat.S_ISREG(mode):
            raise BundleError(f"'{path}': '{name}' is no plain file")
        with (path / name).open("rb") as file:
            yield file
    else:
        import zipfile

        _check_directory(path)
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(_member(archive, path, name, limit)) as member,
        ):
            yield member


def _member(archive: ZipFile, path: Path, name: str, limit: int) -> ZipInfo:
    """The one entry of a name, refused where it is not what it should be.

    Raises:
        BundleError, KeyError: It is no plain file, doubled, longer than the limit, or packed as no
            weights can be; it is not there.
    """
    found = [info for info in archive.infolist() if info.filename == name]
    if len(found) > 1:
        raise BundleError(f"'{path}' has {len(found)} entries named '{name}', expected one")
    info = archive.getinfo(name)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or info.is_dir():
        raise BundleError(f"'{path}': '{name}' is no plain file")
    if info.file_size > limit:
        raise BundleError(f"'{path}': '{name}' is longer than the {limit} bytes expected")
    if info.file_size > PACKED_BYTES and info.file_size > MOST_PACKED * info.compress_size:
        raise BundleError(
            f"'{path}': '{name}' unpacks {info.compress_size:,} bytes to {info.file_size:,}; at "
            f"most {MOST_PACKED} times is expected of weights"
        )
    return info


def _check_directory(path: Path) -> None:
    """Refuse a list of entries that is no bundle's, before `zipfile` makes objects of it.

    Raises:
        BundleError: It is longer than `DIRECTORY_LIMIT_BYTES`.
    """
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - _END_LENGTH - 0xFFFF - _WIDE_LENGTH))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + _END_LENGTH:
        return  # no zip file, as `zipfile` will say
    listed = int.from_bytes(tail[at + 12 : at + 16], "little")
    wide = tail[max(0, at - _WIDE_LENGTH) : at]
    if wide.startswith(b"PK\x06\x06"):
        listed = max(listed if listed != 0xFFFFFFFF else 0, int.from_bytes(wide[40:48], "little"))
    if listed > DIRECTORY_LIMIT_BYTES:
        raise BundleError(
            f"'{path}' is no bundle: its list of entries has {listed:,} bytes, at most "
            f"{DIRECTORY_LIMIT_BYTES:,} expected"
        )


def _zip_errors() -> tuple[type[Exception], ...]:
    """What a damaged zip file raises; imported late, as most bundles are folders."""
    import lzma
    import zipfile
    import zlib

    return zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, NotImplementedError
