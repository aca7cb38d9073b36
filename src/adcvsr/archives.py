"""What Python raises where a zip archive, npz included, is not whole or not one it can read.

except ARCHIVE_ERRORS as error:
raise BundleError(f"'{name}' is damaged: {error}") from error
"""

from __future__ import annotations

import zipfile
import zlib

ARCHIVE_ERRORS = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, EOFError),  # numpy's, of arrays
    *(RuntimeError, NotImplementedError),  # encrypted, packed by another method
    *(zipfile.BadZipFile, zlib.error),
)
"""Of the archive, its entries and numpy's arrays in them; `zlib.error` is no OSError."""
