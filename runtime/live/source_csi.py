"""`csi://0?size=1280x720&fps=30`: a Jetson's CSI camera, through GStreamer's nvarguscamerasrc.

GStreamer runs as a process of its own (`gst-launch-1.0`, part of JetPack): no Python bindings are
needed, and a crash of the camera stack is an error here instead of a crash.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import FileIO
from typing import Any, ClassVar

from ...errors import ConfigError, MissingProgramError, UnreadableVideoError
from ...pictures.colour import HD_LINES, MATRIX_BT601, MATRIX_BT709, Colours
from ...pictures.yuv_picture import YuvPicture
from .address import Address
from .source import Clock, LiveFrame, VideoSource

PROGRAM = "gst-launch-1.0"
STDERR_BYTES = 2000
"""Of GStreamer's complaints, the end that is shown."""

END_S = 3.0
"""How long GStreamer may take to end before it is killed."""


ARGUS = (
    "only a Jetson has this element (sudo apt-get install nvidia-l4t-gstreamer); "
    "USB cameras are v4l2:///dev/video0"
)


class CsiSource(VideoSource):
    """NV12 frames of a camera sensor, as the ISP gives them; read from a pipe without conversion.

    The moment of capture is when the frame has left GStreamer.
    """

    options: ClassVar[str] = "size, fps, element"

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(address, stop, clock)
        self.width, self.height = address.size("1280x720")
        self._rate = Fraction(address.number("fps", 30, low=1, high=240)).limit_denominator(1001)
        if self.width % 4 or self.height % 2:
            raise ConfigError(
                f"'{address.text}': {self.width}x{self.height}; NV12 needs a width in multiples of "
                "4 and an even height"
            )
        if shutil.which(PROGRAM) is None:
            raise MissingProgramError(
                f"'{address.text}' needs {PROGRAM}, which is not there; JetPack has it, elsewhere: "
                "sudo apt-get install gstreamer1.0-tools"
            )
        self._element = address.take("element", f"nvarguscamerasrc sensor-id={address.place or 0}")

    @property
    def rate(self) -> Fraction:
        """See `VideoSource`."""
        return self._rate

    @property
    def size(self) -> tuple[int, int]:
        """See `VideoSource`."""
        return self.width, self.height

    def frames(self) -> Generator[LiveFrame, None, None]:
        """See `VideoSource`."""
        matrix = MATRIX_BT709 if self.height >= HD_LINES else MATRIX_BT601
        colours = Colours(matrix=matrix, full_range=False, primaries=1, transfer=1)
        with self._pipeline() as pipe:
            began = self.clock()
            while not self.stop.is_set():
                picture = YuvPicture.empty(self.height, self.width, colours)
                if not _filled(pipe, picture):
                    break
                now = self.clock()
                yield LiveFrame(picture, now - began, now, colours=colours, copies=1)  # the pipe

    def command(self, fd: int) -> list[str]:
        """The GStreamer command that writes NV12 frames to a file descriptor."""
        rate = f"{self._rate.numerator}/{self._rate.denominator}"
        caps = f"width={self.width},height={self.height},framerate={rate}"
        elements = [self._element]
        if self._element.startswith("nvarguscamerasrc"):
            elements += [f"video/x-raw(memory:NVMM),format=NV12,{caps}", "nvvidconv"]
        elements += [f"video/x-raw,format=NV12,{caps}", "queue max-size-buffers=1 leaky=downstream"]
        elements += [f"fdsink fd={fd} sync=false"]
        return [PROGRAM, "-q", *" ! ".join(elements).split()]

    @contextmanager
    def _pipeline(self) -> Iterator[FileIO]:
        """Run GStreamer; raise what it said where it ended by itself."""
        read_end, write_end = os.pipe()
        process = subprocess.Popen(
            self.command(write_end),
            pass_fds=(write_end,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        os.close(write_end)
        watch = threading.Thread(target=self._end, args=(process,), name="adcvsr-csi-stop")
        watch.start()
        try:
            with open(read_end, "rb", buffering=0) as pipe:
                yield pipe
            if not self.stop.is_set():
                process.wait(END_S)
                raise UnreadableVideoError(f"'{self.address.text}' ended: {_said(process)}")
        finally:
            process.kill()
            process.wait()
            watch.join()
            if process.stderr is not None:
                process.stderr.close()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End GStreamer when the run stops: its end closes the pipe that is being read."""
        while process.poll() is None and not self.stop.wait(0.2):
            pass
        process.terminate()


def _filled(pipe: FileIO, picture: YuvPicture) -> bool:
    """Read a frame into a picture's memory; whether it came whole."""
    both: Any = picture.both
    rest = memoryview(both).cast("B")
    while rest and (count := pipe.readinto(rest)):
        rest = rest[count:]
    return not rest


def _said(process: subprocess.Popen[bytes]) -> str:
    text = process.stderr.read().decode(errors="replace") if process.stderr else ""
    lines = [line for line in text[-STDERR_BYTES:].splitlines() if line.strip()]
    said = " / ".join(lines[-3:]) or f"{PROGRAM} ended with {process.returncode}"
    missing = 'no element "nvarguscamerasrc"' in said
    return f"{said}; {ARGUS}" if missing else said
