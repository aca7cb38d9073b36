"""The process a pipeline of GStreamer runs in; it needs PyGObject and nothing of ours.

    python child.py JOB_FD OUT_FD

The job is a line of JSON at JOB_FD. Answers are lines of JSON at OUT_FD; behind `frame` follow as
many bytes as it says. As a sink it then reads frames at JOB_FD: `HEADER`, and the bytes. A crash of
a camera's or codec's library ends this process, and is an error in the one that started it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import struct
import sys
from typing import Any, BinaryIO

HEADER = struct.Struct("<QQ")
"""Of a frame on its way in: nanoseconds of its time, and bytes that follow."""

POLL_NS = 100_000_000
"""How long a wait for a frame takes before its end is looked for."""

FULL_FRAMES = 3
"""Frames that wait before a sink's pipeline; then whoever sends them waits."""

END_NS = 10_000_000_000
"""How long a sink's pipeline may take to finish what it has."""

SENT_NS = 300_000_000
"""How long a WebRTC stream may take to send what it has: its end is never told."""


def layout_of(video: Any, caps: Any, buffer: Any = None) -> dict[str, Any]:
    """How frames of these caps lie in memory, and what their numbers mean (H.273).

    Args:
        video: The module GstVideo.
        caps: Fixed, `video/x-raw`.
        buffer: Of them, which may say that its rows lie otherwise.
    """
    info = video.VideoInfo.new_from_caps(caps)
    colours = info.colorimetry
    layout = {
        "format": caps.get_structure(0).get_string("format"),
        "width": info.width,
        "height": info.height,
        "rate": [info.fps_n, info.fps_d],
        "strides": list(info.stride),
        "offsets": list(info.offset),
        "bytes": info.size,
        "matrix": video.VideoColorMatrix.to_iso(colours.matrix),
        "full": int(colours.range) == 1,
        "primaries": video.VideoColorPrimaries.to_iso(colours.primaries),
        "transfer": video.VideoTransferFunction.to_iso(colours.transfer),
    }
    meta = None if buffer is None else video.buffer_get_video_meta(buffer)
    if meta is not None:
        layout |= {"strides": list(meta.stride), "offsets": list(meta.offset)}
        layout["bytes"] = buffer.get_size()
    return layout


class _Child:
    """One pipeline, and what is said about it."""

    def __init__(self, job_fd: int, out_fd: int) -> None:
        self.job: BinaryIO = os.fdopen(job_fd, "rb")
        self._out = os.fdopen(out_fd, "wb", buffering=0)
        self._parent = os.getppid()
        self.ended = False
        self.pipeline: Any = None
        self.whip: Any = None

    def run(self) -> None:
        job = json.loads(self.job.readline())
        try:
            import gi

            gi.require_version("Gst", "1.0")
            gi.require_version("GstVideo", "1.0")
            from gi.repository import GLib, Gst, GstVideo
        except (ImportError, ValueError) as error:
            self.say(missing=str(error))
            return
        self.gst, self.video, self.glib = Gst, GstVideo, GLib
        Gst.init(None)
        signal.signal(signal.SIGTERM, self._end)
        try:
            (self._read if job["kind"] == "source" else self._write)(job)
        except BrokenPipeError:
            pass  # nobody listens any more
        except Exception as error:  # versions of PyGObject differ: what one lacks is told
            self.say(error=f"{type(error).__name__}: {error}", stage="run")
        finally:
            if self.whip is not None:
                self.whip.end()
            if self.pipeline is not None:
                self.pipeline.set_state(Gst.State.NULL)

    def say(self, **message: Any) -> None:
        """Send a line."""
        self._send(json.dumps(message).encode() + b"\n")

    def _send(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._out.write(rest) or 0 :]

    def _end(self, *_: object) -> None:
        self.ended = True

    @property
    def is_alone(self) -> bool:
        """Whether nobody waits for this process any more."""
        return self.ended or os.getppid() != self._parent

    def _parse(self, text: str) -> bool:
        try:
            flags = self.gst.ParseFlags.FATAL_ERRORS
            self.pipeline = self.gst.parse_launch_full(text, None, flags)
        except self.glib.Error as error:
            self.say(error=error.message, stage="parse")
            return False
        if not isinstance(self.pipeline, self.gst.Pipeline):
            within, self.pipeline = self.pipeline, self.gst.Pipeline.new(None)
            self.pipeline.add(within)
        return True

    def _failed(self, wait_ns: int = 0, *, end: bool = False) -> bool:
        """Whether the pipeline said that it failed, which is passed on.

        Args:
            wait_ns: How long it has to say so.
            end: Whether that it ended is a failure, too.
        """
        kinds = self.gst.MessageType.ERROR
        if end:
            kinds |= self.gst.MessageType.EOS
        message = self.pipeline.get_bus().timed_pop_filtered(wait_ns, kinds)
        if message is None:
            return False
        if message.type == self.gst.MessageType.EOS:
            self.say(error="the pipeline ended by itself", stage="run")
            return True
        error, debug = message.parse_error()
        self.say(error=error.message, debug=debug or "", stage="run")
        return True

    def _read(self, job: dict[str, Any]) -> None:
        """Give the frames that leave the pipeline's end."""
        if not self._parse(f"{job['pipeline']} ! appsink name=adcvsr-end max-buffers=1"):
            return
        end = self.pipeline.get_by_name("adcvsr-end")
        formats = ",".join(job["formats"])
        end.set_property(
            "caps", self.gst.Caps.from_string(f"video/x-raw,format=(string){{{formats}}}")
        )
        change = self.pipeline.set_state(self.gst.State.PAUSED)
        live = change == self.gst.StateChangeReturn.NO_PREROLL
        # What is no camera would come as fast as it can: its end waits for each frame's time.
        end.set_property("sync", not live)
        self.say(live=live)
        self.pipeline.set_state(self.gst.State.PLAYING)
        before: dict[str, Any] = {}
        while not self.is_alone:
            sample = end.emit("try-pull-sample", POLL_NS)
            if self._failed():
                return
            if sample is None:
                if end.get_property("eos"):
                    self.say(end=True)
                    return
                continue
            buffer = sample.get_buffer()
            layout = layout_of(self.video, sample.get_caps(), buffer)
            if layout != before:
                self.say(layout=layout)
                before = layout
            pts = None if buffer.pts == self.gst.CLOCK_TIME_NONE else buffer.pts
            self.say(frame=buffer.get_size(), pts=pts)
            with buffer.map(self.gst.MapFlags.READ) as mapped:
                self._send(mapped.data)

    def _write(self, job: dict[str, Any]) -> None:
        """Take frames for the pipeline's beginning."""
        pipeline = self._encoding(job)
        if pipeline is None or not self._parse(
            f"appsrc name=adcvsr-begin is-live=true format=time ! {pipeline}"
        ):
            return
        self.begin = self.pipeline.get_by_name("adcvsr-begin")
        if self.pipeline.set_state(self.gst.State.READY) == self.gst.StateChangeReturn.FAILURE:
            if not self._failed(POLL_NS):
                self.say(error="the pipeline cannot be made ready", stage="run")
            return
        caps = self._choose(job)
        if caps is None:
            return
        self.begin.set_property("caps", caps)
        layout = layout_of(self.video, caps)
        self.begin.set_property("max-bytes", FULL_FRAMES * layout["bytes"])
        self.say(layout=layout)
        playing = False
        while (frame := self._next()) is not None:
            begins, playing = not playing, True
            if begins:  # now, so that the clock begins with the first frame
                self.pipeline.set_state(self.gst.State.PLAYING)
            if not self._push(frame, full=(FULL_FRAMES - 1) * layout["bytes"]):
                return
            if begins and not self._connect(job):
                return
        if playing and not self.is_alone:
            self._finish()

    def _encoding(self, job: dict[str, Any]) -> str | None:
        """The pipeline, of several the first whose encoder is here; None with a reason."""
        if "whip" in job:
            self.whip_module: Any = importlib.import_module("whip")
            if gone := self.whip_module.missing(self.gst):
                self.say(missing=f"{gone} is not installed")
                return None
        if "pipeline" in job:
            return str(job["pipeline"])
        for element, pipeline in job["encoders"]:
            if self.gst.ElementFactory.find(element) is not None:
                self.say(encoder=element)
                return str(pipeline)
        names = ", ".join(element for element, _ in job["encoders"])
        self.say(missing=f"there is no encoder; of {names} one is needed")
        return None

    def _connect(self, job: dict[str, Any]) -> bool:
        """Connect to a WHIP server, where the pipeline ends at one."""
        if "whip" not in job:
            return True
        module = self.whip_module
        whip = module.WhipConnection(self.gst, self.pipeline, **job["whip"])
        self.whip = whip
        try:
            whip.connect(lambda: self.is_alone or self._failed())
        except module.WhipError as error:
            self.say(error=str(error), stage="whip")
            return False
        self.say(connected=True)
        return True

    def _choose(self, job: dict[str, Any]) -> Any:
        """The caps of the first of our formats that the pipeline takes; None with a reason."""
        takes = self.begin.get_static_pad("src").peer_query_caps(None)
        for format_ in job["formats"]:
            text = f"video/x-raw,format={format_},{job['caps']}"
            if format_ not in ("BGRx", "RGBx", "RGB", "BGR"):
                text += self._colours(job)
            caps = self.gst.Caps.from_string(text)
            if caps.can_intersect(takes):
                return caps
        self.say(error=f"it begins with what takes {takes.to_string()}", stage="caps")
        return None

    def _colours(self, job: dict[str, Any]) -> str:
        """Colorimetry for caps, from H.273's codes."""
        codes = job["colours"]
        numbers = (
            1 if codes["full"] else 2,
            int(self.video.VideoColorMatrix.from_iso(codes["matrix"])),
            int(self.video.VideoTransferFunction.from_iso(codes["transfer"])),
            int(self.video.VideoColorPrimaries.from_iso(codes["primaries"])),
        )
        return f",colorimetry=(string){':'.join(map(str, numbers))},chroma-site=(string)mpeg2"

    def _next(self) -> Any:
        """The next frame, read from the pipe into GStreamer's memory; None at the end."""
        head = self.job.read(HEADER.size)
        if len(head) < HEADER.size:
            return None
        time_ns, size = HEADER.unpack(head)
        buffer = self.gst.Buffer.new_allocate(None, size, None)
        with buffer.map(self.gst.MapFlags.WRITE) as mapped:
            if self.job.readinto(mapped.data) < size:  # type: ignore[attr-defined]
                return None
        buffer.pts = time_ns
        return buffer

    def _push(self, buffer: Any, *, full: int) -> bool:
        while self.begin.get_property("current-level-bytes") > full:
            if self._failed(POLL_NS // 20, end=True) or self.is_alone:
                return False
        if self._failed(end=True) or self._was_cut_off():
            return False
        flow = self.begin.emit("push-buffer", buffer)
        if flow == self.gst.FlowReturn.OK:
            return True
        if not self._failed(POLL_NS, end=True):
            self.say(error=f"the pipeline takes no more frames ({flow.value_nick})", stage="run")
        return False

    def _was_cut_off(self) -> bool:
        """Whether a WHIP server is gone, which is said."""
        lost = "" if self.whip is None else self.whip.lost()
        if lost:
            self.say(error=lost, stage="whip")
        return bool(lost)

    def _finish(self) -> None:
        """Let the pipeline finish its output."""
        self.begin.emit("end-of-stream")
        kinds = self.gst.MessageType.EOS | self.gst.MessageType.ERROR
        wait_ns = END_NS if self.whip is None else SENT_NS
        message = self.pipeline.get_bus().timed_pop_filtered(wait_ns, kinds)
        if message is None and self.whip is not None:
            self.say(end=True)
        elif message is None:
            self.say(error="the pipeline did not finish its output in 10 s", stage="run")
        elif message.type == self.gst.MessageType.ERROR:
            error, debug = message.parse_error()
            self.say(error=error.message, debug=debug or "", stage="run")
        else:
            self.say(end=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the run ends us in order
    _Child(int(sys.argv[1]), int(sys.argv[2])).run()
