"""A path: the stream is recorded; the file gets its name when the run ends, Ctrl-C included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av

from ...errors import ConfigError, OutputNotWritableError
from ...leftovers import keep
from ...pictures.clips import media_url
from ...pictures.pyav import open_input
from ..video.containers import NEGATIVE_TIMES
from ..video.encoders import EncodeOptions
from ..video.hdr import HDR_ENCODERS
from ..video.hdr_tags import tag_file
from ..video.output_file import ENCODERS, check_output, move_in, recording_part
from ..video.places import WRITTEN_PICTURES
from .address import Address
from .sink import Encoded
from .sink_encoded import EncodedSink

PLAYABLE_ON_THE_WAY = {"movflags": "hybrid_fragmented"}
"""Of mp4 and mov: fragments as long as it is written, an ordinary file at the end. Without them
nothing plays before the end is written."""

WRITTEN_AT_ONCE = {"flush_packets": "1"}
"""Else FFmpeg keeps up to 256 KiB of a file in memory, which a power cut or a full disk loses."""


class RecordingSink(EncodedSink):
    """Writes beside the final name and moves the file there at the end."""

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        path = Path(address.place)
        if path.suffix.lower() in WRITTEN_PICTURES:
            raise ConfigError(
                f"'{address.text}' is a picture: live records into {', '.join(ENCODERS)}; 'adcvsr "
                "upscale' writes pictures"
            )
        check_output(path, options)
        super().__init__(address, options, ENCODERS[path.suffix.lower()])
        self.path = path
        self._part = recording_part(path)

    deep_h264 = True

    def why_not_deep(self, *, hdr: bool) -> str:
        """See `VideoSink`."""
        suffix = self.path.suffix.lower()
        if hdr and suffix not in HDR_ENCODERS:
            return f"'{suffix}' has no place to say that pictures are HDR; mp4, mov, mkv have"
        return super().why_not_deep(hdr=hdr)

    def _encoder_of(self, *, hdr: bool) -> str:
        if hdr and self.encode_options.encoder is None:
            return HDR_ENCODERS.get(self.path.suffix.lower(), self._encoder)
        return self._encoder

    def _open(self) -> av.container.OutputContainer:
        self._part.touch(exist_ok=False)
        fragments = self.path.suffix.lower() in NEGATIVE_TIMES
        options = WRITTEN_AT_ONCE | (PLAYABLE_ON_THE_WAY if fragments else {})
        return av.open(media_url(self._part), "w", container_options=options)

    def present(self, encoded: Encoded) -> bool:
        """See `VideoSink`."""
        with self._kept_if_it_fails():
            return super().present(encoded)

    def finish(self) -> None:
        """See `VideoSink`."""
        if self._container is None:
            self.notes.add(f"no frame came: '{self.path}' is not written")
            return
        with self._kept_if_it_fails():
            super().finish()
        if self._hdr is not None and not tag_file(self._part, self.path.suffix.lower(), self._hdr):
            self.notes.add(
                f"{self.path.suffix} says nothing of the mastering display and the content's light "
                f"beside what {self.encoder} writes into its frames"
            )
        move_in(
            self._part,
            self.path,
            overwrite=self.encode_options.overwrite,
            what="the recording",
            unique=True,
        )

    def close(self) -> None:
        """See `VideoSink`."""
        super().close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _kept_if_it_fails(self) -> Iterator[None]:
        """A full disk costs what follows, not the hours that are recorded."""
        try:
            yield
        except OutputNotWritableError as error:
            super().close()
            if not self._plays():
                raise
            raise OutputNotWritableError(
                f"{error}; what was recorded until then is '{keep(self._part, self.path.stem)}'"
            ) from error

    def _plays(self) -> bool:
        """Whether a frame of the partial file can be read."""
        try:
            with open_input(media_url(self._part)) as container:
                return next(container.decode(video=0), None) is not None
        except (av.FFmpegError, OSError, ValueError, IndexError):
            return False
