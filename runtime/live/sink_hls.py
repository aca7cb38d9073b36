"""`hls:FOLDER?seconds=2&keep=6`: a folder that any web server offers as an HLS stream."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import av

from ...errors import OutputExistsError
from ...files import check_folder
from ...pictures.clips import media_url
from ..video.encoders import EncodeOptions
from .address import Address
from .sink_encoded import EncodedSink

INDEX = "index.m3u8"


class HlsSink(EncodedSink):
    """Writes segments of MPEG-TS and their list; segments that left the list are removed.

    The list appears with the first segment, and is never half written.
    """

    options: ClassVar[str] = "seconds, keep"

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        self.folder = Path(address.place)
        self._seconds = address.number("seconds", 2, low=1, high=60)
        self._keep = int(address.number("keep", 6, low=2, high=10_000))
        check_folder(self.folder)
        if (self.folder / INDEX).exists() and not options.overwrite:
            raise OutputExistsError(
                f"output '{self.folder / INDEX}' exists; pass --overwrite to replace it"
            )

    def _open(self) -> av.container.OutputContainer:
        return av.open(
            media_url(self.folder / INDEX),
            "w",
            format="hls",
            options={
                "hls_time": f"{self._seconds:g}",
                "hls_list_size": str(self._keep),
                "hls_flags": "delete_segments+temp_file+independent_segments",
                "hls_segment_filename": str(self.folder / "segment_%06d.ts"),
            },
        )
