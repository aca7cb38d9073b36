"""Reading the files of a bundle, a directory or a zip file alike, in blocks and within limits.

for block in read_blocks(Path("nano.zip"), "golden.npz", limit=1 << 20): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from .errors import BundleError

MANIFEST = "manifest.json"

BLOCK_BYTES = 16 << 20
"""Files are read in blocks of this, so that memory stays bounded."""


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
        with _open(path, name) as file:
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
        raise BundleError(f"'{path}': the manifest names '{name}', which leaves the bundle")


@contextmanager
def _open(path: Path, name: str) -> Iterator[IO[bytes]]:
    if path.is_dir():
        with (path / name).open("rb") as file:
            yield file
    else:
        import zipfile

        with zipfile.ZipFile(path) as archive, archive.open(name) as member:
            yield member


def _zip_errors() -> tuple[type[Exception], ...]:
    """What a damaged zip file raises; imported late, as most bundles are folders."""
    import zipfile
    import zlib

    return zipfile.BadZipFile, zlib.error
