"""A path: the stream is recorded; the file gets its name when the run ends, Ctrl-C included."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import av

from ...clips import media_url
from ...errors import OutputExistsError, OutputNotWritableError
from ..video.encoders import EncodeOptions
from ..video.output_file import ENCODERS, check_output, part_name, publish
from .address import Address
from .sink_encoded import EncodedSink


class RecordingSink(EncodedSink):
    """Writes beside the final name and moves the file there at the end."""

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        path = Path(address.place)
        check_output(path, options)
        super().__init__(address, options, ENCODERS[path.suffix.lower()])
        self.path = path
        self._part = part_name(path)

    def _open(self) -> av.container.OutputContainer:
        self._part.touch(exist_ok=False)
        return av.open(media_url(self._part), "w")

    def finish(self) -> None:
        """See `VideoSink`."""
        if self._container is None:
            self.notes.add(f"no frame came: '{self.path}' is not written")
            return
        super().finish()
        try:
            if self.encode_options.overwrite:
                os.replace(self._part, self.path)
            else:
                publish(self._part, self.path)
        except FileExistsError as error:
            # Nothing is thrown away that took hours: the recording stays under its own name.
            kept = self._part.with_name(self._part.name.lstrip("."))
            os.replace(self._part, kept)
            raise OutputExistsError(
                f"'{self.path}' was made by somebody else meanwhile; the recording is '{kept}'"
            ) from error
        except OSError as error:
            raise OutputNotWritableError(
                f"cannot move the recording to '{self.path}': {error.strerror}"
            ) from error

    def close(self) -> None:
        """See `VideoSink`."""
        super().close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)
